"""A log in which many servers were made: written straight into the streams, which is much quicker than to ask for
them, and read by the real processes as if they had been asked for.

Nothing else of the stack may run meanwhile: a conductor would begin to build what it reads of.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from typing import NamedTuple
from uuid import NAMESPACE_DNS, uuid5

from domain.catalogue import quota
from domain.catalogue.quota import Reserved
from domain.fleet.host import KIND as HOST
from domain.guest import Nic, PowerState
from domain.log.batch import Change
from domain.log.record import GENESIS, Event
from domain.neighbours import network
from domain.neighbours.network import Network, NetworkCreated, PortCreated
from domain.placement.ledger import Claimed
from domain.server.creation import ServerBuilt, ServerPlaced, ServerRequested
from domain.server.details import ServerRenamed
from domain.server.parts import NetworkRequest
from domain.server.state import aggregate
from handlers.context import Context
from handlers.log.ledger_feed import LedgerFeed
from handlers.log.registry import Registry
from ops.identity import project_id
from ops.roles.plane import Plane, open_plane
from ops.seed import FLAVORS
from ops.settings import Settings

PROJECTS = tuple(project_id(name) for name in ("demo", "admin", *(f"bench-{number}" for number in range(8))))
"""Those who have the servers, by turns: the first is that of the member ``demo``."""
MARKED = 10
"""So many servers of the first project, the oldest, have the tag MARK."""
MARK = "marked"
TOGETHER = 500
"""Servers written at a time."""
NETWORK = NetworkCreated(
    network_id=str(uuid5(NAMESPACE_DNS, "network.bench.lightcurve")),
    subnet_id=str(uuid5(NAMESPACE_DNS, "subnet.bench.lightcurve")),
    name="bench",
    project_id="",
    cidr="10.64.0.0/14",
    shared=True,
)
"""Larger than any that the API makes: room for a quarter of a million servers."""


class Filled(NamedTuple):
    """What was written."""

    events: int
    server_id: str
    """One of the first project's servers; most of its servers are older."""
    address: str
    """And its address."""


class _Server(NamedTuple):
    id: str
    number: int
    project_id: str
    host_name: str
    host_id: str
    port: PortCreated
    nic: Nic

    @property
    def context(self) -> Context:
        return Context(request_id=f"req-{self.id}", user_id="bench", project_id=self.project_id)


async def make_network(plane: Plane) -> None:
    """NETWORK, straight into the log."""
    registry = Registry(plane.api_store, plane.stamp, [network.KIND])
    await registry.execute(
        plane.stamp.own_context(),
        network.aggregate(NETWORK.network_id),
        lambda known: network.create(known, NETWORK) if known is None else None,
    )


async def fill(settings: Settings, count: int, renamed: int = 0) -> Filled:
    """Write ``count`` servers, all of them ACTIVE, spread over the hosts that the log knows; each was renamed so many
    times."""
    async with open_plane(settings, "bench") as plane:
        for store in plane.stores:
            store.soundness.has_archive = False  # no projector is here to hold it against one
        await make_network(plane)
        registry = Registry(plane.api_store, plane.stamp, [quota.KIND, network.KIND])
        hosts = Registry(plane.store, plane.stamp, [HOST])
        feed = LedgerFeed(plane.store, plane.stamp, saves_snapshots=True)
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(following.run()) for following in (registry, hosts, feed)]
            await asyncio.gather(registry.ready(), hosts.ready(), feed.ready())
            servers = list(_servers(count, [(host.name, host.id) for host in hosts.all("host")], plane))
            waiting = iter(servers)
            while some := list(islice(waiting, TOGETHER)):
                await _hold(plane, registry, feed, some)
                await asyncio.gather(*(_record(plane, server, renamed) for server in some))
            for task in running:
                task.cancel()
        events = await plane.store.last_position() + await plane.api_store.last_position()
        middle = servers[len(servers) // len(PROJECTS) * 3 // 4 * len(PROJECTS)]
        return Filled(events, middle.id, middle.port.ip_address)


def _servers(count: int, hosts: list[tuple[str, str]], plane: Plane) -> Iterator[_Server]:
    state = Network(NETWORK, plane.stamp.clock.now())
    for number in range(count):
        server_id = plane.stamp.ids.uuid()
        project = PROJECTS[number % len(PROJECTS)]
        (port,) = network.allocate(
            state,
            port_id=str(uuid5(NAMESPACE_DNS, server_id)),
            server_id=server_id,
            cell=plane.store.cell,
            project_id=project,
            index=0,
        )
        state.apply(port)
        nic = state.nic(state.ports[port.port_id])
        yield _Server(server_id, number, project, *hosts[number % len(hosts)], port, nic)


async def _hold(plane: Plane, registry: Registry, feed: LedgerFeed, servers: list[_Server]) -> None:
    """Claims, reservations and ports."""
    flavor, context, cell = FLAVORS[0], plane.stamp.own_context(), plane.store.cell
    resources = {"VCPU": flavor.vcpus, "MEMORY_MB": flavor.ram_mb, "DISK_GB": flavor.disk_gb}
    claims = [
        Claimed(
            consumer_id=server.id,
            epoch=1,
            project_id=server.project_id,
            user_id="bench",
            allocations={server.host_id: resources},
        )
        for server in servers
    ]
    reserved: dict[str, list[Reserved]] = {}
    for server in servers:
        reserved.setdefault(server.project_id, []).append(
            Reserved(server_id=server.id, cell=cell, cores=flavor.vcpus, ram_mb=flavor.ram_mb)
        )
    ports = registry.writer(network.aggregate(NETWORK.network_id))
    await asyncio.gather(
        feed.writer.submit(context, _always(claims)),
        ports.submit(context, _always([server.port for server in servers])),
        *(
            registry.writer(quota.aggregate(project)).submit(context, _always(its))
            for project, its in reserved.items()
        ),
    )


def _always(changes: Sequence[Change]) -> Callable[[object], Sequence[Change]]:
    return lambda _: changes


async def _record(plane: Plane, server: _Server, renamed: int) -> None:
    tail = GENESIS
    for event in (*_history(plane, server), *_renamings(server, renamed)):
        meta = plane.stamp(server.context)
        tail = (await plane.store.append(aggregate(server.id), event, meta, tail)).tail


def _renamings(server: _Server, times: int) -> Iterator[Event]:
    return (ServerRenamed(name=f"vm-{server.number}-{number}") for number in range(times))


def _history(plane: Plane, server: _Server) -> Iterable[Event]:
    marked = server.project_id == PROJECTS[0] and server.number < MARKED * len(PROJECTS)
    return (
        ServerRequested(
            server_id=server.id,
            name=f"vm-{server.number}",
            project_id=server.project_id,
            user_id="bench",
            flavor=FLAVORS[0],
            deadline=plane.stamp.clock.now() + timedelta(minutes=10),
            networks=(NetworkRequest(network_id=NETWORK.network_id),),
            tags=(MARK,) if marked else ("common",),
        ),
        ServerPlaced(
            host=server.host_name,
            host_id=server.host_id,
            epoch=1,
            availability_zone="nova",
            nics=(server.nic,),
        ),
        ServerBuilt(epoch=1, power_state=PowerState.RUNNING),
    )
