"""Servers that are put away, and had again."""

from collections.abc import Callable

from domain.errors import Invalid, Refused
from domain.guest import ImageSource
from domain.server.actions import shelve, unshelve
from domain.server.actions.shelve import SHELVE
from domain.server.actions.unshelve import UNSHELVE
from domain.server.state import OFFLOADED, Server
from handlers.accepted import Accepted
from handlers.context import Context
from handlers.neighbours import Images, NewImage
from handlers.servers.images import snapshot_properties
from handlers.servers.servers import Servers

MAX_NAME = 255


async def put_away(
    servers: Servers, images: Images, context: Context, server_id: str, offload_after: float | None
) -> tuple[Accepted, ...]:
    """Shelve the server; after so many seconds it leaves its host, None: never. Its image belongs to its own project.
    Raises Refused (403 beyond a limit, 404, 409)."""
    server = await servers.ready_for(context, server_id, SHELVE)
    suffix = "-shelved"
    new = NewImage(
        name=server.name[: MAX_NAME - len(suffix)] + suffix,
        owner=server.project_id,
        base=server.image,
        properties=snapshot_properties(server, context.user_id),
    )
    image_id, announced = await images.announce(context, new)
    try:
        accepted = await servers.act(
            context,
            server_id,
            SHELVE,
            lambda state, deadline: shelve.request(state, deadline, image_id, offload_after),
        )
    except Refused:
        # Of an answer that was lost nobody knows whether it was yes.
        await images.remove(context, image_id)
        raise
    return announced, accepted


async def have_again(
    servers: Servers,
    images: Images,
    context: Context,
    server_id: str,
    zone: Callable[[Server], str | None] = lambda server: server.requested_zone,
    host: str | None = None,
) -> Accepted:
    """Unshelve the server, in the zone to which it is to be pinned from now on, on that host if one is named.

    Raises Refused (404, 409, also if the image that was made of it is not to be had).
    """
    server = await servers.ready_for(context, server_id, UNSHELVE)
    image = await _image_of(images, context, server)
    return await servers.act(
        context,
        server_id,
        UNSHELVE,
        lambda state, deadline: unshelve.request(state, deadline, image, zone(state), host),
    )


async def _image_of(images: Images, context: Context, server: Server) -> ImageSource | None:
    if server.vm_state != OFFLOADED or server.shelf is None:
        return None
    try:
        return (await images.bootable(context, server.shelf.image_id)).source
    except Invalid:
        raise Refused(
            "server.no_image",
            f"Cannot 'unshelve' instance {server.id}: the image {server.shelf.image_id}, which has its disk, is gone",
        ) from None
