"""A control plane and its hosts on the real NATS, each host with its own credential; one of them is an enemy."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any, Self
from uuid import NAMESPACE_DNS, uuid5

from adapters.mapper import EventMapper
from adapters.nats.commands import NatsCommandBus
from adapters.nats.connection import Connection, connect
from adapters.nats.liveness import NatsLiveness
from adapters.nats.store import NatsEventStore
from adapters.nats.streams import ensure_cell
from adapters.nats.vault import NatsVault
from adapters.simulated import SimulatedHypervisor
from adapters.system import SystemClock, SystemIds
from domain.catalogue import quota
from domain.catalogue.flavor import Flavor
from domain.catalogue.quota import Limits
from domain.kinds import EVENTS
from domain.log.record import Recorded
from domain.neighbours import network
from domain.neighbours.network import NetworkCreated
from domain.server.state import Server
from handlers.cells import Cell, Cells
from handlers.conducting.conducting import Conducting
from handlers.context import Context, Stamp
from handlers.fleet.liveness import LifeSigns
from handlers.fleet.refusals import Refusals
from handlers.host.agent import Agent
from handlers.log.registry import Registry
from handlers.ports import Vault
from handlers.servers.guest_secrets import Secrets
from handlers.servers.servers import Servers
from ops.embedded.nats import EmbeddedNats
from ops.embedded.nats_accounts import CONTROL
from projections.event_log import EventLogView
from projections.hosts import TABLE as HOSTS
from projections.hosts import HostsView
from projections.instance_actions import InstanceActionsView
from projections.memory import MemoryRows
from projections.migrations import MigrationsView
from projections.servers import TABLE as SERVERS
from projections.servers import ServersView, decoder
from tests.new_servers import new_server
from tests.waiting import until

CELL, API, PROJECT = "cell1", "api", "project"
NETWORK = "00000000-0000-4000-8000-0000000000aa"
FLAVOR = Flavor(id="1", name="tiny", vcpus=1, ram_mb=256, disk_gb=1)
GOOD, EVIL = ("good1", "good2"), "evil"
CLOCK = SystemClock()
STAMP = Stamp(CLOCK, SystemIds())


def host_id(host: str) -> str:
    return str(uuid5(NAMESPACE_DNS, host))


class Nobody:
    """There are no consoles."""

    async def console_proxies(self) -> list[str]:
        return []

    async def consoles_of(self, _proxy: str) -> list[Any]:
        return []


class Cloud:
    """The control plane and its hosts, each with a connection of its own."""

    def __init__(self, server: EmbeddedNats) -> None:
        self.nats = server
        self.rows = MemoryRows((ServersView(), InstanceActionsView(), MigrationsView(), HostsView(), EventLogView()))
        self.log: list[Recorded] = []
        self.refusals = Refusals()
        self.connections: list[Connection] = []
        self.hypervisors = {
            host: SimulatedHypervisor(host, CLOCK, Random(1), vcpus=64, memory_mb=65536, disk_gb=1000)
            for host in (*GOOD, EVIL)
        }

    async def __aenter__(self) -> Self:
        self.control = await self.connection()
        for cell in (CELL, API):
            await ensure_cell(self.control, cell)
        self.store, self.api_store = self._store(CELL), self._store(API)
        self.vault: Vault = NatsVault(self.control, CELL)
        self.bus = NatsCommandBus(self.control, CELL, refusals=self.refusals)
        self.life = LifeSigns(NatsLiveness(await self.connection(), CELL, self.refusals), CLOCK)
        registry = Registry(self.api_store, STAMP, [network.KIND, quota.KIND])
        created = NetworkCreated(
            network_id=NETWORK, name="net", project_id=PROJECT, subnet_id="s", cidr="10.0.0.0/24"
        )
        await registry.execute(context(), network.aggregate(NETWORK), lambda state: network.create(state, created))
        self.cells = Cells(Cell(self.store, self.bus, self.vault, STAMP))
        self.servers = Servers(self.cells, registry, STAMP, Limits(instances=-1, cores=-1, ram_mb=-1))
        self.conducting = Conducting(
            store=self.store,
            api_store=self.api_store,
            bus=self.bus,
            liveness=NatsLiveness(self.control, CELL, self.refusals),
            vault=self.vault,
            stamp=STAMP,
            read_servers=self,
            open_consoles=Nobody(),
            refusals=self.refusals,
        )
        works = [self.conducting.run("c", lambda: None), self.life.run(), registry.run(), self._project(CELL)]
        works += [(await self._agent(host)).run() for host in self.hypervisors]
        self.tasks = [asyncio.ensure_future(work) for work in works]
        await until(lambda: all(self.life.host_up(host) for host in self.hypervisors))
        return self

    async def __aexit__(self, *_: object) -> None:
        ended = [task for task in self.tasks if task.done()]
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for connection in self.connections:
            await connection.close()
        assert not ended, "nothing of the control plane, and no agent, ended"

    async def connection(self, host: str | None = None) -> Connection:
        key = self.nats.hosts.get(host) if host else None
        made = await connect(
            self.nats.url, host or CONTROL, key.credentials if key else self.nats.credentials(CONTROL)
        )
        self.connections.append(made)
        return made

    def _store(self, cell: str) -> NatsEventStore:
        return NatsEventStore(self.control, cell, EventMapper(EVENTS))

    async def _agent(self, host: str) -> Agent:
        connection = await self.connection(host)
        bus, liveness = NatsCommandBus(connection, CELL), NatsLiveness(connection, CELL)
        return Agent({host: self.hypervisors[host]}, {host: host_id(host)}, bus, liveness, STAMP)

    async def _project(self, cell: str) -> None:
        async for batch in self.store.follow(0):
            self.rows.apply(batch)
            self.log += batch

    async def living(self, server_ids: Sequence[str]) -> tuple[set[str], int]:
        return set(server_ids), 1 << 60

    async def unfinished(self) -> tuple[list[str], int]:
        return [], 0

    async def create(self, host: str) -> str:
        """A server on a host, once it is there."""
        new = new_server(FLAVOR, host=host, secrets=Secrets(user_data="c2VjcmV0"))
        (accepted,) = await self.servers.create(context(), new)
        await until(lambda: self.state(accepted.aggregate.id) == ("active", None))
        return accepted.aggregate.id

    def offers(self) -> list[Any]:
        """What the good hosts say of themselves, and offer."""
        described = [row.state for row in self.rows.all(HOSTS) if row.name in GOOD]
        providers = self.conducting._feed.writer.state.providers
        return [described, *(providers[host_id(host)].inventories for host in GOOD)]

    def server(self, server_id: str) -> Server | None:
        row = self.rows.get(SERVERS, (server_id,))
        return decoder.decode(row.state) if row else None

    def state(self, server_id: str) -> tuple[str, str | None]:
        server = self.server(server_id)
        return (server.vm_state, server.task_state) if server else ("", None)


def context() -> Context:
    return Context(request_id=f"req-{STAMP.ids.uuid()}", user_id="user", project_id=PROJECT, roles=("member",))
