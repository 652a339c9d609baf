"""The volumes of a server. Nothing can be attached yet: what is asked is answered as for a server without any.

https://docs.openstack.org/api-ref/compute/#servers-with-volume-attachments-servers-os-volume-attachments
"""

from typing import Annotated, Any, Never

from msgspec import UNSET, UnsetType

from adapters.rest.compute.servers.access import find
from adapters.rest.compute.servers.create_body import Tag
from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, Flag, Text255, Versions, boolean, identifier
from domain.errors import Refused

operations = Operations()

PATH = "/servers/{server_id}/os-volume_attachments"
RULE = "os_compute_api:os-volumes-attachments"


class Attachment(Body):
    volumeId: Text255  # noqa: N815 - Nova's name
    device: Text255 | UnsetType | None = UNSET
    tag: Annotated[Tag | UnsetType, Versions(49)] = UNSET
    delete_on_termination: Annotated[Flag | UnsetType, Versions(79)] = UNSET


class AttachmentBody(Body):
    """``{"volumeAttachment": {"volumeId": …}}``."""

    volumeAttachment: Attachment  # noqa: N815


@operations("GET", PATH, Access.READER, f"{RULE}:index")
async def index(call: Call) -> Any:
    await find(call)
    return {"volumeAttachments": []}


@operations("POST", PATH, Access.MEMBER, f"{RULE}:create", body=AttachmentBody)
async def attach(call: Call) -> Never:
    await find(call)
    asked: Attachment = call.body.volumeAttachment
    volume_id = identifier("volumeId", asked.volumeId)
    if asked.delete_on_termination is not UNSET:
        boolean("delete_on_termination", asked.delete_on_termination)
    await call.services.neighbours.volumes.check(call.context, volume_id)
    raise not_implemented("Attaching volumes")


@operations("GET", PATH + "/{volume_id}", Access.READER, f"{RULE}:show")
async def show(call: Call) -> Never:
    raise _not_attached((await find(call)).id, call.params["volume_id"])


@operations("DELETE", PATH + "/{volume_id}", Access.MEMBER, f"{RULE}:delete")
async def detach(call: Call) -> Never:
    server, volume_id = await find(call), call.params["volume_id"]
    await call.services.neighbours.volumes.check(call.context, volume_id)
    raise _not_attached(server.id, volume_id)


def _not_attached(server_id: str, volume_id: str) -> Refused:
    message = f"Instance {server_id} is not attached to volume {volume_id}"
    return Refused("volume.not_attached", message, status=404)
