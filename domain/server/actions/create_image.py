"""Create image: what a guest's disk holds at one moment becomes an image; the guest goes on as it is.

The image is announced before this is asked for; its host makes it and sends it. It is removed if nothing comes of it.
"""

from datetime import datetime, timedelta

from domain.log.record import Event, Metadata
from domain.server.action import Action, ActionDone, ActionRequested, Change, Fields, Task
from domain.server.state import ACTIVE, PAUSED, STOPPED, SUSPENDED, Server

IMAGE_SNAPSHOT, IMAGE_UPLOADING = "image_snapshot", "image_uploading"
SHELVING_IMAGE_PENDING_UPLOAD = "shelving_image_pending_upload"
SHELVING_IMAGE_UPLOADING = "shelving_image_uploading"
SENDING = {
    IMAGE_SNAPSHOT: IMAGE_UPLOADING,
    SHELVING_IMAGE_PENDING_UPLOAD: SHELVING_IMAGE_UPLOADING,
}
"""What follows when the disk is saved, by what has led to it."""
TIME = timedelta(minutes=50)
"""How long the making and the sending of an image may take: less than the ticket for it is good."""


class ServerImageRequested(ActionRequested, tag="server.image_requested", frozen=True, kw_only=True):
    """An image of the server's disk was accepted."""

    image_id: str
    """Of the image, which is announced already."""


class ServerDiskSaved(ActionDone, tag="server.disk_saved", frozen=True, kw_only=True):
    """What the disk held at one moment is a file of its own on the host."""


class ServerImaged(ActionDone, tag="server.imaged", frozen=True, kw_only=True):
    """The image service has that file."""


class ServerImageDropped(Event, tag="server.image_dropped", frozen=True, kw_only=True):
    """An image that was made of the server, and is wanted no longer, is gone."""

    image_id: str


def request(server: Server, deadline: datetime, image_id: str) -> ServerImageRequested:
    """Begin to make the image. Raises Refused (409)."""
    CREATE_IMAGE.check(server)
    return ServerImageRequested(deadline=deadline, image_id=image_id)


def dropped(server: Server | None, image_id: str) -> ServerImageDropped | None:
    """The image is gone; nothing to record if it was not unwanted."""
    if server is None or image_id not in server.unwanted_images:
        return None
    return ServerImageDropped(image_id=image_id)


def given_up(server: Server) -> Fields:
    """What the end of an action means for the image that it was making: nobody wants it."""
    if server.imaging is None:
        return {}
    return {"imaging": None, "unwanted_images": (*server.unwanted_images, server.imaging)}


def _saved(server: Server, _event: ServerDiskSaved, _meta: Metadata) -> Fields:
    return {"task_state": SENDING.get(server.task_state or "", IMAGE_UPLOADING)}


def _dropped(server: Server, event: ServerImageDropped, _meta: Metadata) -> Fields:
    return {"unwanted_images": tuple(each for each in server.unwanted_images if each != event.image_id)}


CREATE_IMAGE = Action(
    name="createImage",
    step="compute_snapshot_instance",
    requested=ServerImageRequested,
    done=ServerImaged,
    allowed=(ACTIVE, STOPPED, PAUSED, SUSPENDED),
    time=TIME,
    tasks=(
        Task(IMAGE_SNAPSHOT, "snapshot", ServerDiskSaved.of, with_spec=False, of_image=True),
        Task(IMAGE_UPLOADING, "upload", ServerImaged.of, with_spec=False, of_image=True),
    ),
    begin=lambda _server, event, _meta: {"imaging": event.image_id},
    end=lambda _server, _event, _meta: {"imaging": None},
)
CHANGES: dict[type[Event], Change] = {ServerDiskSaved: _saved, ServerImageDropped: _dropped}
