"""``os-migrations``: there are none yet."""

from typing import Any

from adapters.rest.kit.operation import Access, Call, Operations

operations = Operations()


@operations("GET", "/os-migrations", Access.ADMIN, "os_compute_api:os-migrations:index")
async def index(_call: Call) -> Any:
    return {"migrations": []}
