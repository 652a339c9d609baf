"""Who may see a network."""

from adapters.rest.operation import Call
from domain import network as domain_network
from domain.errors import Refused
from domain.kind import of_project
from domain.network import SHARED, Network


def may_use(call: Call, network: Network) -> bool:
    """Whether the caller may see it and have servers in it."""
    return network.shared or network.project_id == call.context.project_id or call.is_admin


def visible_networks(call: Call, *, everybodys: bool = True) -> list[Network]:
    """The living networks that the caller may use: the project's own and shared ones; all of them for an
    administrator, if ``everybodys``."""
    registry = call.services.registry
    if everybodys and call.is_admin:
        return list(registry.all("network"))
    own: list[Network] = list(registry.listed("network", of_project(call.context.project_id or "")))
    return own + [each for each in registry.listed("network", SHARED) if each.project_id != call.context.project_id]


def find(call: Call, network_id: str) -> Network:
    """The living network of that id, if the caller may use it; raises Refused (404)."""
    network: Network | None = call.services.registry.get(domain_network.aggregate(network_id))
    if network is None or network.deleted or not may_use(call, network):
        raise Refused("network_not_found", f"Network {network_id} could not be found.", status=404)
    return network
