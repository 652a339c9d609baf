"""Extensions, quotas, and version discovery of the network service."""

from typing import Any

from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.network.documents import Document
from domain.errors import Refused

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


UNLIMITED = dict.fromkeys(
    ("router", "floatingip", "security_group", "security_group_rule", "subnetpool", "rbac_policy"), -1
)


def _quota(call: Call) -> Document:
    """Networks are limited, as many subnets, and ports of a project's own; the rest is not here."""
    stock = call.services.limits.stock
    return {"quota": {"network": stock.networks, "subnet": stock.networks, "port": stock.ports} | UNLIMITED}


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
