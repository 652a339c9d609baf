"""Rows in PostgreSQL are the rows in memory, whatever the batches, restarts and rebuilds."""

from random import Random

import psycopg
import pytest
from msgspec.structs import replace

from domain.log.record import Recorded
from domain.server.observation import ServerPowerChanged
from projections.builds import begin_build, builds_in_force, outdated, put_in_force
from projections.hosts import HostsView
from projections.instance_actions import InstanceActionsView
from projections.memory import MemoryRows
from projections.postgres import PostgresRows, connect
from projections.servers import ServersView
from projections.table import Rows
from tests.aio import asynchronous
from tests.postgres_fixtures import PROJECTIONS, project
from tests.projections.histories import CELL, history

pytestmark = pytest.mark.postgres

TABLES = [table.name for projection in PROJECTIONS for table in projection.tables]


def _content(url: str) -> dict[str, list[str]]:
    with psycopg.connect(url, options="-c timezone=UTC") as connection:
        return {
            table.name: [
                row[0]
                for row in connection.execute(
                    f"SELECT row_to_json(t)::text FROM {table.name} t ORDER BY {', '.join(table.key)}"
                )
            ]
            for projection in PROJECTIONS
            for table in projection.tables
        }


@asynchronous
async def test_what_is_kept_in_memory_has_an_end_in_bytes(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.postgres.CACHED_BYTES", 50_000)
    events = history(200)
    async with await connect(database, "test") as connection:
        rows = PostgresRows(connection, await builds_in_force(connection, PROJECTIONS))
        await rows.open()
        most = 0
        for start in range(0, len(events), 20):
            await rows.apply(events[start : start + 20])
            most = max(most, len(rows._cache["servers"]))
        assert 0 < most < 100
        assert rows.position(CELL) == len(events)


@asynchronous
async def test_what_a_batch_itself_begins_is_not_asked_for(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a host tells of itself belongs to no action.
    events = [recorded for recorded in history(20) if not isinstance(recorded.event, ServerPowerChanged)]
    async with await connect(database, "test") as connection:
        rows = PostgresRows(connection, await builds_in_force(connection, PROJECTIONS))
        await rows.open()
        questions: list[object] = []

        async def load(*question: object) -> None:
            questions.append(question)

        monkeypatch.setattr(rows, "_load", load)
        await rows.apply(events)
        assert rows.position(CELL) == events[-1].position
        assert not questions


@asynchronous
async def test_a_batch_costs_only_the_tables_that_it_changes(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    events = history(20)
    of_servers = [recorded for recorded in events if recorded.aggregate.kind == "server"]
    others = [replace(recorded, cell="api") for recorded in events if recorded.aggregate.kind == "quota"]
    async with await connect(database, "test") as connection:
        rows = PostgresRows(connection, await builds_in_force(connection, PROJECTIONS))
        await rows.open()
        written: list[str] = []
        execute = connection.execute

        async def noting(statement: object, *parameters: object) -> object:
            if isinstance(statement, bytes):
                written.append(statement.decode())
            return await execute(statement, *parameters)  # type: ignore[arg-type]

        monkeypatch.setattr(connection, "execute", noting)
        await rows.apply(of_servers)
        await rows.apply(others)
    assert [name for name in TABLES if name in written[0]] == [
        "servers", "server_versions", "instance_actions", "server_places", "event_log",
    ]  # fmt: skip
    assert [name for name in TABLES if name in written[1]] == ["event_log"]


@asynchronous
async def test_no_table_is_read_through_however_it_has_grown(database: str) -> None:
    """A statement that is prepared keeps the plan that was best when its table was small."""
    events = history(100)
    scans = "SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE relname ~ '__[0-9]+$'"
    async with await connect(database, "test") as connection:

        async def read_through() -> int:
            await connection.execute("SELECT pg_stat_force_next_flush()")
            row = await (await connection.execute(scans)).fetchone()
            return int(row[0]) if row else 0

        rows = PostgresRows(connection, await builds_in_force(connection, PROJECTIONS))
        await rows.open()
        before = await read_through()
        for start in range(0, len(events), 10):
            rows._cache.clear()
            await rows.apply(events[start : start + 10])
        assert await read_through() == before


@asynchronous
async def test_batches_and_restarts_make_no_difference(database: str, postgres: object) -> None:
    events = history(40)
    memory = MemoryRows(PROJECTIONS)
    memory.apply(events)
    random = Random(3)
    done = 0
    while done < len(events):
        size = random.choice((1, 2, 7, 40))
        # Each batch by a fresh writer, and some events again that were applied before.
        await project(database, events[max(0, done - 3) : done + size])
        done += size
    async with await connect(database, "test") as connection:
        rows = PostgresRows(connection, await builds_in_force(connection, PROJECTIONS))
        await rows.open()
        assert rows.position(CELL) == len(events)
    content = _content(database)
    for projection in PROJECTIONS:
        for table in projection.tables:
            assert len(content[table.name]) == len(memory.all(table))
    from projections.queries import PostgresQueries

    queries = PostgresQueries(database)
    await queries.open()
    for row in memory.all(ServersView.tables[0]):
        server = await queries.server(row.id)
        from projections.servers import row_of

        assert server
        assert row_of(CELL, server) == row
    for action in memory.all(InstanceActionsView.tables[0]):
        assert await queries.action(action.server_id, action.request_id) == action
    assert await queries.hosts() == memory.all(HostsView.tables[0])
    await queries.close()


class _Lame(ServersView):
    """The database goes away at the third event."""

    def apply(self, recorded: Recorded, rows: Rows) -> None:
        if recorded.position == 3:
            raise psycopg.OperationalError("the server closed the connection")
        super().apply(recorded, rows)


@asynchronous
async def test_a_batch_is_all_or_nothing(database: str) -> None:
    with pytest.raises(psycopg.OperationalError):
        await project(database, history(5), (_Lame(),))
    async with await connect(database, "test") as connection:
        rows = PostgresRows(connection, await builds_in_force(connection, (ServersView(),)))
        await rows.open()
        assert rows.position(CELL) == 0
        assert await rows.parked() == []
        cursor = await connection.execute("SELECT count(*) FROM servers")
        assert await cursor.fetchone() == (0,)


@asynchronous
async def test_a_build_beside_the_one_in_force_takes_its_place(database: str) -> None:
    events = history(20)
    await project(database, events)
    before = _content(database)
    async with await connect(database, "test") as connection:
        build = await begin_build(connection, ServersView())
        rows = PostgresRows(connection, [build])
        await rows.apply(events)
        assert _content(database) == before
        async with connection.transaction():
            await put_in_force(connection, build)
        assert _content(database) == before
        (in_force,) = await builds_in_force(connection, (ServersView(),))
        assert in_force.number == build.number


@asynchronous
async def test_a_projection_of_another_version_is_outdated(database: str) -> None:
    class NewServers(ServersView):
        version = ServersView.version + 1

    await project(database, history(2))
    async with await connect(database, "test") as connection:
        builds = await builds_in_force(connection, (NewServers(), HostsView()))
        assert [projection.name for projection in await outdated(connection, builds)] == ["servers"]
