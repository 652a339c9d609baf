"""``os-server-groups``: there are none yet."""

from typing import Any

from adapters.rest.kit.operation import Access, Call, Operations
from domain.errors import Refused

operations = Operations()


@operations("GET", "/os-server-groups", Access.READER, "os_compute_api:os-server-groups:index")
async def index(_call: Call) -> Any:
    return {"server_groups": []}


@operations("GET", "/os-server-groups/{group_id}", Access.READER, "os_compute_api:os-server-groups:show")
async def show(call: Call) -> Any:
    raise Refused("group.not_found", f"Instance group {call.params['group_id']} could not be found.", status=404)
