"""The addresses of a server, by network name."""

from typing import Any

from adapters.rest.compute.servers.access import find
from adapters.rest.compute.servers.view import plain_addresses
from adapters.rest.kit.operation import Access, Call, Operations
from domain.errors import Refused

operations = Operations()


@operations("GET", "/servers/{server_id}/ips", Access.READER, "os_compute_api:ips:index")
async def index(call: Call) -> Any:
    return {"addresses": plain_addresses((await find(call)).nics)}


@operations("GET", "/servers/{server_id}/ips/{network}", Access.READER, "os_compute_api:ips:show")
async def show(call: Call) -> Any:
    found = plain_addresses((await find(call)).nics)
    name = call.params["network"]
    if name not in found:
        raise Refused("network.not_found", "Instance is not a member of specified network", status=404)
    return {name: found[name]}
