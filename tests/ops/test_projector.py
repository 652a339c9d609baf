"""The projector, on the real log and the real read database."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from domain.catalogue import keypair
from domain.catalogue.keypair import KeypairDeleted
from domain.log.checkpoint import Entry
from domain.log.record import Recorded
from ops.embedded.nats import NatsProcess
from ops.roles import projector
from projections.postgres import PostgresRows
from tests.aio import asynchronous
from tests.ops.parts import open_plane, projecting, settings_for, tell, until_projected

pytestmark = [pytest.mark.nats, pytest.mark.postgres]

TIMES = 300


@asynchronous
async def test_what_belongs_to_no_cell_goes_together(
    mortal: NatsProcess, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One event after the other, and far fewer transactions."""
    settings = settings_for(mortal.server, database, tmp_path)
    monkeypatch.setattr(projector, "GATHER_SECONDS", 1.0)
    batches: list[list[Recorded]] = []
    apply = PostgresRows.apply

    async def noting(rows: PostgresRows, batch: list[Recorded], entries: Sequence[Entry]) -> None:
        batches.append([recorded for recorded in batch if recorded.cell == settings.api_cell])
        await apply(rows, batch, entries)

    monkeypatch.setattr(PostgresRows, "apply", noting)
    async with open_plane(settings, "test") as plane, projecting(settings) as queries:
        for _ in range(TIMES):
            await tell(plane, plane.api_store, keypair.aggregate("u"), KeypairDeleted(name="k"))
        await until_projected(plane, queries)
    assert sum(len(batch) for batch in batches) == TIMES
    assert len([batch for batch in batches if batch]) < TIMES / 20
