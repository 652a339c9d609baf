"""Who may see a network."""

from adapters.rest.operation import Call
from domain.network import Network


def visible_networks(call: Call, *, everybodys: bool = True) -> list[Network]:
    """The living networks that the caller may use: the project's own and shared ones; all of them for an
    administrator, if ``everybodys``."""
    known: list[Network] = list(call.services.registry.all("network"))
    return [
        network
        for network in known
        if not network.deleted
        and (network.shared or network.project_id == call.context.project_id or (everybodys and call.is_admin))
    ]
