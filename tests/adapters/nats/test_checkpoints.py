"""Signing a log on the real server: what is hashed is what was sent, to the byte."""

import pytest

from adapters.mapper import EventMapper
from adapters.nats.connection import header_block
from adapters.nats.store import NatsEventStore
from adapters.system import SystemClock, SystemIds
from domain.errors import Unavailable
from domain.log.checkpoint import CheckpointSigned, Entry
from domain.log.merkle import Frontier
from domain.log.record import GENESIS
from domain.log.recovery import RecoveryDecided
from handlers.context import Stamp
from handlers.log.checkpoints import Checkpoints, Interval
from ops.embedded.nats import EmbeddedNats, NatsProcess
from tests.adapters.nats.damage import flip_a_byte
from tests.adapters.nats.test_damage import _write
from tests.aio import asynchronous
from tests.contract.worlds import Grown, Happened, NatsWorld, aggregate, meta
from tests.paper_log import PaperNotary

pytestmark = pytest.mark.nats

MAPPER = EventMapper([Happened, Grown, RecoveryDecided, CheckpointSigned])
STAMP = Stamp(SystemClock(), SystemIds())


async def _store(world: NatsWorld) -> NatsEventStore:
    store = NatsEventStore(await world.connection(), world.cell, MAPPER)
    await store.soundness.open()
    return store


def _signer(store: NatsEventStore, notary: PaperNotary) -> Checkpoints:
    notary.cells = (store.cell,)
    return Checkpoints(store, notary, STAMP, Interval(100, 300.0))


async def _entries(store: NatsEventStore, after: int = 0) -> list[Entry]:
    return [entry async for batch in store.entries(after) for entry in batch]


@asynchronous
async def test_an_entry_is_what_was_sent(nats_server: EmbeddedNats) -> None:
    async with NatsWorld(nats_server) as world:
        store = await _store(world)
        event, stamped = Happened(what="ä", number=1), meta()
        await store.append(aggregate("a"), event, stamped, GENESIS)
        envelope = MAPPER.encode(world.cell, aggregate("a"), event, stamped, GENESIS)
        guards = {"Nats-Msg-Id": stamped.event_id, "Nats-Expected-Last-Subject-Sequence": "0"}
        (entry,) = await _entries(store)
        assert entry == Entry(
            1,
            f"cell.{world.cell}.event.{aggregate('a').kind}.a",
            header_block(envelope.headers | guards),
            envelope.body,
        )


@asynchronous
async def test_the_log_is_signed_and_gone_on_from(nats_server: EmbeddedNats) -> None:
    async with NatsWorld(nats_server) as world:
        store, notary = await _store(world), PaperNotary()
        await _write(store, 0, 250)
        assert await _signer(store, notary).sign()
        await _write(store, 250, 3)
        last = await _signer(store, notary).sign()
        assert last
        entries = await _entries(store)
        tree = Frontier()
        tree.extend(entry.leaf for entry in entries[: last.size])
        assert tree.root == last.tree().root == notary.opened(last.note).root
        assert last.size == len(entries) - 1


@asynchronous
async def test_a_log_that_lacks_something_is_not_signed(mortal: NatsProcess) -> None:
    async with NatsWorld(mortal.server) as world:
        await _write(await _store(world), 0, 300)
    mortal.stop()
    flip_a_byte(mortal.server.directory, world.cell)
    mortal.start()
    again = NatsWorld(mortal.server)
    again.cell = world.cell
    async with again:
        with pytest.raises(Unavailable, match="lacks the event at position"):
            await _signer(await _store(again), PaperNotary()).sign()
