"""Images that users have made of their servers."""

from domain.errors import Refused
from domain.server.actions import create_image
from domain.server.actions.create_image import CREATE_IMAGE
from domain.server.state import Server
from handlers.accepted import Accepted
from handlers.context import Context
from handlers.neighbours import Images, NewImage
from handlers.servers.servers import Servers


async def make_image(
    servers: Servers, images: Images, context: Context, server_id: str, name: str, metadata: dict[str, str]
) -> tuple[str, tuple[Accepted, ...]]:
    """Have an image made of the server's disk, for the caller's project; returns its id.

    Raises Refused (403 beyond a limit, 404, 409). An image is announced first: should this process end before the
    server's event, it waits for its bytes for ever, as one that a user has announced and forgotten.
    """
    server = await servers.ready_for(context, server_id, CREATE_IMAGE)
    new = NewImage(
        name=name,
        owner=context.project_id or server.project_id,
        base=server.image,
        properties=snapshot_properties(server, context.user_id) | metadata,
    )
    image_id, announced = await images.announce(context, new)
    try:
        accepted = await servers.act(
            context, server_id, CREATE_IMAGE, lambda state, deadline: create_image.request(state, deadline, image_id)
        )
    except Refused:
        # Of an answer that was lost nobody knows whether it was yes.
        await images.remove(context, image_id)
        raise
    return image_id, (announced, accepted)


def snapshot_properties(server: Server, user_id: str | None) -> dict[str, str]:
    """What Nova says of an image that it has made of a server."""
    return {
        "image_type": "snapshot",
        "image_location": "snapshot",
        "image_state": "available",
        "instance_uuid": server.id,
        "owner_id": server.project_id,
        "user_id": user_id or server.user_id,
        **({"base_image_ref": server.image.id} if server.image else {}),
    }
