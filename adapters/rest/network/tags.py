"""Tags of networks and subnets. https://docs.openstack.org/api-ref/network/v2/#standard-attributes-tag-extension"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from msgspec import Meta
from msgspec.structs import replace

from adapters.rest.kit.operation import Access, Call, Operations, Reply
from adapters.rest.kit.validation import Body, check
from adapters.rest.network.access import find, find_subnet
from adapters.rest.network.attributes import require_owner
from domain.errors import Refused
from domain.neighbours import network as domain_network
from domain.neighbours.network import Network, NetworkChanged, Subnet

operations = Operations()

MAX_TAGS = 50
Tag = Annotated[str, Meta(min_length=1, max_length=255)]
Tags = tuple[str, ...]


class TagsBody(Body):
    """``{"tags": […]}``."""

    tags: Annotated[list[Tag], Meta(max_length=MAX_TAGS)]


def _thing(call: Call) -> tuple[Network, Subnet | None]:
    """What the path is about. Raises Refused (404)."""
    if "network_id" in call.params:
        return find(call, call.params["network_id"]), None
    return find_subnet(call, call.params["subnet_id"])


def _tags(network: Network, subnet: Subnet | None) -> Tags:
    return subnet.tags if subnet else network.tags


async def _have(call: Call, edit: Callable[[Tags], Iterable[str]]) -> Tags:
    """Have other tags, made of those that it has at that moment."""
    network, subnet = _thing(call)
    require_owner(call, network.project_id, "update_tags")

    def changed(tags: Tags) -> Tags:
        wanted = tuple(dict.fromkeys(edit(tags)))
        if len(wanted) > MAX_TAGS:
            raise Refused("tag_limit_exceeded", f"No more than {MAX_TAGS} tags.", status=400)
        return wanted

    def of_network(present: Network) -> NetworkChanged:
        return NetworkChanged(
            name=present.name, description=present.description, mtu=present.mtu, shared=present.shared,
            tags=changed(present.tags),
        )  # fmt: skip

    def of_subnet(present: Subnet) -> Subnet:
        return replace(present, tags=changed(present.tags))

    network, accepted = await call.services.registry.execute(
        call.context,
        domain_network.aggregate(network.id),
        lambda known: (
            domain_network.change_subnet(known, subnet.id, of_subnet)
            if subnet
            else domain_network.change(known, of_network)
        ),
    )
    tags = _tags(network, network.subnets[subnet.id] if subnet else None)
    await call.settle(accepted)
    return tags


@operations("GET", "/v2.0/networks/{network_id}/tags", Access.READER, "get_tags")
@operations("GET", "/v2.0/subnets/{subnet_id}/tags", Access.READER, "get_tags")
async def index(call: Call) -> Any:
    return {"tags": list(_tags(*_thing(call)))}


@operations("PUT", "/v2.0/networks/{network_id}/tags", Access.MEMBER, "update_tags", body=TagsBody)
@operations("PUT", "/v2.0/subnets/{subnet_id}/tags", Access.MEMBER, "update_tags", body=TagsBody)
async def replace_all(call: Call) -> Any:
    return {"tags": list(await _have(call, lambda _: call.body.tags))}


@operations("DELETE", "/v2.0/networks/{network_id}/tags", Access.MEMBER, "delete_tags", status=204)
@operations("DELETE", "/v2.0/subnets/{subnet_id}/tags", Access.MEMBER, "delete_tags", status=204)
async def delete_all(call: Call) -> None:
    await _have(call, lambda _: ())


@operations("GET", "/v2.0/networks/{network_id}/tags/{tag}", Access.READER, "get_tags", status=204)
@operations("GET", "/v2.0/subnets/{subnet_id}/tags/{tag}", Access.READER, "get_tags", status=204)
async def show(call: Call) -> None:
    """Whether it has the tag."""
    _find(call)


@operations("PUT", "/v2.0/networks/{network_id}/tags/{tag}", Access.MEMBER, "update_tags", status=201)
@operations("PUT", "/v2.0/subnets/{subnet_id}/tags/{tag}", Access.MEMBER, "update_tags", status=201)
async def add(call: Call) -> Any:
    tag = check("tag", call.params["tag"], Tag)
    await _have(call, lambda tags: (*tags, tag))
    return Reply(status=201)


@operations("DELETE", "/v2.0/networks/{network_id}/tags/{tag}", Access.MEMBER, "delete_tags", status=204)
@operations("DELETE", "/v2.0/subnets/{subnet_id}/tags/{tag}", Access.MEMBER, "delete_tags", status=204)
async def remove(call: Call) -> None:
    tag = _find(call)
    await _have(call, lambda tags: (each for each in tags if each != tag))


def _find(call: Call) -> str:
    tag = call.params["tag"]
    if tag not in _tags(*_thing(call)):
        raise Refused("tag_not_found", f"Tag {tag[:255]} could not be found.", status=404)
    return tag
