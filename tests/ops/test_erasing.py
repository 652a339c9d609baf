"""When a server's key is destroyed, no row tells any more what it had sealed: on the real log and read database."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from adapters.sealed_texts import ERASED
from domain import console
from domain.console import ConsoleClosed, ConsoleGranted, ConsoleOpened
from domain.log.record import AggregateId, Event
from domain.server import erasure, state
from domain.server.creation import ServerPlaced
from domain.server.details import ServerDescribed
from domain.server.erasure import ErasureDecided
from ops.embedded.nats import NatsProcess
from ops.roles.plane import Plane, open_plane
from ops.settings import DatabaseSettings, ErasureSettings, Settings
from projections.postgres import connect
from tests.aio import asynchronous
from tests.cell import NIC
from tests.domain.server.servers import BUILT, DELETE, DELETED, PLACED, REQUESTED
from tests.ops.parts import projecting, settings_for, tell, until_projected

pytestmark = [pytest.mark.nats, pytest.mark.postgres]

OTHER = "9b8f7c21-41e6-4a57-8a0d-90a1c64ce9a7"
WORDS = ("first words", "later words", "10.5.0.5", "198.51.100.9")
TABLES = ("servers", "server_versions", "console_sessions")


def sealing(mortal: NatsProcess, database: str, tmp_path: Path) -> Settings:
    settings = settings_for(mortal.server, database, tmp_path)
    return msgspec.structs.replace(settings, erasure=ErasureSettings(seal=("addresses", "descriptions")))


def life_of(server_id: str) -> list[tuple[AggregateId, Event]]:
    """What happens to a server whose console is looked at."""
    grant = console.aggregate(f"grant-{server_id}")
    requested = msgspec.structs.replace(REQUESTED, server_id=server_id, description="first words")
    placed = ServerPlaced(host=PLACED.host, host_id=PLACED.host_id, epoch=1, availability_zone="nova", nics=(NIC,))
    granted = ConsoleGranted(
        server_id=server_id, console_type="novnc", epoch=1, expires_at=datetime(2030, 1, 1, tzinfo=UTC)
    )
    opened = ConsoleOpened(server_id=server_id, session_id=f"of-{server_id}", address="198.51.100.9")
    closed = ConsoleClosed(server_id=server_id, session_id=f"of-{server_id}", seconds=1, bytes_in=1, bytes_out=1)
    of_server = [(state.aggregate(server_id), event) for event in (requested, placed, BUILT)]
    described = (state.aggregate(server_id), ServerDescribed(description="later words"))
    return [*of_server, (grant, granted), (grant, opened), described, (grant, closed)]


async def happen(plane: Plane, *events: tuple[AggregateId, Event]) -> None:
    for aggregate, event in events:
        await tell(plane, plane.store, aggregate, event)


async def rows(database: str) -> dict[str, list[str]]:
    async with await connect(database, "test") as connection:
        found = {}
        for table in TABLES:
            cursor = await connection.execute(f"SELECT t::text FROM {table} t ORDER BY 1")  # type: ignore[arg-type]
            found[table] = [row[0] for row in await cursor.fetchall()]
        return found


def of(server_id: str, found: dict[str, list[str]]) -> dict[str, list[str]]:
    return {table: [row for row in texts if server_id in row] for table, texts in found.items()}


@pytest.mark.parametrize("known_before", [True, False])
@pytest.mark.parametrize("key_lives", [True, False])
@asynchronous
async def test_no_row_tells_what_is_erased(
    mortal: NatsProcess, database: str, tmp_path: Path, *, known_before: bool, key_lives: bool
) -> None:
    """Whether it was projected before or comes with its erasure; and though the key still be there."""
    settings, server_id = sealing(mortal, database, tmp_path), REQUESTED.server_id
    its_own = state.aggregate(server_id)
    erased = (erasure.aggregate(server_id), ErasureDecided(server_id=server_id))
    end = [(its_own, DELETE), erased, (its_own, DELETED)]
    # Who knows of no archive need not wait for the projector before it records anything.
    async with open_plane(msgspec.structs.replace(settings, database=DatabaseSettings(url="")), "test") as plane:
        for each in (server_id, OTHER):
            await plane.vault.seal(each, b"{}")
        async with AsyncExitStack() as projector:
            if known_before:
                queries = await projector.enter_async_context(projecting(settings))
                await happen(plane, *life_of(server_id), *life_of(OTHER))
                await until_projected(plane, queries)
                before = of(server_id, await rows(database))
                assert all(any(word in row for rows in before.values() for row in rows) for word in WORDS)
            else:
                await happen(plane, *life_of(server_id), *life_of(OTHER))
            await happen(plane, *end)
            if not key_lives:
                await plane.vault.destroy(server_id)
            if not known_before:
                queries = await projector.enter_async_context(projecting(settings))
            await until_projected(plane, queries)
    found = await rows(database)
    gone, others = of(server_id, found), of(OTHER, found)
    assert [row for texts in gone.values() for row in texts for word in WORDS if word in row] == []
    assert [len(texts) for texts in gone.values()] == [1, 6, 1]
    assert all(ERASED in row for texts in gone.values() for row in texts)
    assert all(any(word in row for texts in others.values() for row in texts) for word in WORDS)
    assert ERASED not in str(others)
