"""A cell in memory with servers whose histories are told, for what looks at servers from outside."""

import uuid
from typing import Any

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.commands import MemoryCommandBus
from adapters.memory.store import MemoryEventStore
from adapters.memory.vault import MemoryVault
from adapters.system import SystemClock, SystemIds
from domain.fleet import host
from domain.guest import HostDescription, Nic
from domain.kinds import EVENTS
from domain.log.record import Event
from domain.server.creation import ServerPlaced, ServerRequested
from domain.server.fold import KIND
from domain.server.state import Server, aggregate
from handlers import cells
from handlers.context import Stamp
from handlers.log.repository import Repository
from handlers.ports import Clock
from tests.domain.server.servers import BUILT, DELETE, DELETED, LATER, PLACED, REQUESTED

NIC = Nic(
    port_id="5a3c1f7e-8a31-4b5e-9f0e-2f1f5f2a7c11",
    network_id="net-1",
    network_name="private",
    mac_address="fa:16:3e:00:00:01",
    ip_address="10.5.0.5",
    cidr="10.5.0.0/24",
    gateway_ip="10.5.0.1",
    dhcp_ip="10.5.0.2",
    dns_nameservers=("10.5.0.3",),
)


class Cell:
    """One cell."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or SystemClock()
        self.stamp = Stamp(self.clock, SystemIds())
        self.broker = Broker(self.clock)
        self.store = MemoryEventStore(self.broker, "cell1", EventMapper(EVENTS))
        self.vault = MemoryVault(self.broker, "cell1")
        self.bus = MemoryCommandBus(self.broker, "cell1")
        self.cells = cells.Cells(cells.Cell(self.store, self.bus, self.vault, self.stamp))
        self._servers: Repository[Server] = Repository(KIND, self.store, self.stamp)
        self._hosts: Repository[host.Host] = Repository(host.KIND, self.store, self.stamp)

    async def enrol(self) -> None:
        """Have the servers' host enrolled, on this machine."""
        description = HostDescription(
            name=PLACED.host, hypervisor_type="QEMU", hypervisor_version=7002022, vcpus=4, memory_mb=4096, disk_gb=40
        )
        await self._hosts.execute(
            self.stamp.own_context(),
            host.aggregate(PLACED.host),
            lambda known: host.enrol(known, PLACED.host_id, description),
        )

    async def tell(self, server_id: str, *events: Event) -> None:
        """Let these things happen to a server."""
        for event in events:
            await self._servers.execute(self.stamp.own_context(), aggregate(server_id), lambda _, e=event: e)

    async def server(self, *, secrets: bytes | None = None, nics: tuple[Nic, ...] = (NIC,), **more: Any) -> str:
        """An active server; returns its id."""
        server_id = str(uuid.uuid4())
        sealed = await self.vault.seal(server_id, secrets) if secrets else None
        requested = ServerRequested(
            **{field: getattr(REQUESTED, field) for field in ("name", "project_id", "user_id", "flavor")} | more,
            server_id=server_id,
            deadline=LATER,
            secrets=sealed,
        )
        placed = ServerPlaced(host=PLACED.host, host_id=PLACED.host_id, epoch=1, availability_zone="nova", nics=nics)
        await self.enrol()
        await self.tell(server_id, requested, placed, BUILT)
        return server_id

    async def delete(self, server_id: str) -> None:
        """Delete a server, as the conductor does in the end."""
        await self.tell(server_id, DELETE, DELETED)
        await self.vault.destroy(server_id)
