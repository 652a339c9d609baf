"""The volumes of a server: there are none yet."""

from typing import Any

from adapters.rest.compute.servers.access import find
from adapters.rest.kit.operation import Access, Call, Operations

operations = Operations()


@operations(
    "GET", "/servers/{server_id}/os-volume_attachments", Access.READER, "os_compute_api:os-volumes-attachments:index"
)
async def index(call: Call) -> Any:
    await find(call)
    return {"volumeAttachments": []}
