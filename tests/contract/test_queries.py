"""What the questions about servers promise, wherever the rows are kept."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from adapters.memory.queries import MemoryQueries, MemoryReadServers
from domain.errors import Invalid
from domain.guest import PowerState
from domain.log.moment import Moment
from domain.log.record import AggregateId, Recorded
from domain.server.creation import ServerRequested
from domain.server.deletion import ServerDeleted
from domain.server.details import ServerRenamed
from domain.server.fold import KIND
from domain.server.listing import SORT_KEYS, ServerFilter
from domain.server.state import DELETED, Server, aggregate
from handlers.conducting.leftovers import ReadServers
from handlers.ports import Queries
from ops.roles.conductor import OfCell
from projections.console_queries import ConsoleQueries
from projections.instance_actions import InstanceActionsView
from projections.memory import MemoryRows
from projections.migrations import MigrationsView
from projections.past import PastQueries
from projections.queries import PostgresQueries
from projections.servers import ServersView
from tests.aio import asynchronous
from tests.domain.server.servers import IMAGE, NOW
from tests.postgres_fixtures import project
from tests.projections.histories import CELL, TICK, history, nic, server_id, servers_of
from tests.projections.histories import Log as HistoryLog


class Asked(NamedTuple):
    """The two who answer from the same rows: what the API asks, and what the conductor."""

    queries: Queries
    read_servers: ReadServers


Asking = Callable[[list[Recorded]], AbstractAsyncContextManager[Asked]]


class Log:
    """As far as conductors look at it before they believe the read model."""

    cell = CELL

    def __init__(self, events: list[Recorded]) -> None:
        self._events = events

    async def last_position(self) -> int:
        return len(self._events)


@asynccontextmanager
async def in_memory(events: list[Recorded]) -> AsyncIterator[Asked]:
    rows = MemoryRows((ServersView(), InstanceActionsView(), MigrationsView()))
    rows.apply(events)
    yield Asked(MemoryQueries(rows), MemoryReadServers(rows, CELL))


class Histories:
    """The log as it was at some of its positions."""

    def __init__(self, events: list[Recorded]) -> None:
        self._events = events

    async def load(self, aggregate: AggregateId) -> list[Recorded]:
        return [recorded for recorded in self._events if recorded.aggregate == aggregate]


def much_later(events: list[Recorded]) -> list[Recorded]:
    """The same, and then every server is renamed and deleted, and there are others."""
    log = HistoryLog(tick=TICK)
    for recorded in events:
        log.add(recorded.aggregate, recorded.event, recorded.meta.request_id)
    for server in servers_of(events):
        log.add(aggregate(server.id), ServerRenamed(name="vm-1"), "req-later")
        log.add(aggregate(server.id), ServerDeleted(), "req-later")
    first = next(recorded.event for recorded in events if isinstance(recorded.event, ServerRequested))
    log.add(aggregate(server_id(1000)), replace(first, server_id=server_id(1000)), "req-later")
    return log.recorded


@pytest.fixture(params=["memory", *(pytest.param(name, marks=pytest.mark.postgres) for name in ("postgres", "past"))])
def asking(request: pytest.FixtureRequest) -> Asking:
    """Has the projections take in some events, to be asked about them."""
    if request.param == "memory":
        return in_memory
    database = request.getfixturevalue("database")

    @asynccontextmanager
    async def in_the_past(events: list[Recorded]) -> AsyncIterator[Asked]:
        await project(database, much_later(events))
        async with PostgresQueries(database) as queries, in_memory(events) as (_, read_servers):
            moment = Moment.of({CELL: len(events), "api": 0})
            yield Asked(PastQueries(queries, moment, [Histories(events)]), read_servers)

    if request.param == "past":
        return in_the_past

    @asynccontextmanager
    async def in_postgres(events: list[Recorded]) -> AsyncIterator[Asked]:
        await project(database, events)
        queries = ConsoleQueries(database)
        await queries.open()
        try:
            yield Asked(queries, OfCell(queries, Log(events)))
        finally:
            await queries.close()

    return in_postgres


MIDDLE = NOW + timedelta(seconds=12)

FILTERS: list[tuple[ServerFilter, Callable[[Server], bool]]] = [
    (ServerFilter(), lambda s: s.vm_state != DELETED),
    (ServerFilter(deleted=True), lambda s: s.vm_state == DELETED),
    (ServerFilter(project_id="p1"), lambda s: s.vm_state != DELETED and s.project_id == "p1"),
    (ServerFilter(user_id="u1", deleted=None), lambda s: s.user_id == "u1"),
    (ServerFilter(name="vm-1"), lambda s: s.vm_state != DELETED and "vm-1" in s.name),
    (ServerFilter(name="^vm-[12]$"), lambda s: s.vm_state != DELETED and bool(re.search("^vm-[12]$", s.name))),
    (ServerFilter(name="^vm-1$"), lambda s: s.vm_state != DELETED and s.name == "vm-1"),
    (ServerFilter(vm_states=("active", "error")), lambda s: s.vm_state in ("active", "error")),
    (ServerFilter(vm_states=("error", "stopped")), lambda s: s.vm_state in ("error", "stopped")),
    (
        ServerFilter(task_states=(None, "spawning")),
        lambda s: s.vm_state != DELETED and s.task_state in (None, "spawning"),
    ),
    (ServerFilter(power_state=PowerState.SHUTDOWN, deleted=None), lambda s: s.power_state is PowerState.SHUTDOWN),
    (ServerFilter(power_state=PowerState.NOSTATE, deleted=None), lambda s: s.power_state is PowerState.NOSTATE),
    (
        ServerFilter(ids=(server_id(1), server_id(2), "nobody"), deleted=None),
        lambda s: s.id in (server_id(1), server_id(2)),
    ),
    (ServerFilter(host="node1"), lambda s: s.vm_state != DELETED and s.host == "node1"),
    (ServerFilter(availability_zone="east", deleted=None), lambda s: s.availability_zone == "east"),
    (ServerFilter(flavor_id="1"), lambda s: s.vm_state != DELETED and s.flavor.id == "1"),
    (ServerFilter(image_id=IMAGE.id, deleted=None), lambda s: s.image is not None),
    (ServerFilter(key_name="k"), lambda s: s.vm_state != DELETED and s.key_name == "k"),
    (ServerFilter(reservation_id="r-3", deleted=None), lambda s: s.id in (server_id(6), server_id(7))),
    (ServerFilter(description="an.$", deleted=None), lambda s: bool(re.search("an.$", s.description or ""))),
    (ServerFilter(hostname="^in", deleted=None), lambda s: bool(re.search("^in", s.hostname or ""))),
    (ServerFilter(ip=r"^10\.5\.0\.1", deleted=None), lambda s: any(n.ip_address[:8] == "10.5.0.1" for n in s.nics)),
    (ServerFilter(ip="10.5.0.1", deleted=None), lambda s: any(n.ip_address[:8] == "10.5.0.1" for n in s.nics)),
    (ServerFilter(ip="0.5.0.12", deleted=None), lambda s: any(n.ip_address == "10.5.0.12" for n in s.nics)),
    (ServerFilter(ip="^10.5.0.1$", deleted=None), lambda s: any(n.ip_address == "10.5.0.1" for n in s.nics)),
    (ServerFilter(ip=r"10\.5\.0\.12$", deleted=None), lambda s: s.nics == nic("10.5.0.12")),
    (ServerFilter(ip=r"\.[0-9]$", deleted=None), lambda s: any(n.ip_address[-2] == "." for n in s.nics)),
    (ServerFilter(locked=True, deleted=None), lambda s: s.lock is not None),
    (ServerFilter(locked=False, deleted=None), lambda s: s.lock is None),
    (ServerFilter(config_drive=True, deleted=None), lambda s: s.config_drive),
    (ServerFilter(config_drive=False, deleted=None), lambda s: not s.config_drive),
    (ServerFilter(tags=("a", "b"), deleted=None), lambda s: {"a", "b"} <= set(s.tags)),
    (ServerFilter(tags_any=("a", "b"), deleted=None), lambda s: bool({"a", "b"} & set(s.tags))),
    (ServerFilter(not_tags=("a", "b"), deleted=None), lambda s: not {"a", "b"} <= set(s.tags)),
    (ServerFilter(not_tags_any=("a", "b"), deleted=None), lambda s: not {"a", "b"} & set(s.tags)),
    (ServerFilter(changes_since=MIDDLE, deleted=None), lambda s: s.updated_at >= MIDDLE),
    (
        ServerFilter(changes_before=MIDDLE, deleted=None),
        lambda s: s.updated_at.replace(microsecond=0) <= MIDDLE,
    ),
    (
        ServerFilter(project_id="p1", flavor_id="1", tags_any=("a", "c"), deleted=None),
        lambda s: s.project_id == "p1" and s.flavor.id == "1" and bool({"a", "c"} & set(s.tags)),
    ),
]
"""Filters, each with what it means."""

PAGING = {"marker", "limit", "sort"}

SORTS: list[tuple[tuple[str, str], ...]] = [
    (("created_at", "desc"), ("uuid", "desc")),
    (("display_name", "desc"), ("created_at", "asc")),
    (("key_name", "desc"), ("vm_state", "asc")),
    (("host", "asc"), ("uuid", "desc")),
    *(((key, direction),) for key in SORT_KEYS for direction in ("asc", "desc")),
]

FIELDS = {
    "display_name": "name",
    "uuid": "id",
    "image_ref": "image",
    "instance_type_id": "flavor",
}


def sort_value(server: Server, key: str) -> Any:
    value = getattr(server, FIELDS.get(key, key))
    return value.id if key in ("image_ref", "instance_type_id") and value is not None else value


class TestQueries:
    def test_every_condition_is_tried(self) -> None:
        plain = ServerFilter()
        tried = {
            field
            for wanted, _ in FILTERS
            for field in ServerFilter.__struct_fields__
            if getattr(wanted, field) != getattr(plain, field)
        }
        assert tried == set(ServerFilter.__struct_fields__) - PAGING

    @asynchronous
    async def test_filters(self, asking: Asking) -> None:
        events = history(60)
        servers = servers_of(events)
        async with asking(events) as (queries, _):
            everybody = await queries.servers(ServerFilter(deleted=None))
            assert sorted(server.id for server in everybody) == sorted(server.id for server in servers)
            for wanted, means in FILTERS:
                expected = {server.id for server in servers if means(server)}
                assert {server.id for server in await queries.servers(wanted)} == expected, wanted
                # A filter that lets all pass, or none, would show nothing.
                assert 0 < len(expected) < len(servers), wanted

    @asynchronous
    async def test_pages_are_the_whole_list_in_order(self, asking: Asking) -> None:
        events = history(60)
        servers = servers_of(events)
        async with asking(events) as (queries, _):
            for sort in SORTS:
                whole = await queries.servers(ServerFilter(deleted=None, sort=sort))
                assert len(whole) == len(servers)
                check_order(whole, sort)
                for limit in (1, 7):
                    paged: list[Server] = []
                    while page := await queries.servers(
                        ServerFilter(deleted=None, sort=sort, limit=limit, marker=paged[-1].id if paged else None)
                    ):
                        assert len(page) <= limit
                        paged += page
                    assert paged == whole, sort

    @asynchronous
    async def test_a_page_goes_on_behind_what_it_would_not_show_itself(self, asking: Asking) -> None:
        async with asking(history(60)) as (queries, _):
            everybody = await queries.servers(ServerFilter(deleted=None))
            gone = next(server for server in everybody[10:] if server.vm_state == DELETED)
            behind = [server for server in everybody[everybody.index(gone) :] if server.vm_state != DELETED]
            assert await queries.servers(ServerFilter(marker=gone.id)) == behind

    @asynchronous
    async def test_an_unknown_marker_and_a_bad_expression_are_invalid(self, asking: Asking) -> None:
        async with asking(history(2)) as (queries, _):
            with pytest.raises(Invalid, match=r"^marker \[nowhere\] not found$"):
                await queries.servers(ServerFilter(marker="nowhere"))
            for wanted in (ServerFilter(name="(((["), ServerFilter(ip="*")):
                with pytest.raises(Invalid, match="regular expression"):
                    await queries.servers(wanted)

    @asynchronous
    async def test_a_marker_of_another_project_is_as_unknown_as_any(self, asking: Asking) -> None:
        async with asking(history(6)) as (queries, _):
            (theirs, *_) = await queries.servers(ServerFilter(project_id="p1", deleted=None))
            assert await queries.servers(ServerFilter(project_id="p1", deleted=None, marker=theirs.id)) is not None
            with pytest.raises(Invalid, match=rf"^marker \[{theirs.id}\] not found$"):
                await queries.servers(ServerFilter(project_id="p2", deleted=None, marker=theirs.id))

    @asynchronous
    async def test_what_was_changed_in_that_second_was_changed_before_its_end(self, asking: Asking) -> None:
        async with asking(history(6)) as (queries, _):
            for server in await queries.servers(ServerFilter(deleted=None)):
                shown = server.updated_at.replace(microsecond=0)
                for before, found in ((shown, True), (shown - timedelta(seconds=1), False)):
                    wanted = ServerFilter(deleted=None, changes_before=before)
                    assert (server in await queries.servers(wanted)) is found

    @pytest.mark.postgres
    @asynchronous
    async def test_every_position_has_its_list(self, database: str) -> None:
        events = history(12)
        await project(database, events)
        async with PostgresQueries(database) as queries:
            for end in range(len(events) + 1):
                past = PastQueries(queries, Moment.of({CELL: end}), [])
                found = {server.id: server for server in await past.servers(ServerFilter(deleted=None))}
                assert found == {server.id: server for server in servers_of(events[:end])}

    @asynchronous
    async def test_one_server(self, asking: Asking) -> None:
        events = history(20)
        async with asking(events) as (queries, _):
            for server in servers_of(events):
                assert await queries.server(server.id) == server
            assert await queries.server("nobody") is None

    @asynchronous
    async def test_what_was_done_to_a_server(self, asking: Asking) -> None:
        events = history(20)
        requests: dict[str, list[str]] = {}
        for recorded in events:
            if recorded.aggregate.kind == KIND.name and recorded.meta.request_id != "req-host":
                of_server = requests.setdefault(recorded.aggregate.id, [])
                if recorded.meta.request_id not in of_server:
                    of_server.insert(0, recorded.meta.request_id)
        async with asking(events) as (queries, _):
            for server, asked in requests.items():
                actions = await queries.actions(server)
                assert [action.request_id for action in actions] == asked
                for action in actions:
                    assert await queries.action(server, action.request_id) == action
            assert await queries.actions("nobody") == []
            assert await queries.action(server_id(1), "req-2-create") is None


class TestReadServers:
    @asynchronous
    async def test_what_is_unfinished_is_known_with_its_position(self, asking: Asking) -> None:
        events = history(30)
        cut = events[: len(events) // 2]
        async with asking(cut) as (_, read_servers):
            ids, position = await read_servers.unfinished()
        assert set(ids) == {server.id for server in servers_of(cut) if server.unfinished}
        assert 0 < len(ids) < 30
        assert position == len(cut)

    @asynchronous
    async def test_who_lives_is_known_with_its_position(self, asking: Asking) -> None:
        events = history(60)
        everybody = [server_id(number) for number in range(60)]
        async with asking(events) as (_, read_servers):
            lives, position = await read_servers.living([*everybody, "nobody"])
            assert await read_servers.living([]) == (set(), position)
        there = [server for server in servers_of(events) if server.vm_state != DELETED]
        assert lives == {server.id for server in there if not (server.never_came or server.is_nowhere)}
        assert 0 < len(lives) < 60
        assert position == len(events)


def check_order(servers: list[Server], sort: tuple[tuple[str, str], ...]) -> None:
    """Each is behind the one before; what has no value is behind what has one."""
    for first, second in pairwise(servers):
        for key, direction in (*sort, ("uuid", sort[-1][1])):
            one, other = sort_value(first, key), sort_value(second, key)
            if one == other:
                continue
            assert one is not None, sort
            assert other is None or (one < other) is (direction == "asc"), sort
            break
