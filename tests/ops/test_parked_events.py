"""``lightcurve events``, on the real log and the real read database."""

from pathlib import Path

import msgspec
import pytest

from domain.errors import Invalid
from domain.server.creation import ServerRequested
from domain.server.details import ServerRenamed
from domain.server.state import aggregate
from ops import parked_events
from ops.embedded.nats import NatsProcess
from ops.rebuild import rebuild
from projections.servers import ServersView
from tests.aio import asynchronous
from tests.domain.server.servers import BUILT, FLAVOR, LATER, PLACED
from tests.ops.parts import open_plane, projecting, settings_for, tell, until_projected
from tests.projections.histories import server_id
from tests.projections.test_parking import LONG

pytestmark = [pytest.mark.nats, pytest.mark.postgres]

MINE, BAD, OTHERS = server_id(1), server_id(2), server_id(3)
TOO_LARGE = msgspec.structs.replace(PLACED, host=LONG)


def _requested(server: str, **more: object) -> ServerRequested:
    fields = {"name": "vm", "project_id": "p", "user_id": "u", "flavor": FLAVOR, "deadline": LATER}
    return ServerRequested(server_id=server, **fields | more)  # type: ignore[arg-type]


@asynchronous
async def test_a_nul_harms_nobody(mortal: NatsProcess, database: str, tmp_path: Path) -> None:
    settings = settings_for(mortal.server, database, tmp_path)
    async with open_plane(settings, "test") as plane, projecting(settings) as queries:
        for server, metadata in ((MINE, {}), (BAD, {"k": "\0"}), (OTHERS, {})):
            await tell(plane, plane.store, aggregate(server), _requested(server, metadata=metadata))
        await until_projected(plane, queries)
        found = [await queries.server(server) for server in (MINE, BAD, OTHERS)]
        assert [server.metadata for server in found if server] == [{}, {"k": "\ufffd"}, {}]
        assert await queries.parked(10) == []


@asynchronous
async def test_parked_is_listed_retried_and_given_up(
    mortal: NatsProcess,
    database: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = settings_for(mortal.server, database, tmp_path)
    monkeypatch.setattr(parked_events, "WAIT_SECONDS", 20.0)
    async with open_plane(settings, "test") as plane, projecting(settings) as queries:
        await tell(plane, plane.store, aggregate(MINE), _requested(MINE))
        _, poison, _ = await tell(
            plane, plane.store, aggregate(BAD), _requested(BAD), TOO_LARGE, ServerRenamed(name="after")
        )
        await tell(plane, plane.store, aggregate(OTHERS), _requested(OTHERS), PLACED, BUILT)
        await until_projected(plane, queries)
        others = await queries.server(OTHERS)
        assert others
        assert others.vm_state == "active"
        assert await queries.parked_counts() == [("servers", "cell1", 2, poison.position)]
        await parked_events.show(settings, 10)
        listed = capsys.readouterr().out
        assert f"server.{BAD}" in listed
        assert "index" in listed
        await parked_events.retry(settings, "cell1", [poison.position])
        assert "0 of 2 parked entries were applied" in capsys.readouterr().out
        for cell, position in (("cell1", 1), ("api", poison.position)):
            with pytest.raises(Invalid, match="no event is parked"):
                await parked_events.retry(settings, cell, [position])
            with pytest.raises(Invalid, match="no event is parked"):
                await parked_events.give_up(settings, cell, position, "broken")
        with pytest.raises(Invalid, match="reason"):
            await parked_events.give_up(settings, "cell1", poison.position, " ")
        await parked_events.give_up(settings, "cell1", poison.position, "broken")
        await until_projected(plane, queries)
        for _ in range(2):
            assert await queries.parked(10) == []
            bad = await queries.server(BAD)
            assert bad
            assert (bad.name, bad.vm_state) == ("after", "building")
            await rebuild(settings, ServersView.name)
    # A projector that starts from nothing passes over it, too.
    async with open_plane(settings, "test") as plane, projecting(settings) as queries:
        await until_projected(plane, queries)
        assert await queries.parked(10) == []


@asynchronous
async def test_what_is_applicable_later_is_applied_when_retried(
    mortal: NatsProcess, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(mortal.server, database, tmp_path)
    apply = ServersView.apply

    def ill(self: ServersView, recorded: object, rows: object) -> None:
        if getattr(recorded, "position", 0) == 2:
            raise KeyError("a fault of this version")
        apply(self, recorded, rows)  # type: ignore[arg-type]

    async with open_plane(settings, "test") as plane, projecting(settings) as queries:
        with monkeypatch.context() as patched:
            patched.setattr(ServersView, "apply", ill)
            await tell(plane, plane.store, aggregate(BAD), _requested(BAD), PLACED, BUILT)
            await until_projected(plane, queries)
            assert [row.position for row in await queries.parked(10)] == [2, 3]
        await parked_events.retry(settings, "cell1", [])
        assert await queries.parked(10) == []
        bad = await queries.server(BAD)
        assert bad
        assert bad.vm_state == "active"
