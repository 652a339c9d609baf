"""Attachments: which server has a volume, as records. https://docs.openstack.org/api-ref/block-storage/v3/#attachments"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, Integer, Text255, Versions, identifier
from adapters.rest.volume import microversion as since
from adapters.rest.volume.access import find_attachment, find_volume, submit
from adapters.rest.volume.documents import attachment_document, attachment_summary
from adapters.rest.volume.listing import answer, equals, page, projects
from domain.errors import Invalid
from domain.neighbours.volume import attachments
from domain.neighbours.volume.attachments import MODES, READ_WRITE
from domain.neighbours.volume.changes import AttachmentConnected, AttachmentReserved
from domain.neighbours.volume.state import Attachment, Storage

operations = Operations()

PATH = "/attachments"
ITEM = PATH + "/{attachment_id}"
Word = Text255 | Integer | bool | None | Annotated[list[Text255], Meta(max_length=64)]
Connector = dict[Text255, Word]
"""What a host says of itself; host, mountpoint and mode are kept."""
MAX_WORDS = 64
FILTERS: dict[str, Callable[[Attachment, str], bool]] = {
    "id": equals("id"),
    "volume_id": equals("volume_id"),
    "instance_id": equals("instance_id"),
    "instance_uuid": equals("instance_id"),
    "status": equals("status"),
    "attach_status": equals("status"),
    "attach_mode": equals("attach_mode"),
    "attached_host": equals("host"),
}
SORT_KEYS: dict[str, Callable[[Attachment], Any]] = {
    "id": lambda attachment: attachment.id,
    "volume_id": lambda attachment: attachment.volume_id,
    "instance_id": lambda attachment: attachment.instance_id,
    "status": lambda attachment: attachment.status,
    "attach_status": lambda attachment: attachment.status,
    "attach_mode": lambda attachment: attachment.attach_mode,
}


class NewAttachment(Body):
    volume_uuid: Text255
    instance_uuid: Text255 | None = None
    connector: Connector | UnsetType | None = UNSET
    mode: Annotated[Literal["rw", "ro"] | UnsetType | None, Versions(since.ATTACH_MODE)] = UNSET


class CreateBody(Body):
    """``{"attachment": …}``."""

    attachment: NewAttachment


class AttachmentUpdate(Body):
    connector: Connector


class UpdateBody(Body):
    """``{"attachment": …}``."""

    attachment: AttachmentUpdate


class CompleteBody(Body):
    complete: dict[Text255, Text255] | Text255 | None = msgspec.field(name="os-complete")


@operations("GET", PATH, Access.READER, "volume:attachment_get_all", first=since.ATTACHMENTS)
async def index(call: Call) -> Any:
    return _list(call, PATH, attachment_summary)


@operations("GET", PATH + "/detail", Access.READER, "volume:attachment_get_all", first=since.ATTACHMENTS)
async def detail(call: Call) -> Any:
    return _list(call, PATH + "/detail", attachment_document)


def _list(call: Call, path: str, document: Callable[[Attachment], dict[str, Any]]) -> Any:
    found, more, count = page(call, _all(call), FILTERS, SORT_KEYS)
    return answer(call, "attachments", path, list(map(document, found)), more=more, count=count)


def _all(call: Call) -> Iterator[Attachment]:
    for known in projects(call):
        yield from reversed(list(known.attachments.values()))


@operations("POST", PATH, Access.MEMBER, "volume:attachment_create", body=CreateBody, first=since.ATTACHMENTS)
async def create(call: Call) -> Any:
    """Keep a volume for a server; with a connector it is on its way there."""
    asked: NewAttachment = call.body.attachment
    found, volume = find_volume(call, identifier("volume_uuid", asked.volume_uuid))
    instance_id = identifier("instance_uuid", asked.instance_uuid) if asked.instance_uuid else None
    reserved = AttachmentReserved(
        attachment_id=call.services.stamp.ids.uuid(),
        volume_id=volume.id,
        instance_id=instance_id,
        attach_mode=asked.mode if asked.mode is not UNSET else None,
        at=call.services.stamp.clock.now(),
        request_id=call.context.request_id,
    )
    connected = None
    if asked.connector is not UNSET and asked.connector:
        connected = _connected(call, reserved.attachment_id, asked.connector, reserved.attach_mode)

    def decide(state: Storage) -> tuple[Any, ...]:
        first = attachments.reserve(state, reserved)
        return (*first, connected) if connected else first

    known, _ = await submit(call, found.project_id, decide)
    return {"attachment": attachment_document(attachments.existing(known, reserved.attachment_id))}


def _connected(
    call: Call, attachment_id: str, connector: Connector, reserved_mode: str | None
) -> AttachmentConnected:
    if len(connector) > MAX_WORDS:
        raise Invalid(f"Invalid input received: A connector says at most {MAX_WORDS} things.")
    mode = connector.get("mode") or reserved_mode or READ_WRITE
    if mode not in MODES:
        raise Invalid(f"Invalid input received: The mode of a connector is one of {', '.join(MODES)}.")
    host, mountpoint = connector.get("host"), connector.get("mountpoint")
    if not isinstance(host, str) or not host:
        raise Invalid("Invalid input received: Connector object does not specify a host.")
    return AttachmentConnected(
        attachment_id=attachment_id,
        host=host,
        mountpoint=str(mountpoint) if mountpoint else None,
        attach_mode=str(mode),
        at=call.services.stamp.clock.now(),
        request_id=call.context.request_id,
    )


@operations("GET", ITEM, Access.READER, "volume:attachment_get", first=since.ATTACHMENTS)
async def show(call: Call) -> Any:
    return {"attachment": attachment_document(find_attachment(call)[1])}


@operations("PUT", ITEM, Access.MEMBER, "volume:attachment_update", body=UpdateBody, first=since.ATTACHMENTS)
async def update(call: Call) -> Any:
    """Say which host it goes to."""
    found, attachment = find_attachment(call)
    connector = call.body.attachment.connector
    connected = _connected(call, attachment.id, connector, attachment.attach_mode)
    known, _ = await submit(call, found.project_id, lambda state: attachments.connect(state, connected))
    return {"attachment": attachment_document(attachments.existing(known, attachment.id))}


@operations("POST", ITEM + "/action", Access.MEMBER, "volume:attachment_complete", action="os-complete",
            body=CompleteBody, first=since.COMPLETION, status=204)  # fmt: skip
async def complete(call: Call) -> None:
    """The server has it."""
    found, attachment = find_attachment(call)
    at, request_id = call.services.stamp.clock.now(), call.context.request_id
    await submit(call, found.project_id, lambda state: attachments.complete(state, attachment.id, at, request_id))


@operations("DELETE", ITEM, Access.MEMBER, "volume:attachment_delete", first=since.ATTACHMENTS)
async def delete(call: Call) -> Any:
    """The server has it no longer; the attachments that its volume still has."""
    found, attachment = find_attachment(call)
    at, request_id = call.services.stamp.clock.now(), call.context.request_id
    known, _ = await submit(
        call, found.project_id, lambda state: attachments.delete(state, attachment.id, at, request_id)
    )
    return {"attachments": [attachment_summary(each) for each in known.attachments_of(attachment.volume_id)]}
