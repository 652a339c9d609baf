"""A server's metadata. https://docs.openstack.org/api-ref/compute/#server-metadata-servers-metadata"""

from functools import partial
from typing import Any

from adapters.rest.compute.servers.access import change, find
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, StringMap
from domain.errors import Invalid, Refused
from domain.server import details

operations = Operations()

PATH = "/servers/{server_id}/metadata"
ITEM = f"{PATH}/{{key}}"
RULE = "os_compute_api:server-metadata"


class MetadataBody(Body):
    """``{"metadata": {"key": "value"}}``."""

    metadata: StringMap


class ItemBody(Body):
    """``{"meta": {"key": "value"}}``: one item."""

    meta: StringMap


@operations("GET", PATH, Access.READER, f"{RULE}:index")
async def index(call: Call) -> Any:
    return {"metadata": (await find(call)).metadata}


@operations("GET", ITEM, Access.READER, f"{RULE}:show")
async def show(call: Call) -> Any:
    server = await find(call)
    key = call.params["key"]
    if key not in server.metadata:
        raise Refused("metadata.not_found", "Metadata item was not found", status=404)
    return {"meta": {key: server.metadata[key]}}


@operations("POST", PATH, Access.MEMBER, f"{RULE}:create", body=MetadataBody)
async def add(call: Call) -> Any:
    """Add items; those of the same key are replaced."""
    return {"metadata": await _set(call, call.body.metadata, replace=False)}


@operations("PUT", PATH, Access.MEMBER, f"{RULE}:update_all", body=MetadataBody)
async def replace_all(call: Call) -> Any:
    """Have no other items than these."""
    return {"metadata": await _set(call, call.body.metadata, replace=True)}


@operations("PUT", ITEM, Access.MEMBER, f"{RULE}:update", body=ItemBody)
async def put(call: Call) -> Any:
    item: dict[str, str] = call.body.meta
    if len(item) != 1:
        raise Invalid("Request body contains too many items")
    if call.params["key"] not in item:
        raise Invalid("Request body and URI mismatch")
    await _set(call, item, replace=False)
    return {"meta": item}


@operations("DELETE", ITEM, Access.MEMBER, f"{RULE}:delete", status=204)
async def delete(call: Call) -> None:
    await change(call, partial(details.remove_metadata, key=call.params["key"]))


async def _set(call: Call, given: dict[str, str], *, replace: bool) -> dict[str, str]:
    await change(call, partial(details.set_metadata, given=given, replace=replace))
    return (await find(call)).metadata
