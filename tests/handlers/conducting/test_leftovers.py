"""Whoever holds something is looked at once, and a sweep costs what is due."""

import asyncio
from collections.abc import Sequence
from random import Random
from uuid import UUID

import msgspec
import pytest

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from adapters.memory.vault import MemoryVault
from domain.catalogue import quota
from domain.catalogue.quota import Limits
from domain.errors import Unavailable
from domain.kinds import EVENTS
from domain.log.record import Event
from domain.neighbours import network
from domain.placement import ledger
from domain.placement.ledger import Claimed, Inventory, LedgerChanged, ProviderCreated
from domain.server.deletion import ServerDeleteRequested
from domain.server.fold import KIND
from domain.server.parts import NetworkRequest
from domain.server.reset import ServerStateReset
from domain.server.state import aggregate
from handlers.conducting.holdings import Holdings
from handlers.conducting.keys import Keys
from handlers.conducting.leftovers import GRACE_SECONDS, SWEEP_SECONDS, Leftovers
from handlers.conducting.states import ServerStates
from handlers.context import Context, Stamp
from handlers.log.ledger_feed import LedgerFeed
from handlers.log.registry import Registry
from handlers.log.repository import Repository
from handlers.neighbours.networks import EmbeddedNetworks
from tests.domain.server.servers import AWAY, BUILT, DELETED, OFFLOADED, PLACED, REQUESTED
from tests.sim.virtual_time import SeededIds, VirtualClock, run

CONTEXT = Context(request_id="req-1")
PROJECT = REQUESTED.project_id
NETWORK = "00000000-0000-4000-8000-0000000000aa"


class World:
    """A ledger, a quota, servers in the log, and a read model that says what the test wants."""

    def __init__(self) -> None:
        clock = VirtualClock()
        self.stamp = Stamp(clock, SeededIds(Random(1)))
        broker, mapper = Broker(clock), EventMapper(EVENTS)
        self.store, api_store = MemoryEventStore(broker, "cell1", mapper), MemoryEventStore(broker, "api", mapper)
        self.registry = Registry(api_store, self.stamp, [quota.KIND, network.KIND])
        self.feed = LedgerFeed(self.store, self.stamp)
        self.states = ServerStates(self.store, self.stamp)
        self.holdings = Holdings(
            "cell1",
            self.feed.writer,
            self.registry,
            EmbeddedNetworks(self.registry),
            Keys(MemoryVault(broker, "cell1"), self.store, self.stamp),
        )
        self.leftovers = Leftovers(self.states, self.holdings, self.stamp, self)
        self.asked: list[str] = []
        self.lives: set[str] = set()
        self.position = 1 << 60
        self.down = False

    async def unfinished(self) -> tuple[list[str], int]:
        return [], 0

    async def living(self, server_ids: Sequence[str]) -> tuple[set[str], int]:
        if self.down:
            raise Unavailable("not now")
        self.asked += server_ids
        return self.lives & set(server_ids), self.position

    async def start(self) -> list["asyncio.Task[None]"]:
        tasks = [asyncio.create_task(self.feed.run(self.leftovers.take_holding))]
        tasks.append(asyncio.create_task(self.registry.run()))
        self.registry.listen(self.leftovers.take_holding)
        self.holdings.networks.listen("cell1", self.leftovers.take_address)
        await asyncio.gather(self.feed.ready(), self.registry.ready())
        tasks.append(asyncio.create_task(self.leftovers.run()))
        await asyncio.sleep(0)
        return tasks

    async def claim(self, server_id: str) -> None:
        claimed = Claimed(
            consumer_id=server_id, epoch=1, project_id=PROJECT, user_id="u", allocations={"h": {"VCPU": 1}}
        )
        await self.feed.writer.submit(CONTEXT, lambda _: (claimed,))

    async def reserve(self, server_id: str) -> None:
        await self.registry.writer(quota.aggregate(PROJECT)).submit(
            CONTEXT,
            lambda state: quota.reserve(
                state, Limits(), [server_id], cell="cell1", at_least=1, cores=1, ram_mb=1, request_id="r"
            ),
        )

    async def request(self, server_id: str, *more: Event, networks: tuple[NetworkRequest, ...] = ()) -> None:
        repository = Repository(KIND, self.store, self.stamp)
        for event in (msgspec.structs.replace(REQUESTED, server_id=server_id, networks=networks), *more):
            await repository.execute(CONTEXT, aggregate(server_id), lambda _, each=event: each)

    @property
    def held(self) -> set[str]:
        reserved = self.registry.get(quota.aggregate(PROJECT))
        return {*self.feed.writer.state.claims, *(reserved.reservations if reserved else ())}


def server(number: int) -> str:
    return str(UUID(int=number, version=4))


def tell(story) -> None:
    async def told() -> None:
        world = World()
        changes = (
            ProviderCreated(provider_id="h", name="h"),
            ledger.InventoriesSet(provider_id="h", inventories={"VCPU": Inventory(total=100)}),
        )
        await world.store.append(
            ledger.aggregate("cell1"), LedgerChanged(changes=changes), world.stamp(CONTEXT), world.feed.writer.tail
        )
        tasks = await story(world)
        for task in tasks or ():
            task.cancel()
        await asyncio.gather(*(tasks or ()), return_exceptions=True)

    run(told())


def test_who_lives_is_asked_about_once() -> None:
    async def story(world: World) -> list["asyncio.Task[None]"]:
        tasks = await world.start()
        for number in range(20):
            await world.reserve(server(number)) if number < 10 else await world.claim(server(number))
        world.lives = {server(number) for number in range(20)}
        await asyncio.sleep(GRACE_SECONDS * 10)
        assert sorted(world.asked) == sorted(world.lives)
        assert world.held == world.lives
        return tasks

    tell(story)


def test_who_was_there_at_the_start_is_looked_at_too() -> None:
    async def story(world: World) -> list["asyncio.Task[None]"]:
        await world.claim(server(1))
        await world.reserve(server(2))
        tasks = await world.start()
        await asyncio.sleep(GRACE_SECONDS - 1)
        assert world.held == {server(1), server(2)}
        await asyncio.sleep(SWEEP_SECONDS + 2)
        assert world.held == set()  # an id that was never requested gives everything back, and is closed
        for number in (1, 2):
            state = await world.states.get(server(number))
            assert state
            assert state.abandoned
        return tasks

    tell(story)


def test_who_is_gone_gives_it_back() -> None:
    async def story(world: World) -> list["asyncio.Task[None]"]:
        tasks = await world.start()
        await world.request(server(1), ServerDeleteRequested(deadline=REQUESTED.deadline), DELETED)
        await world.claim(server(1))
        await world.reserve(server(1))
        await asyncio.sleep(GRACE_SECONDS + 2 * SWEEP_SECONDS)
        assert world.held == set()
        return tasks

    tell(story)


@pytest.mark.parametrize("noted", [True, False])
def test_an_end_that_comes_without_a_state_is_looked_up(*, noted: bool) -> None:
    async def story(world: World) -> list["asyncio.Task[None]"]:
        created = network.NetworkCreated(
            network_id=NETWORK, name="n", project_id=PROJECT, subnet_id="s", cidr="10.0.0.0/24"
        )
        where = network.aggregate(NETWORK)
        await world.registry.execute(CONTEXT, where, lambda state: network.create(state, created))
        tasks = await world.start() if noted else []
        port = network.PortCreated(
            port_id="p", server_id=server(1), cell="cell1", project_id=PROJECT, index=0,
            mac_address="fa:16:3e:00:00:01", ip_address="10.0.0.5",
        )  # fmt: skip
        await world.registry.writer(where).submit(CONTEXT, lambda _: (port,))
        await asyncio.sleep(0)
        tasks = tasks or await world.start()
        if not noted:
            world.leftovers._noted.clear()
        wanted = (NetworkRequest(network_id=NETWORK),)
        await world.request(server(1), ServerDeleteRequested(deadline=REQUESTED.deadline), DELETED, networks=wanted)
        world.leftovers.take((await world.store.load(aggregate(server(1))))[-1], None)
        await asyncio.sleep(GRACE_SECONDS + 2 * SWEEP_SECONDS)
        assert not world.registry.get(where).ports
        return tasks

    tell(story)


def test_a_read_model_that_is_behind_or_away_is_asked_again() -> None:
    async def story(world: World) -> list["asyncio.Task[None]"]:
        tasks = await world.start()
        world.leftovers._position = 10
        await world.reserve(server(1))
        world.lives, world.position = {server(1)}, 9
        await asyncio.sleep(GRACE_SECONDS * 3)
        assert len(world.asked) > 1
        world.down = True
        await asyncio.sleep(GRACE_SECONDS)
        assert world.held == {server(1)}
        world.down, world.position = False, 10
        await asyncio.sleep(2 * SWEEP_SECONDS)
        asked = len(world.asked)
        await asyncio.sleep(GRACE_SECONDS * 3)
        assert len(world.asked) == asked
        assert world.held == {server(1)}
        return tasks

    tell(story)


def test_one_that_the_log_says_is_gone_needs_no_read_model() -> None:
    async def story(world: World) -> list["asyncio.Task[None]"]:
        tasks = await world.start()
        await world.reserve(server(1))
        await world.request(server(1), ServerDeleteRequested(deadline=REQUESTED.deadline), DELETED)
        history = await world.store.load(aggregate(server(1)))
        world.leftovers.take(history[-1], await world.states.get(server(1)))
        world.lives = {server(1)}  # an old answer
        await asyncio.sleep(GRACE_SECONDS + 2 * SWEEP_SECONDS)
        assert world.held == set()
        assert world.asked == []
        return tasks

    tell(story)


def test_a_creation_that_was_reset_gives_its_claim_back() -> None:
    async def story(world: World) -> list["asyncio.Task[None]"]:
        tasks = await world.start()
        await world.claim(server(1))
        await world.request(server(1))
        world.lives = {server(1)}
        await asyncio.sleep(GRACE_SECONDS + 2 * SWEEP_SECONDS)
        assert world.held == {server(1)}
        await world.states.execute(CONTEXT, server(1), lambda _: ServerStateReset(vm_state="error"))
        history = await world.store.load(aggregate(server(1)))
        world.leftovers.take(history[-1], await world.states.get(server(1)))
        await asyncio.sleep(GRACE_SECONDS + 2 * SWEEP_SECONDS)
        assert world.held == set()
        return tasks

    tell(story)


def test_what_is_claimed_too_late_for_a_server_that_was_put_away_is_given_back() -> None:
    async def story(world: World) -> list["asyncio.Task[None]"]:
        tasks = await world.start()
        away, back = server(1), server(2)
        for server_id, more in ((away, (*AWAY, OFFLOADED)), (back, ())):
            await world.reserve(server_id)
            await world.request(server_id, PLACED, BUILT, *more)
            await world.claim(server_id)
        world.lives = {back}
        await asyncio.sleep(GRACE_SECONDS + 2 * SWEEP_SECONDS)
        assert set(world.feed.writer.state.claims) == {back}
        assert world.held == {away, back}, "it counts for its quota"
        return tasks

    tell(story)
