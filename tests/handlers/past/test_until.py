"""A log that ends at a position shows what the log showed when it ended there."""

import asyncio
from contextlib import aclosing

import pytest

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from adapters.system import SystemIds
from domain.catalogue import keypair
from domain.catalogue.keypair import KeypairCreated, Keypairs
from domain.errors import Bug, Invalid
from domain.kinds import EVENTS
from domain.log.record import GENESIS, AggregateId, Recorded, Tail
from handlers.context import Stamp
from handlers.past import NotRead
from handlers.past.registry import PastRegistry
from handlers.past.until import StoreUntil
from handlers.ports import Snapshot
from tests.aio import asynchronous
from tests.clocks import InstantClock

STAMP = Stamp(InstantClock(), SystemIds())
OWNERS = ("amy", "rob", "amy", "eve", "amy")


async def log() -> tuple[MemoryEventStore, list[Recorded]]:
    """Five events of three aggregates."""
    store = MemoryEventStore(Broker(InstantClock()), "cell1", EventMapper(EVENTS))
    tails = dict.fromkeys(OWNERS, GENESIS)
    recorded = []
    for number, owner in enumerate(OWNERS):
        event = KeypairCreated(name=f"k{number}", key_type="ssh", public_key="ssh-rsa x", fingerprint="f")
        made = await store.append(of(owner), event, STAMP(STAMP.own_context()), tails[owner])
        tails[owner] = made.tail
        recorded.append(made)
    return store, recorded


def of(owner: str) -> AggregateId:
    return keypair.aggregate(owner)


@asynchronous
async def test_every_end():
    store, recorded = await log()
    for end in range(len(recorded) + 1):
        until, known = StoreUntil(store, end), recorded[:end]
        assert await until.last_position() == end
        assert [await until.event_at(position) for position in range(1, end + 2)] == [*known, None]
        for owner in OWNERS:
            its = [one for one in known if one.aggregate == of(owner)]
            assert await until.load(of(owner)) == its
            assert await until.load_first(of(owner), 1) == (its[:1], len(its) > 1)
        for after in range(end + 2):
            assert await followed(until, after) == known[after:]


async def followed(store: StoreUntil, after: int) -> list[Recorded]:
    """What it delivers before it says that this is the end."""
    found = []
    async with aclosing(store.follow(after)) as batches, asyncio.timeout(5):
        async for batch in batches:
            if not batch:
                return found
            found += batch
    raise AssertionError


@asynchronous
async def test_it_is_not_written():
    store, recorded = await log()
    until = StoreUntil(store, 2)
    with pytest.raises(Bug):
        await until.append(of("amy"), recorded[0].event, recorded[0].meta, GENESIS)
    with pytest.raises(Bug):
        await until.save_snapshot(of("amy"), Snapshot(GENESIS, b""))


@asynchronous
async def test_a_later_snapshot_is_none():
    store, recorded = await log()
    snapshot = Snapshot(recorded[2].tail, b"state")
    await store.save_snapshot(of("amy"), snapshot)
    assert await StoreUntil(store, 3).load_snapshot(of("amy")) == snapshot
    assert await StoreUntil(store, 2).load_snapshot(of("amy")) is None


@asynchronous
async def test_a_registry_reads_what_is_asked_for():
    store, _ = await log()
    registry = PastRegistry(StoreUntil(store, 3), STAMP, [keypair.KIND])
    with pytest.raises(NotRead) as missing:
        registry.get(of("amy"))
    await missing.value.read()
    amy = registry.get(of("amy"))
    assert isinstance(amy, Keypairs)
    assert sorted(amy.by_name) == ["k0", "k2"]
    with pytest.raises(NotRead) as missing:
        registry.all("keypair")
    await missing.value.read()
    assert len(list(registry.all("keypair"))) == 2
    assert registry.get(of("eve")) is None


class _Nameless(MemoryEventStore):
    async def load(self, aggregate: AggregateId, after: Tail = GENESIS) -> list[Recorded]:
        raise Invalid(f"{aggregate.id!r} can be no name.")


@asynchronous
async def test_what_can_have_no_name_never_was():
    store = _Nameless(Broker(InstantClock()), "cell1", EventMapper(EVENTS))
    assert await StoreUntil(store, 5).load(of("")) == []
