"""What a conductor remembers of servers is never older than what the log has told it."""

from random import Random
from unittest.mock import AsyncMock

import pytest

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from domain.kinds import EVENTS
from domain.log.record import GENESIS
from domain.server.state import aggregate
from handlers.conducting.states import ServerStates
from handlers.context import Stamp
from tests.aio import asynchronous
from tests.domain.server.servers import BUILT, PLACED, REQUESTED, SERVER_ID, STOP
from tests.sim.virtual_time import SeededIds, VirtualClock


@asynchronous
async def test_an_append_whose_answer_is_late_is_not_taken_for_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = VirtualClock()
    stamp = Stamp(clock, SeededIds(Random(1)))
    store = MemoryEventStore(Broker(clock), "cell1", EventMapper(EVENTS))
    states, context = ServerStates(store, stamp), stamp.own_context()
    recorded, tail = [], GENESIS
    for event in (REQUESTED, PLACED, BUILT, STOP):
        recorded.append(await store.append(aggregate(SERVER_ID), event, stamp(context), tail))
        tail = recorded[-1].tail
    before = [states.advance(each) for each in recorded]
    states.forget(SERVER_ID)
    late = AsyncMock(return_value=(before[2], recorded[2]))
    monkeypatch.setattr(states._repository, "execute", late)
    await states.execute(context, SERVER_ID, lambda _: None)
    server = await states.get(SERVER_ID)
    assert server
    assert server.version == 4
