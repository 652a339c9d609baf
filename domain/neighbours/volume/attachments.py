"""Which server has a volume. What a server truly has is Compute's to see to; here it is kept who may have it."""

from datetime import datetime

from domain.errors import Invalid, Refused, not_found
from domain.neighbours.volume.changes import (
    AttachmentCompleted,
    AttachmentConnected,
    AttachmentDeleted,
    AttachmentReserved,
)
from domain.neighbours.volume.state import (
    ATTACHED,
    ATTACHING,
    AVAILABLE,
    IN_USE,
    MAKE,
    REMOVE,
    RESERVED,
    Attachment,
    Storage,
)
from domain.neighbours.volume.volumes import existing as existing_volume

READ_ONLY, READ_WRITE = "ro", "rw"
MODES = (READ_WRITE, READ_ONLY)


def existing(storage: Storage, attachment_id: str) -> Attachment:
    """The attachment; raises Refused (404)."""
    attachment = storage.attachments.get(attachment_id)
    if attachment is None:
        raise not_found("Volume attachment", attachment_id)
    return attachment


def reserve(storage: Storage, asked: AttachmentReserved) -> tuple[AttachmentReserved, ...]:
    """Keep a volume for a server. One server may have several of the same volume, as while it moves; several servers
    may only if the volume is for several, whatever an operator says of its status. Raises Invalid, and Refused
    (404)."""
    volume = existing_volume(storage, asked.volume_id)
    others = storage.attachments_of(volume.id)
    own = bool(others) and asked.instance_id is not None
    own = own and all(other.instance_id == asked.instance_id for other in others)
    allowed = (AVAILABLE, IN_USE, RESERVED, ATTACHING) if volume.multiattach or own else (AVAILABLE,)
    taken = bool(others) and not (volume.multiattach or own)
    if volume.status not in allowed or taken or volume.work in (MAKE, REMOVE):
        raise Invalid(
            f"Invalid volume: Volume {volume.id} status must be available or downloading to reserve, but the current "
            f"status is {volume.status}."
        )
    if volume.readonly and asked.attach_mode == READ_WRITE:
        raise Invalid(f"Invalid volume: Volume {volume.id} is read-only, and cannot be attached as {READ_WRITE}.")
    return (asked,)


def connect(storage: Storage, change: AttachmentConnected) -> tuple[AttachmentConnected, ...]:
    """Tell a host where the bytes are. Raises Invalid, and Refused (404)."""
    attachment = existing(storage, change.attachment_id)
    volume = existing_volume(storage, attachment.volume_id)
    if attachment.status == ATTACHED:
        raise Invalid(f"Invalid attachment: Attachment {attachment.id} is complete already.")
    if volume.readonly and change.attach_mode == READ_WRITE:
        raise Invalid(f"Invalid volume: Volume {volume.id} is read-only, and cannot be attached as {READ_WRITE}.")
    return (change,)


def complete(
    storage: Storage, attachment_id: str, at: datetime, request_id: str | None
) -> tuple[AttachmentCompleted, ...]:
    """The server has it; nothing to do if that is known. Raises Refused (400, 404)."""
    attachment = existing(storage, attachment_id)
    if attachment.status == ATTACHED:
        return ()
    if attachment.status != ATTACHING:
        message = f"Invalid attachment: Attachment {attachment_id} has no connector yet."
        raise Refused("attachment.not_connected", message, status=400)
    return (AttachmentCompleted(attachment_id=attachment_id, at=at, request_id=request_id),)


def delete(
    storage: Storage, attachment_id: str, at: datetime, request_id: str | None
) -> tuple[AttachmentDeleted, ...]:
    """The server has it no longer. Raises Refused (404)."""
    existing(storage, attachment_id)
    return (AttachmentDeleted(attachment_id=attachment_id, at=at, request_id=request_id),)
