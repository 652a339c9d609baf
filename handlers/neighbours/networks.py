"""The networks of the embedded network service, as servers are on them."""

from collections.abc import Sequence

from domain import network as networks
from domain.errors import Invalid
from domain.guest import Nic
from domain.kind import of_project
from domain.network import SHARED, Network
from domain.server.parts import NetworkRequest
from handlers.context import Context
from handlers.neighbours import UsableNetwork
from handlers.registry import Registry


class EmbeddedNetworks:
    """Promises what ``handlers.neighbours.Networks`` does."""

    def __init__(self, registry: Registry) -> None:
        """``registry`` holds the networks."""
        self._registry = registry

    async def usable(self, context: Context) -> Sequence[UsableNetwork]:
        """See the port."""
        return [UsableNetwork(each.id, each.project_id) for each in own_and_shared(self._registry, context)]

    async def interface(self, context: Context, network_id: str, fixed_ip: str | None) -> NetworkRequest:
        """See the port."""
        found = find(self._registry, context, network_id)
        if found is None:
            raise Invalid(f"Network {network_id} could not be found.")
        if fixed_ip is not None:
            networks.check_fixed_ip(found, fixed_ip)
        return NetworkRequest(network_id=found.id, fixed_ip=fixed_ip)

    async def subnet_of(self, nic: Nic) -> str | None:
        """See the port."""
        network = self._registry.of(networks.KIND, nic.network_id)
        return network.subnet_id if network else None


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
