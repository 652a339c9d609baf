"""Subnets: their range, what is given out of it, and what guests are told."""

from functools import partial
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, Flag, Text255
from adapters.rest.network.access import find, find_subnet, visible_networks
from adapters.rest.network.attributes import flag, ipv4, ipv4_range, owner, refuse_unusual, require_owner
from adapters.rest.network.documents import listing, selected, subnet_document
from domain.errors import Invalid, Refused
from domain.guest import Route
from domain.log.kind import of_project
from domain.neighbours import network as domain_network
from domain.neighbours.network import Network, Pool, Subnet
from domain.neighbours.network.subnet import MAX_NAMESERVERS, MAX_POOLS, MAX_ROUTES

operations = Operations()

UNUSUAL = {
    "ipv6_address_mode": None,
    "ipv6_ra_mode": None,
    "segment_id": None,
    "service_types": None,
    "dns_publish_fixed_ip": False,
}
UNUSUAL_NEW = UNUSUAL | {"subnetpool_id": None, "use_default_subnetpool": False, "prefixlen": None}
"""What else Neutron knows of a subnet, with the values that all of them have here."""


class PoolBody(Body):
    start: Text255
    end: Text255


class RouteBody(Body):
    destination: Text255
    nexthop: Text255


class Common(Body):
    """What may be said when a subnet is made, and later."""

    name: Text255 | UnsetType = UNSET
    description: Text255 | UnsetType = UNSET
    gateway_ip: Text255 | UnsetType | None = UNSET
    allocation_pools: Annotated[list[PoolBody], Meta(max_length=MAX_POOLS)] | UnsetType | None = UNSET
    enable_dhcp: Flag | UnsetType = UNSET
    dns_nameservers: Annotated[list[Text255], Meta(max_length=MAX_NAMESERVERS)] | UnsetType | None = UNSET
    host_routes: Annotated[list[RouteBody], Meta(max_length=MAX_ROUTES)] | UnsetType | None = UNSET
    ipv6_address_mode: Any = UNSET
    ipv6_ra_mode: Any = UNSET
    segment_id: Any = UNSET
    service_types: Any = UNSET
    dns_publish_fixed_ip: Any = UNSET


class NewSubnet(Common, kw_only=True):
    network_id: Text255
    cidr: Text255 | None = None
    ip_version: Any = 4
    tenant_id: Text255 | None = None
    project_id: Text255 | None = None
    subnetpool_id: Any = UNSET
    use_default_subnetpool: Any = UNSET
    prefixlen: Any = UNSET


class CreateBody(Body):
    """``{"subnet": …}``."""

    subnet: NewSubnet


class UpdateBody(Body):
    """``{"subnet": …}``."""

    subnet: Common


@operations("GET", "/v2.0/subnets", Access.READER, "get_subnet")
async def index(call: Call) -> Any:
    found = [
        subnet_document(network, subnet) for network in visible_networks(call) for subnet in network.subnets.values()
    ]
    return listing(call, "subnets", found)


@operations("GET", "/v2.0/subnets/{subnet_id}", Access.READER, "get_subnet")
async def show(call: Call) -> Any:
    return {"subnet": selected(call, subnet_document(*find_subnet(call, call.params["subnet_id"])))}


@operations("POST", "/v2.0/subnets", Access.MEMBER, "create_subnet", body=CreateBody, status=201)
async def create(call: Call) -> Any:
    asked: NewSubnet = call.body.subnet
    network = find(call, asked.network_id)
    require_owner(call, network.project_id, "create_subnet")
    require_owner(call, owner(call, asked, "subnet"), "create_subnet")
    if asked.ip_version not in (4, "4"):
        if asked.ip_version not in (6, "6"):
            raise Invalid(f"Invalid input for ip_version. Reason: '{asked.ip_version}' is not in [4, 6].")
        raise not_implemented("A subnet of IPv6")
    refuse_unusual(asked, UNUSUAL_NEW)
    if asked.cidr is None:
        raise Invalid("Bad subnets request: a subnetpool must be specified in the absence of a cidr.")
    _check_quota(call, network.project_id)
    gateway = asked.gateway_ip
    wanted = domain_network.made(
        call.services.stamp.ids.uuid(),
        asked.name or "",
        asked.cidr,
        gateway_ip=ipv4("gateway_ip", gateway) if isinstance(gateway, str) else None,
        has_gateway=gateway is not None,
        pools=_pools(asked) or None,
        has_dhcp=asked.enable_dhcp is UNSET or flag("enable_dhcp", asked.enable_dhcp),
        dns_nameservers=_nameservers(asked),
        host_routes=_routes(asked),
        description=asked.description or "",
    )
    changed, accepted = await call.services.registry.execute(
        call.context, domain_network.aggregate(network.id), lambda known: domain_network.add_subnet(known, wanted)
    )
    document = subnet_document(changed, changed.subnets[wanted.id])
    await call.settle(accepted)
    return {"subnet": document}


@operations("PUT", "/v2.0/subnets/{subnet_id}", Access.MEMBER, "update_subnet", body=UpdateBody)
async def update(call: Call) -> Any:
    """Ports that are there keep what they have been told."""
    asked: Common = call.body.subnet
    network, present = find_subnet(call, call.params["subnet_id"])
    require_owner(call, network.project_id, "update_subnet")
    refuse_unusual(asked, UNUSUAL)
    has_dhcp = None if asked.enable_dhcp is UNSET else flag("enable_dhcp", asked.enable_dhcp)
    changed, accepted = await call.services.registry.execute(
        call.context,
        domain_network.aggregate(network.id),
        lambda known: domain_network.change_subnet(known, present.id, partial(_changed, asked), has_dhcp=has_dhcp),
    )
    document = subnet_document(changed, changed.subnets[present.id])
    await call.settle(accepted)
    return {"subnet": document}


@operations("DELETE", "/v2.0/subnets/{subnet_id}", Access.MEMBER, "delete_subnet", status=204)
async def delete(call: Call) -> None:
    """Delete a subnet of which no port has an address."""
    network, present = find_subnet(call, call.params["subnet_id"])
    require_owner(call, network.project_id, "delete_subnet")
    _, accepted = await call.services.registry.execute(
        call.context,
        domain_network.aggregate(network.id),
        lambda known: domain_network.delete_subnet(known, present.id),
    )
    await call.settle(accepted)


def _changed(asked: Common, present: Subnet) -> Subnet:
    wanted = present
    if asked.name is not UNSET:
        wanted = replace(wanted, name=asked.name)
    if asked.description is not UNSET:
        wanted = replace(wanted, description=asked.description)
    if asked.gateway_ip is not UNSET:
        gateway = asked.gateway_ip
        wanted = replace(wanted, gateway_ip=None if gateway is None else ipv4("gateway_ip", gateway))
    if asked.allocation_pools:
        wanted = replace(wanted, pools=_pools(asked))
    if asked.dns_nameservers is not UNSET:
        wanted = replace(wanted, dns_nameservers=_nameservers(asked))
    if asked.host_routes is not UNSET:
        wanted = replace(wanted, host_routes=_routes(asked))
    return wanted


def _pools(asked: Common) -> tuple[Pool, ...]:
    name = "allocation_pools"
    return tuple(Pool(ipv4(name, pool.start), ipv4(name, pool.end)) for pool in asked.allocation_pools or ())


def _nameservers(asked: Common) -> tuple[str, ...]:
    found = tuple(ipv4("dns_nameservers", each) for each in asked.dns_nameservers or ())
    if len(set(found)) < len(found):
        raise Invalid("Invalid input for dns_nameservers. Reason: Duplicate nameserver.")
    return found


def _routes(asked: Common) -> tuple[Route, ...]:
    name = "host_routes"
    return tuple(
        Route(ipv4_range(name, route.destination), ipv4(name, route.nexthop)) for route in asked.host_routes or ()
    )


def _check_quota(call: Call, project_id: str) -> None:
    limit = call.services.limits.stock.networks
    own: list[Network] = list(call.services.registry.listed("network", of_project(project_id)))
    if 0 <= limit <= sum(len(network.subnets) for network in own):
        raise Refused("over_quota", "Quota exceeded for resources: ['subnet'].")
