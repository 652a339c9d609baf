"""Many members of a group are asked for at once, of two API processes, and placed by two conductors."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from random import Random
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import pytest

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.commands import MemoryCommandBus
from adapters.memory.queries import MemoryReadServers
from adapters.memory.signs import MemoryLiveness
from adapters.memory.store import MemoryEventStore
from adapters.memory.vault import MemoryVault
from adapters.simulated.hypervisor import SimulatedHypervisor
from domain.affinity import AFFINITY, ANTI_AFFINITY, Terms
from domain.catalogue import quota, server_group
from domain.catalogue.flavor import Flavor
from domain.catalogue.quota import Limits
from domain.catalogue.server_group import ServerGroupCreated
from domain.errors import Refused
from domain.kinds import EVENTS
from domain.server.state import ACTIVE
from handlers.cells import Cell, Cells
from handlers.conducting.conducting import Conducting
from handlers.context import Context, Stamp
from handlers.host.agent import Agent
from handlers.log.registry import Registry
from handlers.servers.servers import Servers
from projections.memory import MemoryRows
from projections.servers import TABLE, ServersView
from tests.new_servers import new_server
from tests.sim.consoles import OpenConsolesIn
from tests.sim.virtual_time import SeededIds, VirtualClock, run

CELL, API, PROJECT = "cell1", "api", "p"
CONTEXT = Context(
    request_id="req-00000000-0000-4000-8000-000000000001", user_id="u", project_id=PROJECT, roles=("member",)
)
FLAVOR = Flavor(id="1", name="small", vcpus=1, ram_mb=64, disk_gb=1)


class World:
    """So many hosts, two conductors and two API processes over one log."""

    def __init__(self, hosts: int, limits: Limits) -> None:
        self.clock = VirtualClock()
        self.stamp = Stamp(self.clock, SeededIds(Random(1)))
        self.broker = Broker(self.clock)
        self.limits = limits
        self.names = [f"host{number}" for number in range(hosts)]
        self.rows = MemoryRows((ServersView(),))
        self.apis: list[tuple[Servers, Registry]] = []

    def store(self, cell: str) -> MemoryEventStore:
        return MemoryEventStore(self.broker, cell, EventMapper(EVENTS))

    async def start(self, group: asyncio.TaskGroup) -> list["asyncio.Task[None]"]:
        bus, signs, vault = MemoryCommandBus(self.broker, CELL), MemoryLiveness(self.broker, CELL), MemoryVault(
            self.broker, CELL
        )  # fmt: skip
        tasks = [group.create_task(self._project())]
        for number in (1, 2):
            conducting = Conducting(
                store=self.store(CELL), api_store=self.store(API), bus=bus, liveness=signs, vault=vault,
                stamp=self.stamp, read_servers=MemoryReadServers(self.rows, CELL),
                open_consoles=OpenConsolesIn(self.rows),
            )  # fmt: skip
            ready = asyncio.Event()
            tasks.append(group.create_task(conducting.run(f"conductor{number}", ready.set)))
            await ready.wait()
            registry = Registry(self.store(API), self.stamp, [quota.KIND, server_group.KIND])
            tasks.append(group.create_task(registry.run()))
            await registry.ready()
            cells = Cells(Cell(self.store(CELL), bus, vault, self.stamp))
            self.apis.append((Servers(cells, registry, self.stamp, self.limits), registry))
        hypervisors = {
            name: SimulatedHypervisor(name, self.clock, Random(1), vcpus=1000, memory_mb=1 << 20, disk_gb=1000)
            for name in self.names
        }
        ids = {name: str(uuid5(NAMESPACE_DNS, name)) for name in self.names}
        agent = Agent(hypervisors, ids, bus, signs, self.stamp)
        tasks.append(group.create_task(agent.run()))
        await agent.enrolled()
        return tasks

    async def _project(self) -> None:
        async for batch in self.store(CELL).follow(0):
            self.rows.apply(batch)

    async def found(self, policy: str, max_per_host: int | None = None) -> Terms:
        _, registry = self.apis[0]
        created = ServerGroupCreated(
            group_id="g", name="g", policy=policy, project_id=PROJECT, user_id="u", max_per_host=max_per_host
        )
        groups, _ = await registry.execute(
            CONTEXT, server_group.aggregate(PROJECT), lambda state: server_group.create(state, created, 1)
        )
        return server_group.terms(groups, "g")

    async def ask(self, terms: Terms, times: int) -> list[Any]:
        """So many requests at the same time, of the two API processes in turn."""
        new = new_server(FLAVOR, group=terms)
        asked = (self.apis[number % 2][0].create(CONTEXT, new) for number in range(times))
        return await asyncio.gather(*asked, return_exceptions=True)

    async def at_rest(self) -> Counter[str | None]:
        """Where the servers are, once nothing is under way any more."""
        while any(row.unfinished for row in self.rows.all(TABLE)):  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(1.0)
        return Counter(row.host for row in self.rows.all(TABLE) if row.vm_state == ACTIVE)


async def _asked_for(
    hosts: int, policy: str, times: int, *, most: int | None = None, members: int = -1
) -> tuple[list[Any], Counter[str | None]]:
    world = World(hosts, Limits(instances=-1, cores=-1, ram_mb=-1, server_groups=-1, server_group_members=members))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(world.broker.close)
        async with asyncio.TaskGroup() as group:
            tasks = await world.start(group)
            outcomes = await world.ask(await world.found(policy, most), times)
            # No sooner are requests accepted than rows tell of them.
            while len(list(world.rows.all(TABLE))) < sum(isinstance(each, list) for each in outcomes):  # noqa: ASYNC110
                await asyncio.sleep(1.0)
            placed = await world.at_rest()
            for task in tasks:
                task.cancel()
    return outcomes, placed


def test_two_hundred_on_two_hundred_hosts() -> None:
    outcomes, placed = run(_asked_for(200, ANTI_AFFINITY, 200))
    assert all(isinstance(each, list) for each in outcomes)
    assert (len(placed), set(placed.values())) == (200, {1})


@pytest.mark.parametrize(("policy", "most", "expected"), [(ANTI_AFFINITY, 3, [3] * 10), (AFFINITY, None, [40])])
def test_other_policies(policy: str, most: int | None, expected: list[int]) -> None:
    _, placed = run(_asked_for(10, policy, 40, most=most))
    assert list(placed.values()) == expected


def test_no_more_members_than_allowed() -> None:
    outcomes, placed = run(_asked_for(30, ANTI_AFFINITY, 40, members=25))
    refused = [each for each in outcomes if isinstance(each, Refused)]
    assert (len(refused), {each.status for each in refused}) == (15, {403})
    assert placed.total() == 25
