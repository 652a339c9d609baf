"""Networks, subnets and ports as Neutron shows them."""

from collections.abc import Callable, Iterable
from typing import Any

from adapters.rest.kit.operation import Call
from adapters.rest.kit.paging import page_limit
from adapters.rest.kit.times import seconds
from domain.errors import Invalid
from domain.neighbours.network import Network, Port, Subnet

Document = dict[str, Any]

CONTROLS = frozenset(("fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"))

TAG_FILTERS: dict[str, Callable[[set[str], set[str]], bool]] = {
    "tags": lambda asked, has: asked <= has,
    "tags-any": lambda asked, has: bool(asked & has),
    "not-tags": lambda asked, has: not asked <= has,
    "not-tags-any": lambda asked, has: not asked & has,
}
"""https://docs.openstack.org/api-ref/network/v2/#filtering-by-tags"""


def network_document(call: Call, network: Network) -> Document:
    return {
        "id": network.id,
        "name": network.name,
        "tenant_id": network.project_id,
        "project_id": network.project_id,
        "admin_state_up": True,
        "status": "ACTIVE",
        "shared": network.shared,
        "router:external": False,
        "is_default": False,
        "mtu": network.mtu,
        "port_security_enabled": True,
        "subnets": list(network.subnets),
        "availability_zones": [call.services.settings.default_zone],
        "availability_zone_hints": [],
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
        "description": network.description,
        "tags": list(network.tags),
        "revision_number": network.stamp.revision,
        "created_at": seconds(network.stamp.created_at),
        "updated_at": seconds(network.stamp.updated_at),
    }


def subnet_document(network: Network, subnet: Subnet) -> Document:
    stamp = network.stamps[subnet.id]
    return {
        "id": subnet.id,
        "name": subnet.name,
        "network_id": network.id,
        "tenant_id": network.project_id,
        "project_id": network.project_id,
        "cidr": subnet.cidr,
        "ip_version": 4,
        "gateway_ip": subnet.gateway_ip,
        "enable_dhcp": subnet.dhcp_ip is not None,
        "dns_nameservers": list(subnet.dns_nameservers),
        "allocation_pools": [{"start": pool.start, "end": pool.end} for pool in subnet.pools],
        "host_routes": [{"destination": route.destination, "nexthop": route.nexthop} for route in subnet.host_routes],
        "ipv6_address_mode": None,
        "ipv6_ra_mode": None,
        "subnetpool_id": None,
        "segment_id": None,
        "service_types": [],
        "dns_publish_fixed_ip": False,
        "router:external": False,
        "description": subnet.description,
        "tags": list(subnet.tags),
        "revision_number": stamp.revision,
        "created_at": seconds(stamp.created_at),
        "updated_at": seconds(stamp.updated_at),
    }


def port_document(network: Network, port: Port) -> Document:
    subnet, own = network.subnet_with(port.ip_address), port.own
    device_id, device_owner = (own.device_id, own.device_owner) if own else ("", "")
    if port.server_id:
        device_id, device_owner = port.server_id, "compute:nova"
    since = own.made_at if own else network.stamp.created_at
    return {
        "id": port.id,
        "name": own.name if own else "",
        "network_id": network.id,
        "tenant_id": port.project_id,
        "project_id": port.project_id,
        "device_id": device_id,
        "device_owner": device_owner,
        "mac_address": port.mac_address,
        "fixed_ips": [{"subnet_id": subnet.id if subnet else None, "ip_address": port.ip_address}],
        "status": "ACTIVE" if port.server_id else "DOWN",
        "admin_state_up": True,
        "allowed_address_pairs": [],
        "binding:vnic_type": "normal",
        "extra_dhcp_opts": [],
        "port_security_enabled": True,
        "security_groups": [],
        "description": own.description if own else "",
        "tags": [],
        "revision_number": 1,
        "created_at": seconds(since),
        "updated_at": seconds(since),
    }


def listing(call: Call, collection: str, documents: Iterable[Document]) -> Document:
    """Those that match the query, sorted, cut to a page, with the fields asked for."""
    wanted: dict[str, list[str]] = {}
    for name, value in call.query.multi_items():
        if name not in CONTROLS:
            wanted.setdefault(name, []).append(value)
    found = [one for one in documents if all(_matches(one, name, values) for name, values in wanted.items())]
    sort_key = call.query.get("sort_key")
    if sort_key:
        found.sort(key=lambda one: str(one.get(sort_key)), reverse=call.query.get("sort_dir") == "desc")
    marker = call.query.get("marker")
    if marker:
        place = next((at for at, one in enumerate(found) if one["id"] == marker), None)
        if place is None:
            raise Invalid(f"Marker {marker} could not be found.")
        found = found[place + 1 :]
    limit = page_limit(call.query)
    return {collection: [selected(call, one) for one in (found[:limit] if limit else found)]}


def selected(call: Call, document: Document) -> Document:
    """The fields asked for; all if none were."""
    fields = call.query.getlist("fields")
    return {name: document[name] for name in fields if name in document} if fields else document


def _matches(document: Document, name: str, values: list[str]) -> bool:
    if name == "fixed_ips":
        pairs = [value.partition("=") for value in values]
        return any(all(ip.get(key) == value for key, _, value in pairs) for ip in document.get(name, []))
    if name in TAG_FILTERS:
        tags = {tag for value in values for tag in value.split(",")}
        return TAG_FILTERS[name](tags, set(document.get("tags", [])))
    if name not in document:
        return False
    has = document[name]
    if isinstance(has, bool):
        return str(has).lower() in [value.lower() for value in values]
    return str(has) in values
