"""What is held for a server of which the log knows nothing is given back; what is not known for certain is left."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from domain.catalogue import quota
from domain.catalogue.quota import Reserved
from domain.log.record import GENESIS
from domain.neighbours import network
from domain.neighbours.network import NetworkCreated
from domain.placement import ledger
from domain.placement.ledger import Inventory
from domain.server.state import aggregate
from handlers.conducting import leftovers
from handlers.conducting.holdings import Holdings
from handlers.conducting.keys import Keys
from handlers.conducting.leftovers import Leftovers
from handlers.conducting.states import ServerStates
from handlers.context import Context
from handlers.log.ledger_feed import LedgerFeed
from handlers.log.registry import Registry
from handlers.neighbours.networks import EmbeddedNetworks
from tests.aio import asynchronous
from tests.cell import Cell
from tests.domain.server.moves.servers import LARGER, MOVING
from tests.domain.server.servers import BUILT, REQUESTED

CONTEXT = Context(request_id="req-1")
PROJECT, SERVER = "p", "5a3c1f7e-8a31-4b5e-9f0e-2f1f5f2a7c99"


class Held(NamedTuple):
    """A cell in which a server holds something of everything."""

    cell: Cell
    holdings: Holdings
    leftovers: Leftovers

    def holds(self) -> tuple[bool, bool, bool]:
        """A claim, a port, a reservation."""
        registry = self.holdings.registry
        (net,) = registry.all("network")
        return (
            SERVER in self.holdings.ledger.state.claims,
            any(port.server_id == SERVER for port in net.ports.values()),
            SERVER in registry.get(quota.aggregate(PROJECT)).reservations,
        )


class Nobody:
    """A read model that knows no server."""

    async def unfinished(self) -> tuple[list[str], int]:
        return [], 1 << 60

    async def living(self, _server_ids: Sequence[str]) -> tuple[set[str], int]:
        return set(), 1 << 60


async def _take_everything(holdings: Holdings) -> None:
    created = NetworkCreated(network_id="n", name="n", project_id=PROJECT, subnet_id="s", cidr="10.0.0.0/24")
    await holdings.registry.execute(CONTEXT, network.aggregate("n"), lambda _: created)

    def port(state: Any) -> Any:
        return network.allocate(
            state, port_id=SERVER, server_id=SERVER, cell="cell1", project_id=PROJECT, index=2, request_id=None
        )

    await holdings.registry.writer(network.aggregate("n")).submit(CONTEXT, port)
    reserved = Reserved(server_id=SERVER, cell="cell1", cores=1, ram_mb=1)
    await holdings.registry.writer(quota.aggregate(PROJECT)).submit(CONTEXT, lambda _: (reserved,))
    claim = ledger.Claimed(
        consumer_id=SERVER, epoch=1, project_id=PROJECT, user_id="u", allocations={"h": {"VCPU": 1}}
    )
    stock = {"VCPU": Inventory(total=4)}
    await holdings.ledger.submit(CONTEXT, lambda state: (*ledger.offer(state, "h", "h", stock), claim))


@asynccontextmanager
async def _held() -> AsyncIterator[Held]:
    cell = Cell()
    registry = Registry(cell.store, cell.stamp, [network.KIND, quota.KIND])
    feed = LedgerFeed(cell.store, cell.stamp)
    following = [asyncio.create_task(work) for work in (registry.run(), feed.run())]
    await asyncio.gather(registry.ready(), feed.ready())
    holdings = Holdings(
        "cell1", feed.writer, registry, EmbeddedNetworks(registry), Keys(cell.vault, cell.store, cell.stamp)
    )
    await _take_everything(holdings)
    held = Held(cell, holdings, Leftovers(ServerStates(cell.store, cell.stamp), holdings, cell.stamp, Nobody()))
    assert held.holds() == (True, True, True)
    yield held
    for task in following:
        task.cancel()


@asynchronous
async def test_of_a_server_that_never_was_everything_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "GRACE_SECONDS", 0.0)
    async with _held() as held:
        await held.leftovers._note_all()
        await held.leftovers.sweep()
        assert held.holds() == (False, False, False)
        assert (await held.cell.store.load(aggregate(SERVER)))[-1].event.__struct_config__.tag == "server.abandoned"


@asynchronous
async def test_a_server_whose_history_is_out_of_order_keeps_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "GRACE_SECONDS", 0.0)
    async with _held() as held:
        await held.leftovers._note_all()
        await held.cell.store.append(aggregate(SERVER), BUILT, held.cell.stamp(CONTEXT), GENESIS)
        for _ in range(2):
            await held.leftovers.sweep()
        assert held.holds() == (True, True, True)
        assert len(await held.cell.store.load(aggregate(SERVER))) == 1


@asynchronous
async def test_a_server_that_moves_counts_for_what_it_is_and_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resize that was refused since the server was being migrated, or that nobody lived to request."""
    monkeypatch.setattr(leftovers, "GRACE_SECONDS", 0.0)
    async with _held() as held:
        requested = replace(REQUESTED, server_id=SERVER, project_id=PROJECT)
        tail = GENESIS
        for event in (requested, *MOVING["resized"][1:]):
            recorded = await held.cell.store.append(aggregate(SERVER), event, held.cell.stamp(CONTEXT), tail)
            tail = recorded.tail
        project = quota.aggregate(PROJECT)
        for cores in (8, 1):
            changed = quota.ReservationChanged(server_id=SERVER, cores=cores, ram_mb=1)
            await held.holdings.registry.writer(project).submit(CONTEXT, lambda _, changed=changed: (changed,))
            await held.leftovers._note_all()
            await held.leftovers.sweep()
            reservation = held.holdings.registry.get(project).reservations[SERVER]
            assert (reservation.cores, reservation.ram_mb) == (LARGER.vcpus, LARGER.ram_mb)
