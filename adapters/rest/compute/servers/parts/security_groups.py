"""The security groups of a server: there is one, the default one."""

from typing import Any
from uuid import UUID, uuid5

from adapters.rest.compute.servers.access import find
from adapters.rest.kit.operation import Access, Call, Operations

operations = Operations()


@operations("GET", "/servers/{server_id}/os-security-groups", Access.READER, "os_compute_api:os-security-groups:list")
async def index(call: Call) -> Any:
    server = await find(call)
    names = server.security_groups or ("default",)
    return {
        "security_groups": [
            {
                "id": str(uuid5(UUID(server.id), name)),
                "name": name,
                "description": "",
                "tenant_id": server.project_id,
                "rules": [],
            }
            for name in names
        ]
    }
