"""Which consoles are open, and what is known of those that were."""

from datetime import timedelta

import pytest

from domain.console import ConsoleClosed, ConsoleGranted, ConsoleOpened, aggregate
from domain.errors import Unavailable
from projections.console_queries import ConsoleQueries
from projections.console_sessions import TABLE, ConsoleSessionRow, ConsoleSessionsView
from projections.memory import MemoryRows
from tests.aio import asynchronous
from tests.domain.server.servers import LATER, NOW
from tests.postgres_fixtures import project
from tests.projections.histories import CELL, Log, history, server_id

GRANT = aggregate("grant")
SERVER = server_id(1)
GRANTED = ConsoleGranted(server_id=SERVER, console_type="serial", epoch=1, expires_at=LATER)


def opened(session: str, proxy: str = "console/1") -> ConsoleOpened:
    return ConsoleOpened(server_id=SERVER, session_id=session, address="192.0.2.1", proxy=proxy)


def closed(session: str, reason: str = "") -> ConsoleClosed:
    return ConsoleClosed(server_id=SERVER, session_id=session, seconds=2.5, bytes_in=3, bytes_out=4, reason=reason)


def rows(*events: object) -> list[ConsoleSessionRow]:
    log, memory = Log(), MemoryRows((ConsoleSessionsView(),))
    for event in (GRANTED, *events):
        log.add(GRANT, event, "req-c")  # type: ignore[arg-type]
    memory.apply(log.recorded)
    return memory.all(TABLE)


def test_a_session_from_its_opening_to_its_end() -> None:
    (row,) = rows(opened("1"))
    assert row == ConsoleSessionRow(
        session_id="1",
        cell=CELL,
        grant_id="grant",
        server_id=SERVER,
        console_type="serial",
        user_id="u",
        project_id="p",
        address="192.0.2.1",
        proxy="console/1",
        opened_at=NOW + timedelta(seconds=2),
    )
    (ended,) = rows(opened("1"), closed("1", "lost"))
    assert (ended.closed_at, ended.reason) == (NOW + timedelta(seconds=3), "lost")
    assert (ended.seconds, ended.bytes_in, ended.bytes_out) == (2.5, 3, 4)


def test_an_end_ends_its_own_session_and_once() -> None:
    first, second = rows(opened("1"), opened("2"), closed("1"), closed("1", "late"), closed("3"))
    assert first.reason == ""
    assert second.closed_at is None


@pytest.mark.postgres
@asynchronous
async def test_the_questions(database: str) -> None:
    events = history(60)
    memory = MemoryRows((ConsoleSessionsView(),))
    memory.apply(events)
    sessions: list[ConsoleSessionRow] = memory.all(TABLE)
    open_now = [row for row in sessions if row.closed_at is None]
    queries = ConsoleQueries(database)
    await queries.open()
    try:
        with pytest.raises(Unavailable, match="not made its tables"):
            await queries.console_proxies(CELL)
        await project(database, events)
        proxies = await queries.console_proxies(CELL)
        assert sorted(proxies) == sorted({row.proxy for row in open_now})
        assert len(proxies) > 1
        for proxy in proxies:
            found = await queries.consoles_of(CELL, proxy)
            assert sorted(found) == sorted((row.grant_id, row.session_id) for row in open_now if row.proxy == proxy)
        assert await queries.console_proxies("another") == []
        seen = await queries.consoles(1000)
        assert [each.session for each in seen] == sorted(open_now, key=lambda row: row.opened_at)
        assert {each.server_name for each in seen} <= {f"vm-{number}" for number in range(7)}
        assert [each.session for each in await queries.consoles(5, ended=True)] == sorted(
            sessions, key=lambda row: row.opened_at
        )[-5:]
        two = sorted({row.server_id for row in sessions})[:2]
        of_two = await queries.consoles(1000, ended=True, servers=two)
        assert {each.session for each in of_two} == {row for row in sessions if row.server_id in two}
        assert await queries.consoles(1000, ended=True, servers=[]) == []
    finally:
        await queries.close()
