"""A history that cannot be read or folded harms its own aggregate only, and is told."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from domain.catalogue import flavor, keypair
from domain.catalogue.keypair import KeypairCreated
from domain.errors import OutOfOrder
from domain.log.record import AggregateId, Event
from domain.neighbours import token
from domain.placement import ledger, ledger_snapshot
from domain.placement.ledger import Inventory, Ledger
from domain.server.state import aggregate as server_aggregate
from handlers.conducting.states import ServerStates
from handlers.context import Context
from handlers.log.disorder import FACT, MAX_TOLD, Disorder
from handlers.log.ledger_feed import LedgerFeed
from handlers.log.registry import Registry
from handlers.neighbours.revocations import Revocations
from handlers.ports import Snapshot
from tests.aio import asynchronous
from tests.cell import Cell
from tests.domain.server.servers import STOP
from tests.future import OfTheFuture, append
from tests.waiting import until

CONTEXT = Context(request_id="req-1")


def _pair(name: str) -> KeypairCreated:
    return KeypairCreated(name=name, key_type="ssh", public_key="k", fingerprint="f")


async def _append(cell: Cell, at: AggregateId, event: Event) -> None:
    await append(cell.broker, at, event)


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None], ready: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    async with asyncio.timeout(10):
        await ready
        yield
    task.cancel()


@asynchronous
async def test_a_registry_serves_all_others() -> None:
    cell, disorder = Cell(), Disorder()
    ill, well = keypair.aggregate("ill"), keypair.aggregate("well")
    await _append(cell, ill, _pair("first"))
    await _append(cell, ill, OfTheFuture())
    await _append(cell, ill, _pair("second"))
    await _append(cell, well, _pair("third"))
    registry = Registry(cell.store, cell.stamp, [keypair.KIND, flavor.KIND], disorder)
    async with _running(registry.run(), registry.ready()):
        assert list(registry.get(ill).by_name) == ["first"]
        assert list(registry.get(well).by_name) == ["third"]
        assert registry.position == 4
        with pytest.raises(OutOfOrder, match=r"keypair\.ill"):
            await registry.execute(CONTEXT, ill, lambda _: _pair("fourth"))
        await registry.execute(CONTEXT, well, lambda _: _pair("fourth"))
    assert len(await cell.store.load(ill)) == 3
    (told,) = disorder.facts[FACT]  # type: ignore[misc]
    assert "keypair.ill" in told
    assert "sample.of_the_future" in told


@asynchronous
async def test_a_ledger_that_does_not_fold_is_shown_as_it_was_and_not_written() -> None:
    cell, disorder = Cell(), Disorder()
    at = ledger.aggregate("cell1")
    await _append(cell, at, ledger.LedgerChanged(changes=(ledger.ProviderCreated(provider_id="p", name="p"),)))
    unknown = ledger.InventoriesSet(provider_id="never", inventories={"VCPU": Inventory(total=1)})
    known = ledger.InventoriesSet(provider_id="p", inventories={"VCPU": Inventory(total=1)})
    await _append(cell, at, ledger.LedgerChanged(changes=(known, unknown)))
    feed = LedgerFeed(cell.store, cell.stamp, disorder)
    async with _running(feed.run(), feed.ready()):
        assert feed.writer.state.providers["p"].inventories == {}, "half an event was applied"
        with pytest.raises(OutOfOrder, match=r"ledger\.cell1"):
            await feed.writer.submit(CONTEXT, lambda _: (known,))
        with pytest.raises(OutOfOrder):
            await feed.writer.refresh()
    assert disorder.of(at)


@pytest.mark.parametrize("body", [b"", b"{", ledger_snapshot.dump(Ledger()).replace(b'"version":1', b'"version":2')])
@asynchronous
async def test_a_snapshot_that_cannot_be_read_is_passed_over(body: bytes) -> None:
    cell = Cell()
    at = ledger.aggregate("cell1")
    await _append(cell, at, ledger.LedgerChanged(changes=(ledger.ProviderCreated(provider_id="p", name="p"),)))
    (recorded,) = await cell.store.load(at)
    await cell.store.save_snapshot(at, Snapshot(recorded.tail, body))
    feed = LedgerFeed(cell.store, cell.stamp)
    async with _running(feed.run(), feed.ready()):
        assert list(feed.writer.state.providers) == ["p"]


@asynchronous
async def test_servers_that_are_out_of_order_are_left_alone() -> None:
    cell, disorder = Cell(), Disorder()
    ill, well = await cell.server(), await cell.server()
    states = ServerStates(cell.store, cell.stamp, disorder)
    for recorded in await cell.store.load(server_aggregate(ill)):
        assert states.advance(recorded)
    await _append(cell, server_aggregate(ill), OfTheFuture())
    await _append(cell, server_aggregate(ill), STOP)
    for recorded in (await cell.store.load(server_aggregate(ill)))[-2:]:
        assert states.advance(recorded) is None
    with pytest.raises(OutOfOrder, match=ill):
        await states.get(ill)
    with pytest.raises(OutOfOrder, match=ill):
        await states.execute(CONTEXT, ill, lambda _: STOP)
    assert await states.get(well)
    assert disorder.of(server_aggregate(ill))


@asynchronous
async def test_revocations_go_on() -> None:
    cell, disorder = Cell(), Disorder()
    revocations = Revocations(cell.store, cell.stamp, disorder)
    await _append(cell, token.aggregate("new"), OfTheFuture())
    async with _running(revocations.run(), revocations.ready()):
        await revocations.revoke(CONTEXT, "old", "u", cell.clock.now().replace(year=2099))
        await until(lambda: revocations.revoked("old"))
    assert disorder.of(token.aggregate("new"))


def test_only_so_many_are_named() -> None:
    disorder = Disorder()
    for number in range(MAX_TOLD + 3):
        disorder.note(AggregateId("sample", str(number)), KeyError("x"))
        disorder.note(AggregateId("sample", str(number)), KeyError("again"))
    told = disorder.facts[FACT]
    assert isinstance(told, list)
    assert len(told) == MAX_TOLD + 1
    assert told[-1] == "3 more are in the log."
