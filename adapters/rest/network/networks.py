"""Networks."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType, field

from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, Digits, Flag, Text255, integer
from adapters.rest.network.access import find, visible_networks
from adapters.rest.network.attributes import disallowed, flag, owner, refuse_unusual, require_owner
from adapters.rest.network.documents import listing, network_document, selected
from domain.errors import Invalid, Refused
from domain.log.kind import of_project
from domain.neighbours import network as domain_network
from domain.neighbours.network import Network, NetworkChanged, NetworkCreated

operations = Operations()

LEAST_MTU, MOST_MTU, USUAL_MTU = 68, 65535, 1400
Mtu = Annotated[int, Meta(ge=0, le=MOST_MTU)] | Digits
UNUSUAL = {
    "admin_state_up": True,
    "external": False,
    "port_security_enabled": True,
    "is_default": False,
    "vlan_transparent": False,
    "physical": None,
    "network_type": None,
    "segmentation_id": None,
    "segments": None,
    "availability_zone_hints": None,
    "dns_domain": None,
    "qos_policy_id": None,
}
"""What else Neutron knows of a network, with the values that all of them have here."""


class Common(Body):
    """What may be said when a network is made, and later."""

    name: Text255 | UnsetType = UNSET
    description: Text255 | UnsetType = UNSET
    shared: Flag | UnsetType = UNSET
    mtu: Mtu | UnsetType = UNSET
    admin_state_up: Any = UNSET
    external: Any = field(default=UNSET, name="router:external")
    port_security_enabled: Any = UNSET
    is_default: Any = UNSET
    vlan_transparent: Any = UNSET
    physical: Any = field(default=UNSET, name="provider:physical_network")
    network_type: Any = field(default=UNSET, name="provider:network_type")
    segmentation_id: Any = field(default=UNSET, name="provider:segmentation_id")
    segments: Any = UNSET
    availability_zone_hints: Any = UNSET
    dns_domain: Any = UNSET
    qos_policy_id: Any = UNSET


class NewNetwork(Common):
    tenant_id: Text255 | None = None
    project_id: Text255 | None = None


class CreateBody(Body):
    """``{"network": …}``."""

    network: NewNetwork


class UpdateBody(Body):
    """``{"network": …}``."""

    network: Common


@operations("GET", "/v2.0/networks", Access.READER, "get_network")
async def index(call: Call) -> Any:
    return listing(call, "networks", [network_document(call, network) for network in visible_networks(call)])


@operations("GET", "/v2.0/networks/{network_id}", Access.READER, "get_network")
async def show(call: Call) -> Any:
    return {"network": selected(call, network_document(call, find(call, call.params["network_id"])))}


@operations("POST", "/v2.0/networks", Access.MEMBER, "create_network", body=CreateBody, status=201)
async def create(call: Call) -> Any:
    asked: NewNetwork = call.body.network
    refuse_unusual(asked, UNUSUAL)
    project_id = owner(call, asked, "network")
    shared = _shared(call, asked, present=False)
    if not await call.services.neighbours.identity.project_exists(project_id):
        raise Invalid(f"Invalid input for project_id. Reason: there is no project {project_id}.")
    _check_quota(call, project_id)
    created = NetworkCreated(
        network_id=call.services.stamp.ids.uuid(),
        name=asked.name or "",
        description=asked.description or "",
        project_id=project_id,
        shared=shared,
        mtu=_mtu(asked, USUAL_MTU),
    )
    network, accepted = await call.services.registry.execute(
        call.context,
        domain_network.aggregate(created.network_id),
        lambda known: domain_network.create(known, created),
    )
    document = network_document(call, network)
    await call.settle(accepted)
    return {"network": document}


@operations("PUT", "/v2.0/networks/{network_id}", Access.MEMBER, "update_network", body=UpdateBody)
async def update(call: Call) -> Any:
    network, asked = find(call, call.params["network_id"]), call.body.network
    require_owner(call, network.project_id, "update_network")
    refuse_unusual(asked, UNUSUAL)
    shared, mtu = _shared(call, asked, present=network.shared), _mtu(asked, network.mtu)

    def edit(present: Network) -> NetworkChanged:
        return NetworkChanged(
            name=present.name if asked.name is UNSET else asked.name,
            description=present.description if asked.description is UNSET else asked.description,
            mtu=present.mtu if asked.mtu is UNSET else mtu,
            shared=present.shared if asked.shared is UNSET else shared,
            tags=present.tags,
        )

    network, accepted = await call.services.registry.execute(
        call.context, domain_network.aggregate(network.id), lambda known: domain_network.change(known, edit)
    )
    document = network_document(call, network)
    await call.settle(accepted)
    return {"network": document}


@operations("DELETE", "/v2.0/networks/{network_id}", Access.MEMBER, "delete_network", status=204)
async def delete(call: Call) -> None:
    """Delete a network that no server uses, with its subnets."""
    network = find(call, call.params["network_id"])
    require_owner(call, network.project_id, "delete_network")
    aggregate = domain_network.aggregate(network.id)
    _, accepted = await call.services.registry.execute(call.context, aggregate, domain_network.delete)
    await call.settle(accepted)


def _shared(call: Call, asked: Common, *, present: bool) -> bool:
    """Whether every project may use it: for an administrator to say."""
    shared = present if asked.shared is UNSET else flag("shared", asked.shared)
    if shared != present and not call.is_admin:
        raise disallowed("create_network:shared")
    return shared


def _mtu(asked: Common, present: int) -> int:
    """None, or 0, is the usual one, as in Neutron."""
    if asked.mtu is UNSET:
        return present
    mtu = integer("mtu", asked.mtu, least=0, most=MOST_MTU)
    if 0 < mtu < LEAST_MTU:
        raise Invalid(f"Invalid input for mtu. Reason: '{mtu}' is less than {LEAST_MTU}.")
    return mtu or USUAL_MTU


def _check_quota(call: Call, project_id: str) -> None:
    limit = call.services.limits.stock.networks
    if 0 <= limit <= sum(1 for _ in call.services.registry.listed("network", of_project(project_id))):
        raise Refused("over_quota", "Quota exceeded for resources: ['network'].")
