"""Ports, extensions, quotas, and version discovery of the network service."""

from collections.abc import Iterable, Iterator
from typing import Any

from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.network.access import visible_networks
from adapters.rest.network.documents import Document, listing, port_document, selected
from domain.errors import Refused
from domain.neighbours.network import PortCreated

operations = Operations()


@operations("GET", "/", Access.PUBLIC, "versions")
async def versions(call: Call) -> Any:
    href = f"{call.services.settings.public_url}/network/v2.0/"
    return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": href}]}]}


@operations("GET", "/v2.0", Access.PUBLIC, "versions")
async def resources(call: Call) -> Any:
    base = f"{call.services.settings.public_url}/network/v2.0"
    return {
        "resources": [
            {"name": name, "collection": f"{name}s", "links": [{"rel": "self", "href": f"{base}/{name}s"}]}
            for name in ("network", "subnet", "port")
        ]
    }


EXTENSIONS = {
    "quotas": "Quota management support",
    "net-mtu": "Network MTU",
    "project-id": "project_id field enabled",
    "port-security": "Port Security",
    "standard-attr-description": "standard-attr-description",
    "standard-attr-revisions": "Resource revision numbers",
    "standard-attr-tag": "Tag support for resources with standard attribute",
    "standard-attr-timestamp": "Resource timestamps",
}


def _extension(alias: str) -> Document:
    return {
        "alias": alias,
        "name": EXTENSIONS[alias],
        "description": EXTENSIONS[alias],
        "links": [],
        "updated": "2016-09-09T09:09:09-09:09",
    }


@operations("GET", "/v2.0/extensions", Access.TOKEN, "get_extensions")
async def extensions(_call: Call) -> Any:
    """The extensions of Neutron that are here."""
    return {"extensions": [_extension(alias) for alias in EXTENSIONS]}


@operations("GET", "/v2.0/extensions/{alias}", Access.TOKEN, "get_extensions")
async def extension(call: Call) -> Any:
    alias = call.params["alias"]
    if alias not in EXTENSIONS:
        raise Refused("extension_not_found", f"Extension with alias {alias} does not exist", status=404)
    return {"extension": _extension(alias)}


def _may_see(call: Call, port: PortCreated) -> bool:
    """Whether it is of a server of the caller's; an administrator sees all."""
    return call.is_admin or port.project_id == call.context.project_id


def _ports(call: Call) -> Iterator[Document]:
    """The ports of the caller's servers, or all for an administrator; costs no more than these, or fewer where the
    query names servers."""
    servers = dict.fromkeys(call.query.getlist("device_id"))
    for network in visible_networks(call):
        if servers:
            found: Iterable[PortCreated] = (port for server_id in servers for port in network.ports_of(server_id))
        elif call.is_admin:
            found = network.ports.values()
        else:
            found = network.ports_in(call.context.project_id or "")
        for port in found:
            if _may_see(call, port):
                yield port_document(network, port)


@operations("GET", "/v2.0/ports", Access.READER, "get_port")
async def ports(call: Call) -> Any:
    return listing(call, "ports", _ports(call))


@operations("GET", "/v2.0/ports/{port_id}", Access.READER, "get_port")
async def show_port(call: Call) -> Any:
    wanted = call.params["port_id"]
    for network in visible_networks(call):
        port = network.ports.get(wanted)
        if port is not None and _may_see(call, port):
            return {"port": selected(call, port_document(network, port))}
    raise Refused("port_not_found", f"Port {wanted} could not be found.", status=404)


UNLIMITED = dict.fromkeys(
    ("port", "router", "floatingip", "security_group", "security_group_rule", "subnetpool", "rbac_policy"), -1
)


def _quota(call: Call) -> Document:
    """Networks are limited, and so many subnets; the rest of Neutron's is not here, or follows from servers."""
    limit = call.services.limits.stock.networks
    return {"quota": {"network": limit, "subnet": limit} | UNLIMITED}


@operations("GET", "/v2.0/quotas/{project_id}", Access.READER, "get_quota")
async def quota(call: Call) -> Any:
    if call.params["project_id"] != call.context.project_id and not call.is_admin:
        raise Refused("policy_not_authorized", "rule:get_quota is disallowed by policy", status=403)
    return _quota(call)


@operations("GET", "/v2.0/quotas/{project_id}/default", Access.READER, "get_quota")
async def default_quota(call: Call) -> Any:
    """The same for every project."""
    return _quota(call)


@operations("GET", "/v2.0/security-groups", Access.READER, "get_security_group")
async def security_groups(_call: Call) -> Any:
    """There are no security groups."""
    return {"security_groups": []}


@operations("GET", "/v2.0/routers", Access.READER, "get_router")
async def routers(_call: Call) -> Any:
    """There are no routers."""
    return {"routers": []}
