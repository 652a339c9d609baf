"""The networks of the embedded network service, as servers are on them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from uuid import UUID, uuid5

from domain.errors import Invalid
from domain.guest import Nic
from domain.log.kind import of_project
from domain.log.record import Recorded
from domain.neighbours import network as networks
from domain.neighbours.network import SHARED, Network, PortBound, PortCreated, PortDeleted, PortsChanged, PortUnbound
from domain.server.parts import NetworkRequest
from domain.server.state import Server
from handlers.context import Context
from handlers.log.group_writer import GroupWriter
from handlers.log.registry import Registry
from handlers.neighbours import PortHolder, UsableNetwork
from handlers.together import together


class EmbeddedNetworks:
    """Promises what ``handlers.neighbours.Networks`` does."""

    def __init__(self, registry: Registry) -> None:
        """``registry`` holds the networks."""
        self._registry = registry

    async def usable(self, context: Context) -> Sequence[UsableNetwork]:
        visible = own_and_shared(self._registry, context)
        return [UsableNetwork(each.id, each.project_id) for each in visible if each.subnets]

    async def interface(self, context: Context, network_id: str, fixed_ip: str | None) -> NetworkRequest:
        found = find(self._registry, context, network_id)
        if found is None:
            raise Invalid(f"Network {network_id} could not be found.")
        if not found.subnets:
            raise Invalid(f"Network {network_id} requires a subnet in order to boot instances on.")
        if fixed_ip is not None:
            networks.check_fixed_ip(found, fixed_ip)
        return NetworkRequest(network_id=found.id, fixed_ip=fixed_ip)

    async def port(self, context: Context, port_id: str) -> NetworkRequest:
        for network in own_and_shared(self._registry, context):
            found = network.ports.get(port_id)
            if found and found.project_id == context.project_id:
                networks.check_free(found)
                return NetworkRequest(network_id=network.id, port_id=port_id)
        raise Invalid(f"Port id {port_id} could not be found.")

    async def subnet_of(self, nic: Nic) -> str | None:
        network = self._registry.of(networks.KIND, nic.network_id)
        subnet = network.subnet_with(nic.ip_address) if network else None
        return subnet.id if subnet else None

    async def allocate(self, context: Context, cell: str, server: Server, index: int) -> Nic:
        request = server.networks[index]
        writer: GroupWriter[Network] = self._registry.writer(networks.aggregate(request.network_id))
        port_id = request.port_id or str(uuid5(UUID(server.id), f"port-{index}"))

        def decide(state: Network) -> tuple[PortBound, ...] | tuple[PortCreated, ...]:
            if request.port_id:
                return networks.bind(
                    state, port_id, server_id=server.id, cell=cell, index=index, request_id=context.request_id
                )
            return networks.allocate(
                state,
                port_id=port_id,
                server_id=server.id,
                cell=cell,
                project_id=server.project_id,
                index=index,
                ip_address=request.fixed_ip,
                request_id=context.request_id,
            )

        await writer.submit(context, decide)
        return writer.state.nic(writer.state.ports[port_id])

    async def release(self, context: Context, server: Server) -> None:
        count = len(server.networks)
        await together(
            *(
                self._submit(
                    context, network_id, lambda state: networks.release(state, server.id, count, context.request_id)
                )
                for network_id in {request.network_id for request in server.networks}
            )
        )

    async def release_all(self, context: Context, server_id: str, network_ids: Iterable[str]) -> None:
        def release(state: Network) -> tuple[PortDeleted | PortUnbound, ...]:
            count = max((port.index + 1 for port in state.ports_of(server_id)), default=0)
            return networks.release(state, server_id, count, context.request_id)

        await together(*(self._submit(context, network_id, release) for network_id in network_ids))

    async def holds(self, server_id: str, network_ids: Iterable[str]) -> bool:
        known = (self._registry.of(networks.KIND, network_id) for network_id in network_ids)
        return any(network.holds(server_id) for network in known if network)

    async def holders(self, cell: str) -> Sequence[PortHolder]:
        known: Iterator[Network] = self._registry.all("network")
        return [
            PortHolder(port.server_id, port.project_id, network.id)
            for network in known
            for port in network.ports.values()
            if port.cell == cell and port.server_id
        ]

    def listen(self, cell: str, listener: Callable[[PortHolder], None]) -> None:
        def take(recorded: Recorded) -> None:
            if isinstance(recorded.event, PortsChanged):
                network = self._registry.of(networks.KIND, recorded.aggregate.id)
                for change in recorded.event.changes:
                    if isinstance(change, PortCreated) and change.cell == cell:
                        listener(PortHolder(change.server_id, change.project_id, recorded.aggregate.id))
                    elif isinstance(change, PortBound) and change.cell == cell:
                        port = network.ports.get(change.port_id) if network else None
                        if port:
                            listener(PortHolder(change.server_id, port.project_id, recorded.aggregate.id))

        self._registry.listen(take)

    async def _submit(
        self, context: Context, network_id: str, decide: Callable[[Network], tuple[PortDeleted | PortUnbound, ...]]
    ) -> None:
        await self._registry.submit(context, networks.aggregate(network_id), decide)


def own_and_shared(registry: Registry, context: Context) -> list[Network]:
    """The living networks of the caller's project, and those shared with it."""
    own: list[Network] = list(registry.listed("network", of_project(context.project_id or "")))
    return own + [each for each in registry.listed("network", SHARED) if each.project_id != context.project_id]


def find(registry: Registry, context: Context, network_id: str) -> Network | None:
    """The living network of that id, if the caller may see it and have servers in it."""
    network = registry.of(networks.KIND, network_id)
    if network is None or network.deleted:
        return None
    return network if network.shared or network.project_id == context.project_id or context.is_admin else None
