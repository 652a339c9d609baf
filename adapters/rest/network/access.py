"""Who may see a network."""

from adapters.rest.kit.operation import Call
from domain.errors import Refused
from domain.neighbours.network import Network, Subnet, having
from handlers.neighbours import networks


def visible_networks(call: Call) -> list[Network]:
    """The living networks that the caller may use: the project's own and shared ones; all of them for an
    administrator."""
    registry = call.services.registry
    return list(registry.all("network")) if call.is_admin else networks.own_and_shared(registry, call.context)


def find(call: Call, network_id: str) -> Network:
    """The living network of that id, if the caller may use it; raises Refused (404)."""
    network = networks.find(call.services.registry, call.context, network_id)
    if network is None:
        raise Refused("network_not_found", f"Network {network_id} could not be found.", status=404)
    return network


def find_subnet(call: Call, subnet_id: str) -> tuple[Network, Subnet]:
    """A subnet of a network that the caller may use, with that; raises Refused (404)."""
    for network in call.services.registry.listed("network", having(subnet_id)):
        if networks.find(call.services.registry, call.context, network.id):
            return network, network.subnets[subnet_id]
    raise Refused("subnet_not_found", f"Subnet {subnet_id} could not be found.", status=404)
