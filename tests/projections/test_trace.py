"""The tree of what a request has led to."""

from datetime import timedelta

import pytest

from domain.placement.ledger import Claimed, LedgerChanged
from domain.server.creation import ServerPlaced
from projections.event_log import EventLogView, LogRow
from projections.log_queries import LogQueries
from projections.memory import MemoryRows
from projections.trace import facts_of, trace
from tests.aio import asynchronous
from tests.domain.server.servers import NOW, PLACED
from tests.postgres_fixtures import project
from tests.projections.histories import history, server_id


def rows_of(request_id: str) -> list[LogRow]:
    rows = MemoryRows((EventLogView(),))
    view = EventLogView()
    rows.apply(history(6))
    return [row for row in rows.all(view.tables[0]) if row.request_id == request_id]


def test_a_servers_events_are_a_branch_and_what_is_held_for_it_hangs_below():
    told = trace(rows_of("req-3-create"), {})
    (branch,) = told.branches
    assert (branch.kind, branch.id) == ("server", server_id(3))
    assert [step.event for step in branch.steps][:3] == [
        "quota.changed/reserved",
        "server.requested",
        "server.placed",
    ]
    assert [step.event for step in branch.steps[1].steps] == ["ledger.changed/claimed"]
    assert (told.request_id, told.user_id, told.project_id) == ("req-3-create", "u", "p")
    assert told.began == branch.steps[0].time
    assert told.ended == branch.steps[-1].time


def test_times_are_since_what_came_before():
    (branch,) = trace(rows_of("req-3-create"), {}).branches
    reserved, requested, *_ = branch.steps
    assert reserved.after == 0
    assert timedelta(seconds=requested.after) == requested.time - reserved.time
    (claimed,) = requested.steps
    assert timedelta(seconds=claimed.after) == claimed.time - requested.time


def test_each_thing_has_a_branch():
    rows = rows_of("req-host") + rows_of("req-3-create")
    branches = trace(rows, {}).branches
    assert [(branch.kind, branch.id) for branch in branches] == [("host", "node1"), ("server", server_id(3))]


def test_what_events_say():
    assert facts_of(PLACED, 0) == {"host": "node1", "epoch": 1}
    assert isinstance(PLACED, ServerPlaced)
    claim = Claimed(consumer_id="c", epoch=2, project_id="p", user_id="u", allocations={"h": {"VCPU": 1}})
    assert facts_of(LedgerChanged(changes=(claim, claim)), 2) == {"epoch": 2, "allocations": {"h": {"VCPU": 1}}}
    rows = rows_of("req-3-create")
    (placed,) = [row for row in rows if row.type == "server.placed"]
    told = trace(rows, {(placed.cell, placed.position, 0): {"host": "node1"}})
    assert [step.facts for step in told.branches[0].steps if step.facts] == [{"host": "node1"}]
    assert told.began > NOW


@pytest.mark.postgres
@asynchronous
async def test_requests_are_found_by_whatever_names_them(database: str):
    events = history(6)
    await project(database, events)
    async with LogQueries(database) as queries:
        assert await queries.requests("req-3-create") == ["req-3-create"]
        of_server = [event.meta.request_id for event in events if event.aggregate.id == server_id(3)]
        assert await queries.requests(server_id(3)) == list(dict.fromkeys(of_server))
        some = next(event for event in events if event.aggregate.id == server_id(2))
        assert await queries.requests(some.meta.event_id) == [some.meta.request_id]
        assert await queries.requests("nothing") == []
