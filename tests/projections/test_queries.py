"""Lists are filtered, sorted and paged as an obvious model does it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import msgspec
import psutil
import psycopg
import pytest

from domain.errors import Invalid, Unavailable
from domain.server import events as e
from domain.server.state import DELETED, ERROR, Server, aggregate
from ops.embedded.postgres import EmbeddedPostgres
from projections import pool
from projections.memory import MemoryRows
from projections.pool import TookTooLong
from projections.queries import Queries
from projections.server_filter import ServerFilter
from projections.servers import TABLE, Servers, decoder
from tests.aio import asynchronous
from tests.domain.servers import FLAVOR, LATER
from tests.projections.histories import CELL, Log, history, nic, server_id
from tests.projections.test_postgres import _project
from tests.waiting import until

pytestmark = pytest.mark.postgres


@asynccontextmanager
async def _queries(url: str) -> AsyncIterator[Queries]:
    queries = Queries(url)
    await queries.open()
    try:
        yield queries
    finally:
        await queries.close()


def _model(events: Any) -> list[Server]:
    memory = MemoryRows((Servers(),))
    memory.apply(events)
    return [decoder.decode(row.state) for row in memory.all(TABLE)]


FILTERS: list[tuple[ServerFilter, Any]] = [
    (ServerFilter(), lambda s: s.vm_state != DELETED),
    (ServerFilter(deleted=None), lambda s: True),
    (ServerFilter(deleted=True), lambda s: s.vm_state == DELETED),
    (ServerFilter(project_id="p1"), lambda s: s.vm_state != DELETED and s.project_id == "p1"),
    (ServerFilter(name="vm-1"), lambda s: s.vm_state != DELETED and "vm-1" in s.name),
    (ServerFilter(name="^vm-[12]$"), lambda s: s.vm_state != DELETED and bool(re.search("^vm-[12]$", s.name))),
    (ServerFilter(vm_states=("active", "error")), lambda s: s.vm_state in ("active", "error")),
    (
        ServerFilter(task_states=(None, "spawning")),
        lambda s: s.vm_state != DELETED and s.task_state in (None, "spawning"),
    ),
    (ServerFilter(host="node1"), lambda s: s.vm_state != DELETED and s.host == "node1"),
    (ServerFilter(flavor_id="1"), lambda s: s.vm_state != DELETED and s.flavor.id == "1"),
    (ServerFilter(key_name="k"), lambda s: s.vm_state != DELETED and s.key_name == "k"),
    (ServerFilter(config_drive=True, deleted=None), lambda s: s.config_drive),
    (ServerFilter(locked=True, deleted=None), lambda s: s.lock is not None),
    (ServerFilter(locked=False, deleted=None), lambda s: s.lock is None),
    (ServerFilter(hostname="^in", deleted=None), lambda s: bool(re.search("^in", s.hostname or ""))),
    (ServerFilter(description="an.$", deleted=None), lambda s: bool(re.search("an.$", s.description or ""))),
    (ServerFilter(ip=r"^10\.5\.0\.1", deleted=None), lambda s: any(n.ip_address[:8] == "10.5.0.1" for n in s.nics)),
    (ServerFilter(ip="10.5.0.1", deleted=None), lambda s: any(n.ip_address[:8] == "10.5.0.1" for n in s.nics)),
    (ServerFilter(ip="0.5.0.12", deleted=None), lambda s: any(n.ip_address == "10.5.0.12" for n in s.nics)),
    (ServerFilter(ip="^10.5.0.1$", deleted=None), lambda s: any(n.ip_address == "10.5.0.1" for n in s.nics)),
    (ServerFilter(ip=r"10\.5\.0\.12$", deleted=None), lambda s: s.nics == nic("10.5.0.12")),
    (ServerFilter(name="^vm-1$"), lambda s: s.vm_state != DELETED and s.name == "vm-1"),
    (ServerFilter(vm_states=("error", "stopped")), lambda s: s.vm_state in ("error", "stopped")),
    (ServerFilter(tags=("a", "b"), deleted=None), lambda s: {"a", "b"} <= set(s.tags)),
    (ServerFilter(tags_any=("a", "b"), deleted=None), lambda s: bool({"a", "b"} & set(s.tags))),
    (ServerFilter(not_tags=("a", "b"), deleted=None), lambda s: not {"a", "b"} <= set(s.tags)),
    (ServerFilter(not_tags_any=("a", "b"), deleted=None), lambda s: not {"a", "b"} & set(s.tags)),
    (ServerFilter(ids=(server_id(1), server_id(2)), deleted=None), lambda s: s.id in (server_id(1), server_id(2))),
]


@asynchronous
async def test_filters(database: str) -> None:
    events = history(60)
    await _project(database, events)
    servers = _model(events)
    async with _queries(database) as queries:
        for wanted, matches in FILTERS:
            found = {server.id for server in await queries.servers(wanted)}
            expected = {server.id for server in servers if matches(server)}
            assert found == expected, wanted
            # A filter that lets all pass, or none, would show nothing.
            if wanted not in (ServerFilter(), ServerFilter(deleted=None)):
                assert 0 < len(expected) < len(servers), wanted


async def _grow(database: str, copies: int) -> None:
    """Many more servers like those that are there, of other projects and with other addresses and tags."""
    columns = list(TABLE.columns)
    other = {
        "id": "id || '-' || n",
        "project_id": "'other'",
        "name": "name || '-' || n",
        "vm_state": "'active'",
        "updated_at": "updated_at - n * interval '1 minute'",
        "state": "jsonb_set((state::jsonb - 'nics'), '{tags}', '[]')::json",
    }
    chosen = ", ".join(other.get(column, column) for column in columns)
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute(f"INSERT INTO servers SELECT {chosen} FROM servers, generate_series(1, {copies}) n")
        await connection.execute("ANALYZE")


async def _read_and_passed_over(queries: Queries, text: str, values: Any) -> float:
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
    await _project(database, history(60))
    await _grow(database, 200)
    async with _queries(database) as queries:
        newest = (await queries.servers(ServerFilter(sort=(("updated_at", "desc"),), limit=1)))[0].updated_at
        asked: list[tuple[str, Any]] = []
        ask = queries._rows

        async def noting(text: str, *values: Any) -> list[Any]:
            asked.append((text, values))
            return await ask(text, *values)

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


@pytest.mark.parametrize(
    "sort",
    [
        (("created_at", "desc"), ("uuid", "desc")),
        (("display_name", "asc"),),
        (("display_name", "desc"), ("created_at", "asc")),
        (("key_name", "asc"),),
        (("key_name", "desc"), ("vm_state", "asc")),
        (("host", "asc"), ("uuid", "desc")),
    ],
)
@pytest.mark.parametrize("limit", [1, 7])
def test_pages_are_the_whole_list_in_order(database: str, sort: Any, limit: int) -> None:
    @asynchronous
    async def pages() -> None:
        await _project(database, history(25))
        async with _queries(database) as queries:
            whole = [server.id for server in await queries.servers(ServerFilter(deleted=None, sort=sort))]
            assert len(whole) == 25
            paged: list[str] = []
            while True:
                marker = paged[-1] if paged else None
                page = await queries.servers(ServerFilter(deleted=None, sort=sort, limit=limit, marker=marker))
                if not page:
                    break
                assert len(page) <= limit
                paged += [server.id for server in page]
            assert paged == whole

    pages()


@asynchronous
async def test_an_unknown_marker_and_a_bad_expression_are_invalid(database: str) -> None:
    await _project(database, history(2))
    async with _queries(database) as queries:
        with pytest.raises(Invalid, match="marker"):
            await queries.servers(ServerFilter(marker="nowhere"))
        with pytest.raises(Invalid, match="regular expression"):
            await queries.servers(ServerFilter(name="(((["))


@asynchronous
async def test_a_marker_of_another_project_is_as_unknown_as_any(database: str) -> None:
    await _project(database, history(6))
    async with _queries(database) as queries:
        (theirs, *_) = await queries.servers(ServerFilter(project_id="p1", deleted=None))
        assert await queries.servers(ServerFilter(project_id="p1", deleted=None, marker=theirs.id)) is not None
        with pytest.raises(Invalid, match=rf"^marker \[{theirs.id}\] not found$"):
            await queries.servers(ServerFilter(project_id="p2", deleted=None, marker=theirs.id))


@asynchronous
async def test_what_was_changed_in_that_second_was_changed_before_its_end(database: str) -> None:
    await _project(database, history(6))
    async with _queries(database) as queries:
        for server in await queries.servers(ServerFilter(deleted=None)):
            shown = server.updated_at.replace(microsecond=0)
            for before, found in ((shown, True), (shown - timedelta(seconds=1), False)):
                ids = [each.id for each in await queries.servers(ServerFilter(deleted=None, changes_before=before))]
                assert (server.id in ids) is found


@asynchronous
async def test_what_is_unfinished_is_known_with_its_position(database: str) -> None:
    events = history(30)
    cut = events[: len(events) // 2]
    async with _queries(database) as queries:
        with pytest.raises(Unavailable):
            await queries.unfinished(CELL)
        await _project(database, cut)
        ids, position = await queries.unfinished(CELL)
    assert set(ids) == {server.id for server in _model(cut) if server.action}
    assert position == len(cut)


@asynchronous
async def test_who_lives_is_known_with_its_position(database: str) -> None:
    events = history(60)
    async with _queries(database) as queries:
        with pytest.raises(Unavailable):
            await queries.living(CELL, [server_id(1)])
        await _project(database, events)
        everybody = [server_id(number) for number in range(60)]
        lives, position = await queries.living(CELL, [*everybody, "nobody"])
    expected = {s.id for s in _model(events) if s.vm_state != DELETED and not (s.vm_state == ERROR and not s.host)}
    assert lives == expected
    assert 0 < len(lives) < 60
    assert position == len(events)


@asynchronous
async def test_the_log_of_a_server_shows_also_what_was_taken_for_it(database: str) -> None:
    await _project(database, history(10))
    async with _queries(database) as queries:
        rows = await queries.log(server_id=server_id(3))
        types = [row.type for row in rows]
        assert types[:4] == ["quota.changed/reserved", "server.requested", "ledger.changed/claimed", "server.placed"]
        assert [row.type for row in await queries.log(request_id="req-3-create")][:4] == types[:4]
        assert {row.type for row in await queries.log(kind="ledger.")} == {"ledger.changed/claimed"}
        assert len(await queries.log(kind="server.", limit=5)) == 5


@asynchronous
async def test_a_question_may_cost_only_so_much(database: str) -> None:
    queries = Queries(database, statement_seconds=0.2)
    await queries.open()
    try:
        with pytest.raises(TookTooLong):
            await queries._rows("SELECT pg_sleep(60)")
        assert await queries._rows("SELECT 1") == [(1,)]
    finally:
        await queries.close()


@asynchronous
async def test_an_expression_that_takes_too_long_is_the_callers_fault(database: str) -> None:
    long = e.ServerRequested(
        server_id=server_id(1), name="a" * 254 + "b", project_id="p", user_id="u", flavor=FLAVOR, deadline=LATER
    )
    log = Log()
    log.add(aggregate(server_id(1)), long, "req")
    await _project(database, log.recorded)
    queries = Queries(database, statement_seconds=0.2)
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
    monkeypatch.setattr(pool, "WAIT_SECONDS", 0.5)
    queries = Queries(database, statement_seconds=0.5)
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
async def test_the_slow_questions_of_one_are_waited_for_by_nobody_else(database: str) -> None:
    asked_for = ContextVar("asked_for", default="one")
    queries = Queries(database, owner=asked_for.get)
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


async def _answers(queries: Queries) -> bool:
    try:
        return await queries._rows("SELECT 1") == [(1,)]
    except Unavailable:
        return False
