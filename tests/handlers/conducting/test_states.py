"""What a conductor remembers of servers is never older than what the log has told it."""

from random import Random
from unittest.mock import AsyncMock

import pytest

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from domain.errors import Stale
from domain.kinds import EVENTS
from domain.log.record import GENESIS, AggregateId, Event, Tail
from domain.server.state import Server, aggregate
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


@asynchronous
async def test_who_was_told_that_he_decided_on_too_old_a_state_decides_on_the_newest_next() -> None:
    """A follower may be late; whoever does not ask the log would decide on the same for ever."""
    clock = VirtualClock()
    stamp = Stamp(clock, SeededIds(Random(1)))
    store = MemoryEventStore(Broker(clock), "cell1", EventMapper(EVENTS))
    states, context = ServerStates(store, stamp), stamp.own_context()
    first = await store.append(aggregate(SERVER_ID), REQUESTED, stamp(context), GENESIS)
    remembered = states.advance(first)
    await store.append(aggregate(SERVER_ID), PLACED, stamp(context), first.tail)

    def decide(state: Server | None) -> Event | None:
        if state != remembered:
            raise Stale("It has come further.")
        return None if state is None else BUILT

    with pytest.raises(Stale):
        await states.execute(context, SERVER_ID, decide)
    server = await states.get(SERVER_ID)
    assert server
    assert server.version == 2


@asynchronous
async def test_what_is_delivered_while_a_server_is_loaded_is_not_forgotten_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or nobody would look again at an action that began meanwhile."""
    clock = VirtualClock()
    stamp = Stamp(clock, SeededIds(Random(1)))
    store = MemoryEventStore(Broker(clock), "cell1", EventMapper(EVENTS))
    states, recorded, tail = ServerStates(store, stamp), [], GENESIS
    for event in (REQUESTED, PLACED, BUILT, STOP):
        recorded.append(await store.append(aggregate(SERVER_ID), event, stamp(stamp.own_context()), tail))
        tail = recorded[-1].tail
    older = ServerStates(store, stamp)
    before = [older.advance(each) for each in recorded[:3]]

    async def slow(_aggregate: AggregateId) -> tuple[Server | None, Tail]:
        for each in recorded:
            states.advance(each)
        return before[-1], recorded[2].tail

    monkeypatch.setattr(states._repository, "load", slow)
    for _ in range(2):
        server = await states.get(SERVER_ID)
        assert server
        assert server.version == 4
