"""Parts of a server that have addresses of their own: addresses, volumes, groups, interfaces."""

from typing import Any
from uuid import UUID, uuid5

from adapters.rest.compute.servers.access import find
from adapters.rest.compute.servers.view import plain_addresses
from adapters.rest.kit import since
from adapters.rest.kit.operation import Access, Call, Operations
from domain.errors import Refused

operations = Operations()

AT = "/servers/{server_id}"


@operations("GET", f"{AT}/ips", Access.READER, "os_compute_api:ips:index")
async def ips(call: Call) -> Any:
    """All addresses, by network name."""
    return {"addresses": plain_addresses((await find(call)).nics)}


@operations("GET", f"{AT}/ips/{{network}}", Access.READER, "os_compute_api:ips:show")
async def ips_of_network(call: Call) -> Any:
    found = plain_addresses((await find(call)).nics)
    name = call.params["network"]
    if name not in found:
        raise Refused("network.not_found", "Instance is not a member of specified network", status=404)
    return {name: found[name]}


@operations("GET", f"{AT}/os-interface", Access.READER, "os_compute_api:os-attach-interfaces:list")
async def interfaces(call: Call) -> Any:
    server = await find(call)
    documents = []
    for nic in server.nics:
        document: dict[str, Any] = {
            "port_id": nic.port_id,
            "net_id": nic.network_id,
            "mac_addr": nic.mac_address,
            "port_state": "ACTIVE",
            "fixed_ips": [{"subnet_id": await call.services.networks.subnet_of(nic), "ip_address": nic.ip_address}],
        }
        if call.minor >= since.ATTACHMENT_TAGS:
            document["tag"] = None
        documents.append(document)
    return {"interfaceAttachments": documents}


@operations("GET", f"{AT}/os-volume_attachments", Access.READER, "os_compute_api:os-volumes-attachments:index")
async def volumes(call: Call) -> Any:
    """There are no volumes."""
    await find(call)
    return {"volumeAttachments": []}


@operations("GET", f"{AT}/os-security-groups", Access.READER, "os_compute_api:os-security-groups:list")
async def security_groups(call: Call) -> Any:
    """The security groups: the default one."""
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
