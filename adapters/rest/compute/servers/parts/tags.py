"""A server's tags. https://docs.openstack.org/api-ref/compute/#server-tags-servers-tags"""

from functools import partial
from typing import Annotated, Any
from urllib.parse import quote

from msgspec import Meta

from adapters.rest.compute import links
from adapters.rest.compute.servers.access import change, find
from adapters.rest.compute.servers.create_body import Tag
from adapters.rest.kit import since
from adapters.rest.kit.operation import Access, Call, Operations, Reply, empty
from adapters.rest.kit.validation import Body, check
from domain.errors import Refused
from domain.server import details
from domain.server.limits import MAX_TAGS

operations = Operations()

PATH = "/servers/{server_id}/tags"
ITEM = f"{PATH}/{{tag}}"
RULE = "os_compute_api:os-server-tags"


class TagsBody(Body):
    """``{"tags": ["one", "two"]}``."""

    tags: Annotated[list[Tag], Meta(max_length=MAX_TAGS)]


@operations("GET", PATH, Access.READER, f"{RULE}:index", first=since.TAGS)
async def index(call: Call) -> Any:
    return {"tags": list((await find(call)).tags)}


@operations("GET", ITEM, Access.READER, f"{RULE}:show", first=since.TAGS)
async def show(call: Call) -> Any:
    """Whether a tag is there."""
    server = await find(call)
    if call.params["tag"] not in server.tags:
        raise Refused("tag.not_found", f"Server {server.id} has no tag '{call.params['tag']}'", status=404)
    return empty(204)


@operations("PUT", ITEM, Access.MEMBER, f"{RULE}:update", first=since.TAGS)
async def put(call: Call) -> Any:
    """Have this tag, too: 201 if it is new, 204 if not."""
    server_id, tag = call.params["server_id"], check("tag", call.params["tag"], Tag)
    accepted = await change(call, partial(details.add_tag, tag=tag), heed_lock=False)
    if not accepted.position:
        return empty(204)
    (location, *_) = links.item(call, "servers", server_id)
    return Reply(status=201, headers={"Location": f"{location['href']}/tags/{quote(tag, safe='')}"})


@operations("PUT", PATH, Access.MEMBER, f"{RULE}:update_all", first=since.TAGS, body=TagsBody)
async def replace_all(call: Call) -> Any:
    """Have these tags and no others."""
    await _set(call, tuple(call.body.tags))
    return {"tags": list((await find(call)).tags)}


@operations("DELETE", ITEM, Access.MEMBER, f"{RULE}:delete", first=since.TAGS, status=204)
async def delete(call: Call) -> None:
    await change(call, partial(details.remove_tag, tag=call.params["tag"]), heed_lock=False)


@operations("DELETE", PATH, Access.MEMBER, f"{RULE}:delete_all", first=since.TAGS, status=204)
async def delete_all(call: Call) -> None:
    await _set(call, ())


async def _set(call: Call, tags: tuple[str, ...]) -> None:
    await change(call, partial(details.set_tags, tags=tags), heed_lock=False)
