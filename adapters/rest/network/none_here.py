"""What Neutron has and this service has not: by lists there is none of it, and to make one is refused (501)."""

from typing import Any

from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Handler, Operations
from domain.errors import Refused

operations = Operations()

COLLECTIONS = {
    "routers": "router",
    "floatingips": "floatingip",
    "security-groups": "security_group",
    "security-group-rules": "security_group_rule",
    "subnetpools": "subnetpool",
    "address-scopes": "address_scope",
    "rbac-policies": "rbac_policy",
    "trunks": "trunk",
    "agents": "agent",
    "service-providers": "service_provider",
}
"""By their paths, what one of them is called."""


def _index(path: str) -> Handler:
    async def index(_call: Call) -> Any:
        return {path.replace("-", "_"): []}

    return index


def _show(name: str) -> Handler:
    async def show(call: Call) -> Any:
        kind = name.replace("_", " ")
        message = f"{kind.capitalize()} {call.params['id']} could not be found."
        raise Refused(f"{name}_not_found", message, status=404)

    return show


def _refuse(name: str) -> Handler:
    async def refuse(_call: Call) -> Any:
        raise not_implemented(f"A {name.replace('_', ' ')} of the network service")

    return refuse


for _path, _name in COLLECTIONS.items():
    operations("GET", f"/v2.0/{_path}", Access.READER, f"get_{_name}")(_index(_path))
    operations("GET", f"/v2.0/{_path}/{{id}}", Access.READER, f"get_{_name}")(_show(_name))
    operations("POST", f"/v2.0/{_path}", Access.MEMBER, f"create_{_name}")(_refuse(_name))
