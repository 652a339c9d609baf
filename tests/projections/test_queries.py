"""What the read database is asked beside what the contract says, and what it costs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from types import coroutine
from typing import Any

import msgspec
import psutil
import psycopg
import pytest

from domain.errors import Invalid, Unavailable
from domain.server.creation import ServerRequested
from domain.server.listing import ServerFilter
from domain.server.state import aggregate
from ops.embedded.postgres import EmbeddedPostgres
from projections import pool
from projections.log_queries import LogQueries
from projections.pool import About, TookTooLong
from projections.queries import PostgresQueries
from projections.server_pages import PRESENT, page
from projections.servers import TABLE
from tests.aio import asynchronous
from tests.domain.server.servers import FLAVOR, LATER
from tests.postgres_fixtures import project
from tests.projections.histories import CELL, Log, history, server_id
from tests.waiting import until

pytestmark = pytest.mark.postgres


@asynccontextmanager
async def _queries(url: str) -> AsyncIterator[PostgresQueries]:
    queries = PostgresQueries(url)
    await queries.open()
    try:
        yield queries
    finally:
        await queries.close()


async def _grow(database: str, copies: int, **different: str) -> None:
    """Many more servers like those that are there, of other projects and with other addresses and tags."""
    columns = list(TABLE.columns)
    other = {
        "id": "id || '-' || n",
        "project_id": "'other'",
        "name": "name || '-' || n",
        "vm_state": "'active'",
        "updated_at": "updated_at - n * interval '1 minute'",
        "state": "(state::jsonb - 'nics')::json",
        "tags": "'{}'",
    } | different
    chosen = ", ".join(other.get(column, column) for column in columns)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute(f"INSERT INTO servers SELECT {chosen} FROM servers, generate_series(1, {copies}) n")
        await connection.execute("ANALYZE")


async def _read_and_passed_over(queries: PostgresQueries, text: str, values: Any) -> float:
    """How many rows a question has the database read and throw away."""
    ((explained,),) = await queries._rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", *values)
    nodes, passed_over = [explained[0]["Plan"]], 0.0
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
        passed_over += node["Actual Loops"] * sum(node.get(name, 0) for name in removed)
    return passed_over


@asynchronous
async def test_what_is_found_by_an_index_costs_no_more_where_there_are_many_others(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await project(database, history(60))
    await _grow(database, 200)
    async with _queries(database) as queries:
        newest = (await queries.servers(ServerFilter(sort=(("updated_at", "desc"),), limit=1)))[0].updated_at
        asked: list[tuple[str, Any]] = []
        ask = queries._rows

        async def noting(text: str, *values: Any, about: About) -> list[Any]:
            asked.append((text, values))
            return await ask(text, *values, about=about)

        for project_id in (None, "p1"):
            for wanted in (
                ServerFilter(ip="10.5.0.12"),
                ServerFilter(ip="^10.5.0.12$"),
                ServerFilter(tags=("a", "b")),
                ServerFilter(tags_any=("c",)),
                ServerFilter(name="^vm-1$"),
                ServerFilter(vm_states=("error",)),
                ServerFilter(host="node7"),
                ServerFilter(changes_since=newest, deleted=None),
            ):
                monkeypatch.setattr(queries, "_rows", noting)
                await queries.servers(msgspec.structs.replace(wanted, project_id=project_id, limit=1001))
                monkeypatch.undo()
                assert await _read_and_passed_over(queries, *asked.pop()) < 100, wanted


async def _read_by_indexes(queries: PostgresQueries, wanted: ServerFilter) -> float:
    """How many rows indexes name for a page."""
    asked: list[tuple[str, Any]] = []

    async def noting(text: str, *values: Any) -> list[Any]:
        asked.append((text, values))
        return []

    await page(noting, PRESENT, wanted)
    ((text, values),) = asked
    ((explained,),) = await queries._rows(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", *values)
    nodes, named = [explained[0]["Plan"]], 0.0
    while nodes:
        node = nodes.pop()
        nodes += node.get("Plans", [])
        named += node["Actual Rows"] if "Index Name" in node else 0
    return named


@pytest.mark.parametrize("wanted", [ServerFilter(tags=("a", "b")), ServerFilter(tags_any=("c",))])
@pytest.mark.parametrize(
    "others",
    [{"project_id": "project_id"}, {"tags": "tags[: cardinality(tags) / 2]"}],
    ids=["in the project without tags", "in another project with the same tags"],
)
@asynchronous
async def test_a_members_search_by_tag_costs_what_it_finds(
    database: str, wanted: ServerFilter, others: dict[str, str]
) -> None:
    await project(database, history(60))
    wanted = msgspec.structs.replace(wanted, project_id="p1", limit=1001)
    async with _queries(database) as queries:
        found = [server.id for server in await queries.servers(wanted)]
        assert found
        await _grow(database, 200, **others)
        assert [server.id for server in await queries.servers(wanted)] == found
        assert await _read_by_indexes(queries, wanted) <= 60


@asynchronous
async def test_who_asks_before_the_projector_came_is_told_so(database: str) -> None:
    async with _queries(database) as queries:
        with pytest.raises(Unavailable):
            await queries.unfinished(CELL)
        with pytest.raises(Unavailable):
            await queries.living(CELL, [server_id(1)])
        with pytest.raises(Unavailable):
            await queries.servers(ServerFilter())


@asynchronous
async def test_who_asks_for_what_an_older_build_does_not_have_is_told_so(database: str) -> None:
    await project(database, history(5))
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute("DROP VIEW servers")
        await connection.execute("CREATE VIEW servers AS SELECT id, state FROM servers__1")
    async with _queries(database) as queries:
        assert await queries.server(server_id(1))
        with pytest.raises(Unavailable):
            await queries.servers(ServerFilter(tags=("a",)))


@asynchronous
async def test_the_log_of_a_server_shows_also_what_was_taken_for_it(database: str) -> None:
    await project(database, history(10))
    async with LogQueries(database) as queries:
        rows = await queries.log(server_id=server_id(3))
        types = [row.type for row in rows]
        assert types[:4] == ["quota.changed/reserved", "server.requested", "ledger.changed/claimed", "server.placed"]
        assert [row.type for row in await queries.log(request_id="req-3-create")][:4] == types[:4]
        assert {row.type for row in await queries.log(kind="ledger.")} == {"ledger.changed/claimed"}
        assert len(await queries.log(kind="server.", limit=5)) == 5


@asynchronous
async def test_a_question_may_cost_only_so_much(database: str) -> None:
    queries = PostgresQueries(database, statement_seconds=0.2)
    await queries.open()
    try:
        with pytest.raises(TookTooLong):
            await queries._rows("SELECT pg_sleep(60)")
        assert await queries._rows("SELECT 1") == [(1,)]
    finally:
        await queries.close()


@asynchronous
async def test_an_expression_that_takes_too_long_is_the_callers_fault(database: str) -> None:
    long = ServerRequested(
        server_id=server_id(1), name="a" * 254 + "b", project_id="p", user_id="u", flavor=FLAVOR, deadline=LATER
    )
    log = Log()
    log.add(aggregate(server_id(1)), long, "req")
    await project(database, log.recorded)
    queries = PostgresQueries(database, statement_seconds=0.2)
    await queries.open()
    try:
        with pytest.raises(Invalid, match="takes too long"):
            await queries.servers(ServerFilter(name=r"^(a*)(a*)(a*)(a*)(a*)(a*)\1\2\3\4\5\6b$"))
    finally:
        await queries.close()


@asynchronous
async def test_a_database_that_stands_still_is_not_waited_for(
    postgres: EmbeddedPostgres, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = PostgresQueries(database, statement_seconds=0.5)
    await queries.open()
    await queries._rows("SELECT 1")
    server = psutil.Process(int((postgres.directory / "data" / "postmaster.pid").read_text().split()[0]))
    server.suspend()
    family = [server, *server.children(recursive=True)]
    try:
        for process in family[1:]:
            with suppress(psutil.NoSuchProcess):  # one that was on its way out
                process.suspend()
        async with asyncio.timeout(30):
            answers = await asyncio.gather(
                *(queries._rows("SELECT 1") for _ in range(2 * pool.MAX_CONNECTIONS)), return_exceptions=True
            )
        assert {type(answer) for answer in answers} == {Unavailable}
    finally:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.resume()
    await until(lambda: _answers(queries), 30)
    await queries.close()


@asynchronous
async def test_nobody_notices_that_the_database_ended_the_connections(database: str) -> None:
    queries = PostgresQueries(database)
    await queries.open()
    try:
        sleeps = [queries._rows("SELECT 1 FROM pg_sleep(0.1)") for _ in range(pool.MAX_CONNECTIONS)]
        await asyncio.gather(*sleeps)
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as other:
            ended = await other.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert len(await ended.fetchall()) > 1
        for _ in range(pool.MAX_CONNECTIONS):
            assert await queries._rows("SELECT 1") == [(1,)]
    finally:
        await queries.close()


@asynchronous
async def test_a_question_waits_once_and_needs_no_task(database: str) -> None:
    """In each round of the event loop that it takes others are served before it."""
    async with _queries(database) as queries:
        for _ in range(5):  # until the statement is prepared
            await queries._rows("SELECT 1")
        loop, tasks, waits = asyncio.get_running_loop(), 0, 0

        def counted(
            loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **more: Any
        ) -> asyncio.Task[Any]:
            nonlocal tasks
            tasks += 1
            return asyncio.Task(work, loop=loop, **more)

        @coroutine
        def step_by_step(work: Coroutine[Any, Any, list[Any]]) -> Generator[Any, Any, list[Any]]:
            nonlocal waits
            while True:
                try:
                    awaited = work.send(None)
                except StopIteration as end:
                    rows: list[Any] = end.value
                    return rows
                waits += 1
                yield awaited

        loop.set_task_factory(counted)
        try:
            assert await step_by_step(queries._rows("SELECT 1")) == [(1,)]
        finally:
            loop.set_task_factory(None)
        assert (waits, tasks) == (1, 0)


@asynchronous
async def test_what_somebody_has_given_up_answers_nobody_else(database: str) -> None:
    async with _queries(database) as queries:
        await queries._rows("SELECT 1")
        given_up = asyncio.create_task(queries._rows("SELECT 2 FROM pg_sleep(0.2)"))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait({given_up}, timeout=5)
        assert given_up.cancelled()
        assert await queries._rows("SELECT 3") == [(3,)]


@asynchronous
async def test_the_slow_questions_of_one_are_waited_for_by_nobody_else(database: str) -> None:
    asked_for = ContextVar("asked_for", default="one")
    queries = PostgresQueries(database, owner=asked_for.get)
    await queries.open()
    await queries._rows("SELECT 1")
    asked_for.set("many")
    slow = [asyncio.create_task(queries._rows("SELECT 1 FROM pg_sleep(1)")) for _ in range(pool.MAX_CONNECTIONS)]
    await asyncio.sleep(0)
    asked_for.set("one")
    assert await queries._rows("SELECT 2") == [(2,)]
    assert not any(task.done() for task in slow)
    await asyncio.gather(*slow, return_exceptions=True)
    await queries.close()


async def _answers(queries: PostgresQueries) -> bool:
    try:
        return await queries._rows("SELECT 1") == [(1,)]
    except Unavailable:
        return False


@asynchronous
async def test_a_question_waits_for_what_was_written_about_that_which_it_asks_for(database: str) -> None:
    waited: list[About] = []

    async def projected() -> None:
        await asyncio.sleep(0)

    def unread(about: About) -> Awaitable[None]:
        waited.append(about)
        return projected()

    queries = PostgresQueries(database, owner=lambda: "asker", unread=unread)
    async with queries:
        for question in (
            queries.server("one"),
            queries.actions("one"),
            queries.action("one", "req-1"),
            queries.servers(ServerFilter(project_id="blue")),
            queries.servers(ServerFilter()),
            queries.hosts(),
        ):
            with suppress(psycopg.errors.UndefinedTable, Unavailable):
                await question
    assert waited == [("one",), ("one",), ("one",), ("blue", "asker"), None, None]
