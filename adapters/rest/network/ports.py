"""Ports: those of servers, which come and go with them, and those of a project's own."""

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType, field

from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, Text255
from adapters.rest.network.access import find, find_subnet, visible_networks
from adapters.rest.network.attributes import ipv4, owner, refuse_unusual, require_owner
from adapters.rest.network.documents import Document, listing, port_document, selected
from domain.errors import Invalid, Refused
from domain.neighbours import network as domain_network
from domain.neighbours.network import Network, Own, Port, Said

operations = Operations()

MAC_ADDRESS = re.compile("[0-9a-f]{2}(:[0-9a-f]{2}){5}")
NO_ADDRESS = "00:00:00:00:00:00"
MULTICAST = 1
"""The bit of a MAC address's first byte that no interface has."""
UNUSUAL = {
    "admin_state_up": True,
    "port_security_enabled": True,
    "security_groups": None,
    "allowed_address_pairs": None,
    "extra_dhcp_opts": None,
    "qos_policy_id": None,
    "dns_name": None,
    "dns_domain": None,
    "host_id": None,
    "profile": None,
    "propagate_uplink_status": True,
    "numa_affinity_policy": None,
    "device_profile": None,
    "hints": None,
}
"""What else Neutron knows of a port, with the values that all of them have here."""
NORMAL = "normal"
"""How a port is bound."""


class FixedIp(Body):
    subnet_id: Text255 | UnsetType | None = UNSET
    ip_address: Text255 | UnsetType | None = UNSET


class Common(Body):
    """What may be said when a port is made, and later."""

    name: Text255 | UnsetType = UNSET
    description: Text255 | UnsetType = UNSET
    device_id: Text255 | UnsetType = UNSET
    device_owner: Text255 | UnsetType = UNSET
    vnic_type: Any = field(default=UNSET, name="binding:vnic_type")
    admin_state_up: Any = UNSET
    port_security_enabled: Any = UNSET
    security_groups: Any = UNSET
    allowed_address_pairs: Any = UNSET
    extra_dhcp_opts: Any = UNSET
    qos_policy_id: Any = UNSET
    dns_name: Any = UNSET
    dns_domain: Any = UNSET
    host_id: Any = field(default=UNSET, name="binding:host_id")
    profile: Any = field(default=UNSET, name="binding:profile")
    propagate_uplink_status: Any = UNSET
    numa_affinity_policy: Any = UNSET
    device_profile: Any = UNSET
    hints: Any = UNSET


class NewPort(Common, kw_only=True):
    network_id: Text255
    mac_address: Text255 | UnsetType | None = UNSET
    fixed_ips: Annotated[list[FixedIp], Meta(max_length=5)] | UnsetType | None = UNSET
    tenant_id: Text255 | None = None
    project_id: Text255 | None = None


class CreateBody(Body):
    """``{"port": …}``."""

    port: NewPort


class UpdateBody(Body):
    """``{"port": …}``."""

    port: Common


def _may_see(call: Call, port: Port) -> bool:
    """Whether it is the caller's project's, or of a server of that; an administrator sees all."""
    return call.is_admin or port.project_id == call.context.project_id


def _visible(call: Call) -> Iterator[Document]:
    """The ports of the caller's project and servers, or all for an administrator; costs no more than these, or fewer
    where the query names servers."""
    servers = dict.fromkeys(call.query.getlist("device_id"))
    for network in visible_networks(call):
        if servers:
            found: Iterable[Port] = (port for server_id in servers for port in network.held_by(server_id))
        elif call.is_admin:
            found = network.ports.values()
        else:
            found = network.ports_in(call.context.project_id or "")
        for port in found:
            if _may_see(call, port):
                yield port_document(network, port)


def _find(call: Call) -> tuple[Network, Port]:
    """The port in the path, with its network; raises Refused (404)."""
    wanted = call.params["port_id"]
    for network in visible_networks(call):
        port = network.ports.get(wanted)
        if port is not None and _may_see(call, port):
            return network, port
    raise Refused("port_not_found", f"Port {wanted} could not be found.", status=404)


@operations("GET", "/v2.0/ports", Access.READER, "get_port")
async def index(call: Call) -> Any:
    return listing(call, "ports", _visible(call))


@operations("GET", "/v2.0/ports/{port_id}", Access.READER, "get_port")
async def show(call: Call) -> Any:
    return {"port": selected(call, port_document(*_find(call)))}


@operations("POST", "/v2.0/ports", Access.MEMBER, "create_port", body=CreateBody, status=201)
async def create(call: Call) -> Any:
    """Have a port of the project's own, on its network or on one that is shared with it."""
    asked: NewPort = call.body.port
    network, project_id = find(call, asked.network_id), owner(call, asked, "port")
    _refuse_unusual(asked)
    if not await call.services.neighbours.identity.project_exists(project_id):
        raise Invalid(f"Invalid input for project_id. Reason: there is no project {project_id}.")
    _check_quota(call, project_id)
    port_id, now = call.services.stamp.ids.uuid(), call.services.stamp.clock.now()
    mac_address, (subnet_id, ip_address) = _mac_address(asked), _fixed_ip(call, asked)
    said = _edited(asked, Said())
    aggregate = domain_network.aggregate(network.id)
    _, accepted = await call.services.registry.submit(
        call.context,
        aggregate,
        lambda known: domain_network.make_port(
            known, port_id=port_id, project_id=project_id, now=now, said=said, mac_address=mac_address,
            subnet_id=subnet_id, ip_address=ip_address, request_id=call.context.request_id,
        ),
    )  # fmt: skip
    await call.settle(accepted)
    return {"port": _shown(call, network.id, port_id)}


@operations("PUT", "/v2.0/ports/{port_id}", Access.MEMBER, "update_port", body=UpdateBody)
async def update(call: Call) -> Any:
    """Change what is said of a port of the project's own; address and network stay."""
    asked: Common = call.body.port
    network, port = _find(call)
    require_owner(call, port.project_id, "update_port")
    _refuse_unusual(asked)

    def edit(own: Own) -> Said:
        return _edited(asked, Said(own.name, own.description, own.device_id, own.device_owner))

    _, accepted = await call.services.registry.submit(
        call.context,
        domain_network.aggregate(network.id),
        lambda known: domain_network.update_port(known, port.id, edit, call.context.request_id),
    )
    await call.settle(accepted)
    return {"port": _shown(call, network.id, port.id)}


@operations("DELETE", "/v2.0/ports/{port_id}", Access.MEMBER, "delete_port", status=204)
async def delete(call: Call) -> None:
    """Delete a port that no server has."""
    network, port = _find(call)
    require_owner(call, port.project_id, "delete_port")
    _, accepted = await call.services.registry.submit(
        call.context,
        domain_network.aggregate(network.id),
        lambda known: domain_network.delete_port(known, port.id, call.context.request_id),
    )
    await call.settle(accepted)


def _shown(call: Call, network_id: str, port_id: str) -> Document:
    network = call.services.registry.of(domain_network.KIND, network_id)
    port = network.ports.get(port_id) if network else None
    if network is None or port is None:
        raise Refused("port_not_found", f"Port {port_id} could not be found.", status=404)
    return port_document(network, port)


def _refuse_unusual(asked: Common) -> None:
    refuse_unusual(asked, UNUSUAL)
    if asked.vnic_type not in (UNSET, None, NORMAL):
        raise not_implemented(f"The attribute binding:vnic_type with the value {str(asked.vnic_type)[:64]!r}")


def _edited(asked: Common, present: Said) -> Said:
    given = {name: getattr(asked, name) for name in Said._fields}
    return present._replace(**{name: value for name, value in given.items() if value is not UNSET})


def _mac_address(asked: NewPort) -> str | None:
    if not isinstance(asked.mac_address, str):
        return None
    address = asked.mac_address.lower()
    if MAC_ADDRESS.fullmatch(address) is None or address == NO_ADDRESS or int(address[:2], 16) & MULTICAST:
        raise Invalid(f"Invalid input for mac_address. Reason: '{asked.mac_address}' is not a valid MAC address.")
    return address


def _fixed_ip(call: Call, asked: NewPort) -> tuple[str | None, str | None]:
    """Of which subnet the address shall be, and which; None for any."""
    if not asked.fixed_ips:
        if asked.fixed_ips == []:
            raise not_implemented("A port without an address")
        return None, None
    if len(asked.fixed_ips) > 1:
        raise not_implemented("A port with several addresses")
    wanted = asked.fixed_ips[0]
    subnet_id = wanted.subnet_id or None
    if subnet_id is not None and find_subnet(call, subnet_id)[0].id != asked.network_id:
        raise Invalid(
            f"Failed to create port on network {asked.network_id}, because fixed_ips included invalid subnet "
            f"{subnet_id}."
        )
    return subnet_id, ipv4("fixed_ips", wanted.ip_address) if wanted.ip_address else None


def _check_quota(call: Call, project_id: str) -> None:
    """Ports that come with servers are limited as these are."""
    limit = call.services.limits.stock.ports
    known: Iterator[Network] = call.services.registry.all("network")
    if 0 <= limit <= sum(network.own_ports(project_id) for network in known):
        raise Refused("over_quota", "Quota exceeded for resources: ['port'].")
