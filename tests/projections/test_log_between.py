"""What happened between two moments, and pages of it."""

import pytest

from adapters.memory.queries import MemoryLog
from domain.log.moment import Moment
from projections.event_log import EventLogView
from projections.log_queries import LogQueries
from projections.memory import MemoryRows
from tests.aio import asynchronous
from tests.postgres_fixtures import project
from tests.projections.histories import CELL, history, server_id

pytestmark = pytest.mark.postgres


def moment(position: int) -> Moment:
    return Moment.of({CELL: position, "api": 0})


@asynchronous
async def test_the_events_between(database: str):
    events = history(10)
    await project(database, events)
    async with LogQueries(database) as queries:
        for kinds in (("server",), ("host", "server")):
            for before, after in ((0, len(events)), (5, 20), (7, 7), (len(events), len(events))):
                found = await queries.log_between(moment(before), moment(after), kinds, 1000)
                expected = [event for event in events[before:after] if event.aggregate.kind in kinds]
                assert [row.position for row in found] == [event.position for event in expected]
        some = next(event for event in events if event.aggregate.kind == "server")
        of_one = await queries.log_between(moment(0), moment(len(events)), ("server",), 1000, some.aggregate.id)
        assert [row.position for row in of_one] == [e.position for e in events if e.aggregate == some.aggregate]
        first = await queries.log_between(moment(0), moment(len(events)), ("server",), 3)
        assert len(first) == 3
        assert first[0].position == some.position


@asynchronous
async def test_pages_as_in_memory(database: str):
    events = history(10)
    await project(database, events)
    rows = MemoryRows((EventLogView(),))
    rows.apply(events)
    wanted_of = ({}, {"type": "server."}, {"type": "ledger.changed"}, {"request_id": "req-3-create"})
    async with LogQueries(database) as queries:
        memory = MemoryLog(rows)
        for wanted in (*wanted_of, {"server_id": server_id(3)}, {"project_id": "p", "user_id": "u", "type": "host."}):
            for whole_only in (False, True):
                for after, until, limit in ((0, 1000, 1000), (5, 20, 1000), (5, 20, 3)):
                    asked = wanted, moment(after), moment(until), limit
                    found = await queries.page(*asked, whole_only=whole_only)
                    assert found == await memory.page(*asked, whole_only=whole_only), asked
