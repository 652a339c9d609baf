"""The network interfaces of a server."""

from typing import Any

from adapters.rest.compute.servers.access import find
from adapters.rest.kit import since
from adapters.rest.kit.operation import Access, Call, Operations

operations = Operations()


@operations("GET", "/servers/{server_id}/os-interface", Access.READER, "os_compute_api:os-attach-interfaces:list")
async def index(call: Call) -> Any:
    server = await find(call)
    documents = []
    subnet_of = call.services.neighbours.networks.subnet_of
    for nic in server.nics:
        document: dict[str, Any] = {
            "port_id": nic.port_id,
            "net_id": nic.network_id,
            "mac_addr": nic.mac_address,
            "port_state": "ACTIVE",
            "fixed_ips": [{"subnet_id": await subnet_of(nic), "ip_address": nic.ip_address}],
        }
        if call.minor >= since.ATTACHMENT_TAGS:
            document["tag"] = None
        documents.append(document)
    return {"interfaceAttachments": documents}
