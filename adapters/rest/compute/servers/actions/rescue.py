"""Rescuing a server: it starts from another image, with its own disk beside it, until it is unrescued.

https://docs.openstack.org/api-ref/compute/#rescue-server-rescue-action
"""

from msgspec import UNSET, UnsetType

from adapters.rest.compute.servers import choices
from adapters.rest.compute.servers.access import find
from adapters.rest.compute.servers.actions.simple import PATH
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, Text255

operations = Operations()


class RescueArguments(Body):
    adminPass: Text255 | UnsetType = UNSET  # noqa: N815 - Nova's name
    rescue_image_ref: Text255 | UnsetType = UNSET


class RescueBody(Body):
    """``{"rescue": null}`` or ``{"rescue": {"rescue_image_ref": …}}``."""

    rescue: RescueArguments | None


@operations("POST", PATH, Access.MEMBER, "os_compute_api:os-rescue", action="rescue", body=RescueBody)
async def rescue(call: Call) -> dict[str, str]:
    """Begin a rescue. The answer holds the password that the rescue system is told on its config drive."""
    asked: RescueArguments = call.body.rescue or RescueArguments()
    server = await find(call)
    image = None
    if asked.rescue_image_ref is not UNSET:
        image = await choices.image(call, asked.rescue_image_ref, server.host)
    password = choices.password(asked.adminPass)
    accepted = await call.services.servers.rescue(call.context, server.id, image, password)
    await call.settle(accepted)
    return {"adminPass": password}
