"""Making an image of a server.

https://docs.openstack.org/api-ref/compute/#create-image-createimage-action
"""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from adapters.rest.compute.servers.actions.simple import PATH
from adapters.rest.kit import since
from adapters.rest.kit.operation import Access, Call, Operations, Reply
from adapters.rest.kit.validation import Body, Name, StringMap
from domain.errors import Refused
from domain.server.limits import MAX_METADATA
from handlers.servers.images import make_image

operations = Operations()


class ImageArguments(Body):
    name: Name
    metadata: StringMap | UnsetType = UNSET


class ImageBody(Body):
    """``{"createImage": {"name": "backup", "metadata": {}}}``."""

    arguments: ImageArguments = msgspec.field(name="createImage")


@operations("POST", PATH, Access.MEMBER, "os_compute_api:servers:create_image", action="createImage", body=ImageBody,
            status=202)  # fmt: skip
async def create_image(call: Call) -> Any:
    """Begin to make the image; the answer tells which."""
    asked: ImageArguments = call.body.arguments
    metadata: dict[str, str] = asked.metadata if asked.metadata is not UNSET else {}
    if len(metadata) > MAX_METADATA:
        raise Refused("image.metadata_limit", "Image metadata limit exceeded", status=403)
    services = call.services
    image_id, accepted = await make_image(
        services.servers, services.neighbours.images, call.context, call.params["server_id"], asked.name, metadata
    )
    await call.settle(*accepted)
    if call.minor >= since.IMAGE_ID_TOLD:
        return {"image_id": image_id}
    return Reply(headers={"Location": f"{services.settings.public_url}/image/images/{image_id}"})
