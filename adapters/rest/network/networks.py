"""Networks and their subnets."""

from ipaddress import IPv4Network
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta

from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Text255
from adapters.rest.network.access import find, visible_networks
from adapters.rest.network.documents import listing, network_document, selected, subnet_document
from domain.errors import Invalid, Refused
from domain.log.kind import of_project
from domain.neighbours import network as domain_network
from domain.neighbours.network import NetworkCreated

operations = Operations()

POOL = IPv4Network("10.128.0.0/9")
SUBNET_PREFIX = 24
"""Where the subnet of a network comes from that is made without one."""


@operations("GET", "/v2.0/networks", Access.READER, "get_network")
async def index(call: Call) -> Any:
    return listing(call, "networks", [network_document(call, network) for network in visible_networks(call)])


@operations("GET", "/v2.0/networks/{network_id}", Access.READER, "get_network")
async def show(call: Call) -> Any:
    return {"network": selected(call, network_document(call, find(call, call.params["network_id"])))}


class NewNetwork(msgspec.Struct):
    """The network that is wanted. What else Neutron knows must have its usual value."""

    name: Text255 = ""
    shared: bool = False
    mtu: Annotated[int, Meta(ge=68, le=65535)] = 1400
    admin_state_up: bool = True
    external: bool = msgspec.field(default=False, name="router:external")
    tenant_id: Text255 | None = None
    project_id: Text255 | None = None
    physical: Any = msgspec.field(default=UNSET, name="provider:physical_network")
    network_type: Any = msgspec.field(default=UNSET, name="provider:network_type")


class CreateBody(msgspec.Struct):
    """``{"network": …}``."""

    network: NewNetwork


@operations("POST", "/v2.0/networks", Access.MEMBER, "create_network", body=CreateBody, status=201)
async def create(call: Call) -> Any:
    """Make a network. Its subnet comes with it, from a pool of private addresses."""
    asked: NewNetwork = call.body.network
    if not asked.admin_state_up or asked.external or asked.physical is not UNSET or asked.network_type is not UNSET:
        raise Invalid("Invalid input: this cloud has neither external, provider nor disabled networks.")
    if asked.shared and not call.is_admin:
        raise Refused("policy_not_authorized", "rule:create_network:shared is disallowed by policy", status=403)
    owner = asked.project_id or asked.tenant_id or call.context.project_id or ""
    if owner != call.context.project_id and not call.is_admin:
        raise Refused("policy_not_authorized", "rule:create_network is disallowed by policy", status=403)
    if not await call.services.neighbours.identity.project_exists(owner):
        raise Invalid(f"Invalid input for project_id. Reason: there is no project {owner}.")
    _check_quota(call, owner)
    network_id = call.services.stamp.ids.uuid()
    created = NetworkCreated(
        network_id=network_id,
        name=asked.name,
        project_id=owner,
        subnet_id=call.services.stamp.ids.uuid(),
        cidr=str(_free_range(call, network_id)),
        shared=asked.shared,
        mtu=asked.mtu,
    )
    network, accepted = await call.services.registry.execute(
        call.context,
        domain_network.aggregate(created.network_id),
        lambda known: domain_network.create(known, created),
    )
    await call.settle(accepted)
    return {"network": network_document(call, network)}


def _free_range(call: Call, network_id: str) -> IPv4Network:
    """A part of the pool that no living network has. It is looked for from a place that the network's id tells: so a
    search is short, however many networks there are. Only networks made here have ranges of the pool."""
    size = 1 << (32 - SUBNET_PREFIX)
    count = POOL.num_addresses // size
    start = int(network_id[:8], 16)
    for step in range(count):
        candidate = IPv4Network((int(POOL.network_address) + (start + step) % count * size, SUBNET_PREFIX))
        if not any(call.services.registry.listed("network", domain_network.of_range(candidate))):
            return candidate
    raise Refused("no_more_subnets", "No address range is left for another network.")


def _check_quota(call: Call, project_id: str) -> None:
    limit = call.services.limits.stock.networks
    if 0 <= limit <= sum(1 for _ in call.services.registry.listed("network", of_project(project_id))):
        raise Refused("over_quota", "Quota exceeded for resources: ['network'].")


@operations("DELETE", "/v2.0/networks/{network_id}", Access.MEMBER, "delete_network", status=204)
async def delete(call: Call) -> None:
    """Delete a network that no server uses."""
    network = find(call, call.params["network_id"])
    if network.project_id != call.context.project_id and not call.is_admin:
        raise Refused("policy_not_authorized", "rule:delete_network is disallowed by policy", status=403)

    aggregate = domain_network.aggregate(network.id)
    _, accepted = await call.services.registry.execute(call.context, aggregate, domain_network.delete)
    await call.settle(accepted)


@operations("GET", "/v2.0/subnets", Access.READER, "get_subnet")
async def subnets(call: Call) -> Any:
    return listing(call, "subnets", [subnet_document(call, network) for network in visible_networks(call)])


@operations("GET", "/v2.0/subnets/{subnet_id}", Access.READER, "get_subnet")
async def show_subnet(call: Call) -> Any:
    wanted = call.params["subnet_id"]
    for network in visible_networks(call):
        if network.subnet_id == wanted:
            return {"subnet": selected(call, subnet_document(call, network))}
    raise Refused("subnet_not_found", f"Subnet {wanted} could not be found.", status=404)


class NewSubnet(msgspec.Struct):
    network_id: Text255


class SubnetBody(msgspec.Struct):
    """``{"subnet": …}``."""

    subnet: NewSubnet


@operations("POST", "/v2.0/subnets", Access.MEMBER, "create_subnet", body=SubnetBody, status=201)
async def create_subnet(call: Call) -> Any:
    """A network has its one subnet from the beginning, so there is nothing to add."""
    network = find(call, call.body.subnet.network_id)
    raise Refused(
        "subnet_exists",
        f"Network {network.id} has its subnet {network.subnet_id} ({network.cidr}) already; a network has exactly "
        "one in this cloud.",
    )
