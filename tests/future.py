"""What a later version of this program has written into a log, and this one cannot read."""

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from adapters.system import SystemClock, SystemIds
from domain.kinds import EVENTS
from domain.log.record import GENESIS, AggregateId, Event
from handlers.context import Stamp


class OfTheFuture(Event, tag="sample.of_the_future", frozen=True, kw_only=True):
    """What only a later version knows."""


async def append(broker: Broker, at: AggregateId, event: Event, cell: str = "cell1") -> None:
    """As a later version would."""
    store, stamp = (
        MemoryEventStore(broker, cell, EventMapper((*EVENTS, OfTheFuture))),
        Stamp(SystemClock(), SystemIds()),
    )
    history = await store.load(at)
    await store.append(at, event, stamp(stamp.own_context()), history[-1].tail if history else GENESIS)


async def append_of_the_future(broker: Broker, at: AggregateId, cell: str = "cell1") -> None:
    await append(broker, at, OfTheFuture(), cell)
