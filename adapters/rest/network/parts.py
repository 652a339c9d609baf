"""Extensions, quotas, and version discovery of the network service."""

from typing import Any

from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.network.attributes import require_owner
from adapters.rest.network.documents import Document, listing
from domain.errors import Refused
from domain.log.kind import of_project
from domain.neighbours.network import Network

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
    "quota_details": "Quota details management support",
    "availability_zone": "Availability Zone",
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


UNLIMITED = dict.fromkeys(
    ("router", "floatingip", "security_group", "security_group_rule", "subnetpool", "rbac_policy"), -1
)


def _quota(call: Call) -> Document:
    """Networks are limited, as many subnets, and ports of a project's own; the rest is not here."""
    stock = call.services.limits.stock
    return {"quota": {"network": stock.networks, "subnet": stock.networks, "port": stock.ports} | UNLIMITED}


@operations("GET", "/v2.0/quotas/{project_id}", Access.READER, "get_quota")
async def quota(call: Call) -> Any:
    require_owner(call, call.params["project_id"], "get_quota")
    return _quota(call)


@operations("GET", "/v2.0/quotas/{project_id}/default", Access.READER, "get_quota")
async def default_quota(call: Call) -> Any:
    """The same for every project."""
    return _quota(call)


@operations("GET", "/v2.0/quotas/{project_id}/details", Access.READER, "get_quota")
async def quota_details(call: Call) -> Any:
    """With what is used of it. Nothing is kept for what is not made yet."""
    project_id = call.params["project_id"]
    require_owner(call, project_id, "get_quota")
    registry = call.services.registry
    own: list[Network] = list(registry.listed("network", of_project(project_id)))
    ports = sum(network.own_ports(project_id) for network in registry.all("network"))
    used = {"network": len(own), "subnet": sum(len(network.subnets) for network in own), "port": ports}
    limits = _quota(call)["quota"].items()
    return {"quota": {name: {"limit": limit, "used": used.get(name, 0), "reserved": 0} for name, limit in limits}}


@operations("GET", "/v2.0/availability_zones", Access.READER, "get_availability_zone")
async def availability_zones(call: Call) -> Any:
    """Networks are everywhere: there is one zone of them."""
    zone = {"name": call.services.settings.default_zone, "resource": "network", "state": "available"}
    return listing(call, "availability_zones", [zone])
