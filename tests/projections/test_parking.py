"""A projection survives what it cannot take in: all others' events are shown, and what is set aside is known."""

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as some

from domain.fleet import host
from domain.guest import HostDescription
from domain.log.record import AggregateId, Event, Recorded, Unreadable
from domain.server.creation import ServerRequested
from domain.server.details import ServerMetadataChanged
from domain.server.state import aggregate
from projections.builds import builds_in_force
from projections.console_sessions import ConsoleSessionsView
from projections.event_log import EventLogView
from projections.hosts import HostsView
from projections.instance_actions import InstanceActionsView
from projections.memory import MemoryRows
from projections.migrations import MigrationsView
from projections.parking import indigestible
from projections.postgres import PostgresRows, _json, connect
from projections.queries import PostgresQueries
from projections.servers import ServersView
from projections.table import Projection, Rows
from tests.aio import asynchronous
from tests.domain.server.servers import BUILT, FLAVOR, LATER, PLACED
from tests.projections.histories import CELL, Log, history, server_id

ALL: tuple[Projection, ...] = (
    ServersView(),
    InstanceActionsView(),
    MigrationsView(),
    HostsView(),
    EventLogView(),
    ConsoleSessionsView(),
)
MINE, BAD, OTHERS = server_id(1), server_id(2), server_id(3)


def _requested(server: str, **more: object) -> Event:
    fields = {"name": "vm", "project_id": "p", "user_id": "u", "flavor": FLAVOR, "deadline": LATER}
    return ServerRequested(server_id=server, **fields | more)  # type: ignore[arg-type]


def _story(*bad: Event, at: AggregateId | None = None, request: str = "req-bad") -> list[Recorded]:
    """A server before, one after, and something bad in between; each of them is built in the end."""
    log = Log()
    log.add(aggregate(MINE), _requested(MINE), "req-mine")
    for event in bad:
        log.add(at or aggregate(BAD), event, request)
    log.add(aggregate(OTHERS), _requested(OTHERS), "req-others")
    for server in (MINE, OTHERS):
        log.add(aggregate(server), PLACED, f"req-{server}")
        log.add(aggregate(server), BUILT, f"req-{server}")
    return log.recorded


@asynccontextmanager
async def _rows(database: str, projections: tuple[Projection, ...] = ALL) -> AsyncIterator[PostgresRows]:
    async with await connect(database, "test") as connection:
        rows = PostgresRows(connection, await builds_in_force(connection, projections))
        await rows.open()
        yield rows


async def _parked(rows: PostgresRows) -> set[tuple[str, int]]:
    names = {build.number: build.projection.name for build in rows.builds}
    return {(names[parked.build], parked.position) for parked in await rows.parked()}


async def _check_others_are_served(database: str, events: list[Recorded]) -> None:
    queries = PostgresQueries(database)
    await queries.open()
    try:
        for server in (MINE, OTHERS):
            found = await queries.server(server)
            assert found
            assert found.vm_state == "active"
        for name, _, _, position, _ in await queries.positions():
            assert position == len(events), name
    finally:
        await queries.close()


LONG = "".join(hashlib.sha256(str(number).encode()).hexdigest() for number in range(200))
"""So irregular that it does not fit into an index by being compressed."""
POISONS: dict[str, tuple[list[Recorded], set[str]]] = {
    "a number that no column holds": (
        _story(_requested(BAD), PLACED, msgspec.structs.replace(BUILT, power_state=2**40)),  # type: ignore[arg-type]
        {"servers"},
    ),
    "a text that no index holds": (_story(_requested(BAD), request=LONG), {"instance_actions", "event_log"}),
    "a text that is no UTF-8": (
        _story(_requested(BAD, name="\ud800", description="\udfff")),
        {"servers"},
    ),
    "an event without its founder": (_story(BUILT), {"servers"}),
    "what a later version wrote": (
        _story(Unreadable(type_name="server.sung", reason="new")),
        {"servers", "instance_actions", "migrations", "hosts", "event_log", "console_sessions"},
    ),
    "a host of another world": (
        _story(
            host.HostEnrolled(
                host_id="\ud800",
                description=HostDescription(
                    name="h", hypervisor_type="q", hypervisor_version=1, vcpus=1, memory_mb=1, disk_gb=1
                ),
            ),
            at=host.aggregate("h"),
        ),
        {"hosts"},
    ),
}


@pytest.mark.postgres
@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("size", [1, 100])
@asynchronous
async def test_what_cannot_be_taken_in_is_parked_and_all_others_are_served(
    database: str, poison: str, size: int
) -> None:
    events, projections = POISONS[poison]
    async with _rows(database) as rows:
        for start in range(0, len(events), size):
            await rows.apply(events[start : start + size])
        assert {name for name, _ in await _parked(rows)} == projections
        assert {rows.position(CELL)} == {len(events)}
    await _check_others_are_served(database, events)


@pytest.mark.postgres
@asynchronous
async def test_a_nul_is_kept_as_what_stands_for_it(database: str) -> None:
    events = _story(
        _requested(BAD, metadata={"k": "a\0b", "plain": "\\u0000"}),
        PLACED,
        ServerMetadataChanged(metadata={"\0": "\0\0"}),
        BUILT,
    )
    async with _rows(database) as rows:
        # One by one, so that what was written is read again.
        for event in events:
            await rows.apply([event])
            rows._forget_rows(rows._types)
        assert await rows.parked() == []
    await _check_others_are_served(database, events)
    queries = PostgresQueries(database)
    await queries.open()
    server = await queries.server(BAD)
    await queries.close()
    assert server
    assert server.metadata == {"\ufffd": "\ufffd\ufffd"}


@given(some.recursive(some.text(), lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner)))
def test_only_nul_is_replaced(value: object) -> None:
    def without_nul(part: object) -> object:
        if isinstance(part, str):
            return part.replace("\0", "\ufffd")
        if isinstance(part, dict):
            return {without_nul(key): without_nul(inner) for key, inner in part.items()}
        return [without_nul(inner) for inner in part]  # type: ignore[attr-defined]

    document = _json(value)
    assert json.loads(document) == without_nul(value)


class _Refuses(ServersView):
    """Raises for some positions, as long as it is ill."""

    def __init__(self, *positions: int) -> None:
        self.ill = set(positions)
        self.applied: list[int] = []

    def apply(self, recorded: Recorded, rows: Rows) -> None:
        self.applied.append(recorded.position)
        if recorded.position in self.ill:
            raise KeyError("impossible")
        super().apply(recorded, rows)


def _of(events: list[Recorded], fits: Callable[[Recorded], bool]) -> list[Recorded]:
    return [event for event in events if fits(event)]


@pytest.mark.postgres
@asynchronous
async def test_what_follows_of_the_aggregate_waits_behind_it_and_is_applied_in_order_when_retried(
    database: str,
) -> None:
    events = history(20)
    ill = _of(events, lambda event: event.aggregate.kind == "server" and event.version == 2)[3]
    behind = _of(events, lambda event: event.aggregate == ill.aggregate and event.version > 2)
    assert behind
    broken = _Refuses(ill.position)
    async with _rows(database, (broken,)) as rows:
        await rows.apply(events[: ill.position + 2])
    # By another writer, after a restart.
    async with _rows(database, (broken,)) as rows:
        await rows.apply(events[ill.position + 2 :])
        waiting = {event.position for event in (ill, *behind)}
        assert {position for _, position in await _parked(rows)} == waiting
        number = rows.builds[0].number
        await rows.retry(number, [ill, *behind])
        assert {position for _, position in await _parked(rows)} == waiting
        broken.ill.clear()
        await rows.retry(number, [ill, *behind])
        assert await rows.parked() == []
        cursor = await rows._connection.execute("SELECT state::text FROM servers ORDER BY id")
        content = [row[0].encode() for row in await cursor.fetchall()]
    memory = MemoryRows((ServersView(),))
    memory.apply(events)
    assert content == [bytes(row.state) for row in sorted(memory.all(ServersView.tables[0]), key=lambda row: row.id)]


@pytest.mark.postgres
@asynchronous
async def test_what_is_given_up_is_passed_over_and_what_follows_is_applied(database: str) -> None:
    events = history(10)
    ill = _of(events, lambda event: event.aggregate.kind == "server" and event.version == 2)[0]
    behind = _of(events, lambda event: event.aggregate == ill.aggregate and event.version > 2)
    broken = _Refuses(ill.position)
    async with _rows(database, (broken,)) as rows:
        await rows.apply(events)
        rows.skipped[CELL, ill.position] = ill.meta.event_id
        broken.applied.clear()
        await rows.retry(rows.builds[0].number, [ill, *behind])
        assert await rows.parked() == []
        assert broken.applied == [event.position for event in behind]


@pytest.mark.postgres
@asynchronous
async def test_finding_one_among_many_costs_little(database: str) -> None:
    events = history(120)
    ill = _of(events, lambda event: event.aggregate.kind == "server" and event.version == 1)[50]
    broken = _Refuses(ill.position)
    async with _rows(database, (broken,)) as rows:
        await rows.apply(events)
    assert len(broken.applied) < 4 * len(events)


@pytest.mark.parametrize(
    ("error", "of_the_event"),
    [
        (psycopg.errors.UntranslatableCharacter(), True),
        (psycopg.errors.NumericValueOutOfRange(), True),
        (psycopg.errors.NotNullViolation(), True),
        (psycopg.errors.ProgramLimitExceeded(), True),
        (psycopg.DataError(), True),
        (KeyError(), True),
        (psycopg.OperationalError("the connection is lost"), False),
        (psycopg.errors.AdminShutdown(), False),
        (psycopg.errors.DiskFull(), False),
        (psycopg.errors.OutOfMemory(), False),
        (psycopg.errors.UndefinedTable(), False),
        (psycopg.errors.QueryCanceled(), False),
        (ConnectionResetError(), False),
        (MemoryError(), False),
    ],
)
def test_only_the_events_own_fault_parks_it(error: Exception, of_the_event: bool) -> None:
    assert indigestible(error) is of_the_event
