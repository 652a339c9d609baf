"""A whole cell in one process: domain, handlers, conductor, agents, projections; log and time are simulated."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from random import Random
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.commands import MemoryCommandBus
from adapters.memory.queries import MemoryReadServers
from adapters.memory.signs import MemoryLiveness
from adapters.memory.store import MemoryEventStore
from adapters.memory.vault import MemoryVault
from adapters.simulated.guest import OPERATIONS, Behaviour
from adapters.simulated.hypervisor import SimulatedHypervisor
from domain.affinity import AFFINITY, ANTI_AFFINITY, SOFT_ANTI_AFFINITY, Terms
from domain.catalogue import quota, server_group
from domain.catalogue.flavor import Flavor
from domain.catalogue.quota import Limits
from domain.catalogue.server_group import ServerGroupCreated
from domain.errors import LightcurveError
from domain.fleet import host as domain_host
from domain.guest import ImageSource
from domain.kinds import EVENTS
from domain.neighbours import image, network
from domain.neighbours.network import NetworkCreated
from handlers.cells import Cell, Cells
from handlers.conducting.conducting import Conducting
from handlers.context import Context, Stamp
from handlers.fleet.hosts import Hosts
from handlers.host.agent import Agent
from handlers.log.registry import Registry
from handlers.neighbours.images import EmbeddedImages
from handlers.servers.servers import Servers
from projections.console_sessions import ConsoleSessionsView
from projections.event_log import EventLogView
from projections.hosts import HostsView
from projections.instance_actions import InstanceActionsView
from projections.memory import MemoryRows
from projections.migrations import MigrationsView
from projections.servers import ServersView
from tests.sim.consoles import OpenConsolesIn, view_consoles
from tests.sim.faults import ProcessFaults, Weather
from tests.sim.images import SentImages
from tests.sim.virtual_time import SeededIds, VirtualClock

CELL, API = "cell1", "api"
PROJECT = "project"
NETWORK = "00000000-0000-4000-8000-0000000000aa"
FLAVOR = Flavor(id="1", name="small", vcpus=1, ram_mb=1024, disk_gb=1)
FLAVORS = (
    FLAVOR,
    *(Flavor(id=str(n), name=f"size{n}", vcpus=v, ram_mb=1024 * v, disk_gb=1) for n, v in ((2, 1), (3, 2))),
)
IMAGE = ImageSource(id="00000000-0000-4000-8000-0000000000bb", disk_format="raw", checksum="00")
LIMITS = Limits(instances=12, cores=12, ram_mb=-1, server_group_members=4)
_POLICIES = ((AFFINITY, 1), (ANTI_AFFINITY, 1), (ANTI_AFFINITY, 2), (SOFT_ANTI_AFFINITY, 1), (AFFINITY, 1))
GROUPS = tuple(
    Terms(group_id=f"group{number}", policy=policy, max_per_host=most, known_at=len(_POLICIES))
    for number, (policy, most) in enumerate(_POLICIES)
)
SHORT_LIVED = GROUPS[-1]
"""A group that may be deleted at any time."""


Look = Callable[["World", str, datetime], Awaitable[None]]


async def _nothing(_world: "World", _host: str, _began: datetime) -> None:
    """Nobody looks."""


class Process:
    """Something that can be killed at any await, and started again."""

    def __init__(self, world: "World", name: str, body: Callable[[ProcessFaults], Coroutine[Any, Any, None]]) -> None:
        self._world = world
        self.name = name
        self._body = body
        self.faults = ProcessFaults(world.weather)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.faults = ProcessFaults(self._world.weather)
        self._task = asyncio.create_task(self._live(self.faults))

    async def _live(self, faults: ProcessFaults) -> None:
        while not faults.dead:
            try:
                await self._body(faults)
            except* LightcurveError:
                # A process that meets bad weather at its start ends; its supervisor starts it again.
                await asyncio.sleep(1.0)

    def cut_off(self, *, away: bool) -> None:
        """It reaches nobody, or everybody again."""
        self.faults.cut_off = away

    async def kill(self) -> None:
        self.faults.dead = True
        assert self._task
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class World:
    """One cell with its hosts."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.weather = Weather(self.random)
        self.clock = VirtualClock()
        self.stamp = Stamp(self.clock, SeededIds(self.random))
        self.broker = Broker(self.clock)
        self.mapper = EventMapper(EVENTS)
        self.rows = MemoryRows(
            (
                ServersView(),
                InstanceActionsView(),
                MigrationsView(),
                HostsView(),
                EventLogView(),
                ConsoleSessionsView(),
            )
        )
        self.hypervisors: dict[str, SimulatedHypervisor] = {}
        for number in range(1, 4):
            self.hypervisors[f"host{number}"] = self._hypervisor(number)
        self.changed_by_itself: set[str] = set()
        """Servers whose guest was made to change its power by itself."""
        self.focus = self.random.choice((1, 3, 100))
        """Requests go to so many servers, the newest."""
        self.pause = self.random.choice((0.1, 5.0, 60.0))
        """Seconds between two requests, at the most."""
        self.travels = self.random.choice((0.0, 0.0, 0.7))
        """The share of requests that are for live migrations."""
        self.deadly = self.random.choice((0.0, 0.2, 0.5))
        """The chance that a process is killed after a request."""
        self.disastrous = self.random.choice((0.0, 0.05, 0.2, 0.2))
        """The chance that a host is struck by a disaster after a request."""
        self.servers: Servers | None = None
        self.images: EmbeddedImages | None = None
        self._hosts: Hosts | None = None
        self.declared: set[str] = set()
        """Hosts that were declared dead."""
        self.silent: set[str] = set()
        """Hosts that nobody has heard of lately, as who asks for an evacuation sees it."""
        self.struck: set[str] = set()
        """Hosts that are being struck by a disaster."""
        self.lost: set[str] = set()
        """Hosts that are dead for ever, and forgotten."""
        self.look: Look = _nothing
        """Is called when a host takes part, with the time when its agent began."""
        self.found_early: list[str] = []
        """What was not in order on the way."""
        self.processes = [
            Process(self, "api", self._api),
            Process(self, "conductor", self._conductor),
            Process(self, "projector", self._projector),
            Process(self, "console", self._console),
            *(Process(self, host, self._agent(host)) for host in self.hypervisors),
        ]
        if self.random.random() < 0.3:
            self.processes.append(Process(self, "conductor2", self._conductor))

    def _hypervisor(self, number: int) -> SimulatedHypervisor:
        random = self.random
        behaviour = {
            operation: Behaviour(delay=(0.0, random.choice((0.0, 1.0, 30.0))), failure=random.choice((0.0, 0.0, 0.2)))
            for operation in OPERATIONS
        }
        return SimulatedHypervisor(
            f"host{number}",
            self.clock,
            random,
            vcpus=2,
            memory_mb=9000,
            disk_gb=100,
            behaviour=behaviour,
            others=self.hypervisors,
            files=SentImages(self),
            restless=random.choice((0.0, 0.3, 1.0)),
            max_incoming=random.choice((1, 2, 1000)),
        )

    def store(self, cell: str, faults: ProcessFaults | None = None) -> MemoryEventStore:
        return MemoryEventStore(self.broker, cell, self.mapper, faults)

    async def found(self) -> None:
        """The network and the server groups, in fair weather."""
        created = NetworkCreated(
            network_id=NETWORK, name="net", project_id=PROJECT, subnet_id="s", cidr="10.0.0.0/28"
        )
        registry = Registry(self.store(API), self.stamp, [network.KIND, quota.KIND, server_group.KIND])
        aggregate = network.aggregate(NETWORK)
        await registry.execute(self.stamp.own_context(), aggregate, lambda state: network.create(state, created))
        for terms in GROUPS:
            group = ServerGroupCreated(
                group_id=terms.group_id, name="group", policy=terms.policy, project_id=PROJECT, user_id="user",
                max_per_host=terms.max_per_host if terms.policy == ANTI_AFFINITY else None,
            )  # fmt: skip
            await registry.execute(
                self.stamp.own_context(),
                server_group.aggregate(PROJECT),
                lambda state, group=group: server_group.create(state, group, -1),
            )

    async def delete_group(self) -> None:
        """By a process of its own."""
        registry = Registry(self.store(API), self.stamp, [server_group.KIND])
        await registry.execute(
            self.stamp.own_context(),
            server_group.aggregate(PROJECT),
            lambda state: server_group.delete(state, SHORT_LIVED.group_id),
        )

    def context(self) -> Context:
        request_id = f"req-{self.stamp.ids.uuid()}"
        return Context(request_id=request_id, user_id="user", project_id=PROJECT, roles=("member",))

    async def _api(self, faults: ProcessFaults) -> None:
        registry = Registry(self.store(API, faults), self.stamp, [network.KIND, quota.KIND, image.KIND])
        hosts = Registry(self.store(CELL, faults), self.stamp, [domain_host.KIND])
        bus, vault = MemoryCommandBus(self.broker, CELL, faults), MemoryVault(self.broker, CELL, faults)
        cells = Cells(Cell(self.store(CELL, faults), bus, vault, self.stamp))
        async with asyncio.TaskGroup() as group:
            group.create_task(registry.run())
            group.create_task(hosts.run())
            await registry.ready()
            await hosts.ready()
            self.servers, self._hosts = Servers(cells, registry, self.stamp, LIMITS), Hosts(hosts)
            self.images = EmbeddedImages(registry, self.stamp)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.servers = self._hosts = None

    async def _conductor(self, faults: ProcessFaults) -> None:
        conducting = Conducting(
            store=self.store(CELL, faults),
            api_store=self.store(API, faults),
            bus=MemoryCommandBus(self.broker, CELL, faults),
            liveness=MemoryLiveness(self.broker, CELL, faults),
            vault=MemoryVault(self.broker, CELL, faults),
            stamp=self.stamp,
            read_servers=MemoryReadServers(self.rows, CELL),
            open_consoles=OpenConsolesIn(self.rows),
        )
        await conducting.run("sim", lambda: None)

    async def _console(self, faults: ProcessFaults) -> None:
        await view_consoles(self, faults)

    async def _projector(self, faults: ProcessFaults) -> None:
        async def follow(cell: str) -> None:
            async for batch in self.store(cell, faults).follow(self.rows.positions.get(cell, 0)):
                self.rows.apply(batch)

        async with asyncio.TaskGroup() as group:
            for cell in (CELL, API):
                group.create_task(follow(cell))

    def _agent(self, host: str) -> Callable[[ProcessFaults], Coroutine[Any, Any, None]]:
        async def run(faults: ProcessFaults) -> None:
            began = self.clock.now()
            agent = Agent(
                {host: self.hypervisors[host]},
                {host: str(uuid5(NAMESPACE_DNS, host))},
                MemoryCommandBus(self.broker, CELL, faults),
                MemoryLiveness(self.broker, CELL, faults),
                self.stamp,
            )
            async with asyncio.TaskGroup() as group:
                group.create_task(agent.run())
                await agent.enrolled()
                await self.look(self, host, began)

        return run

    async def api(self) -> tuple[Servers, EmbeddedImages]:
        """The API, once it runs."""
        while self.servers is None or self.images is None:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.5)
        return self.servers, self.images

    async def hosts(self) -> Hosts:
        """Likewise."""
        while self._hosts is None:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.5)
        return self._hosts

    def is_dead(self, host: str) -> bool:
        """Whether a host seems to be dead."""
        return host in self.declared or host in self.silent

    def agent_of(self, host: str) -> Process:
        return next(process for process in self.processes if process.name == host)

    async def kill_one(self) -> None:
        """Kill a process, and start it again after a while."""
        process = self.random.choice(self.processes)
        if process.name in self.struck:
            return
        await process.kill()
        await asyncio.sleep(self.random.choice((0.0, 1.0, self.pause, 90.0)))
        if process.faults.dead and process.name not in self.struck:
            process.start()
