"""Shelve: a server is put away. An image is made of its disk, its guest is off; offloaded, it has no host any more.

What it holds beside its host (its quota, its addresses, its name and tags) stays its own. So it is in Nova.
"""

from datetime import datetime, timedelta

import msgspec

from domain.guest import PowerState
from domain.log.record import Event, Metadata
from domain.server.action import Action, ActionDone, ActionRequested, Change, Fields, ServerActionFailed, Task
from domain.server.actions.create_image import (
    SHELVING_IMAGE_PENDING_UPLOAD,
    SHELVING_IMAGE_UPLOADING,
    TIME,
    ServerDiskSaved,
)
from domain.server.parts import Shelf
from domain.server.state import ACTIVE, OFFLOADED, PAUSED, SHELVED, STOPPED, SUSPENDED, Server

SHELVING, SHELVING_OFFLOADING = "shelving", "shelving_offloading"

replace = msgspec.structs.replace


class ServerShelveRequested(ActionRequested, tag="server.shelve_requested", frozen=True, kw_only=True):
    """A server shall be put away."""

    image_id: str
    """Of the image to be made of its disk, which is announced already."""
    offload_after: float | None
    """Seconds after which it leaves its host; 0 at once, None never by itself."""


class ServerLaidDown(ActionDone, tag="server.laid_down", frozen=True, kw_only=True):
    """The guest of a server that is put away is off."""


class ServerShelved(ActionDone, tag="server.shelved", frozen=True, kw_only=True):
    """The server's disk is an image, and its guest is off."""

    offloading: bool = False
    """Whether it leaves its host at once: then the action goes on."""


class ServerOffloadRequested(ActionRequested, tag="server.offload_requested", frozen=True, kw_only=True):
    """A shelved server shall leave its host: its user says so, or its time is over."""


class ServerOffloaded(ActionDone, tag="server.offloaded", frozen=True, kw_only=True):
    """Nothing of a shelved server is on a host, and no host's resources are claimed for it. ``without_host``: its
    host does not answer, and removes what is left when it comes back."""

    without_host: bool = False


def request(server: Server, deadline: datetime, image_id: str, offload_after: float | None) -> ServerShelveRequested:
    """Begin to put a server away. Raises Refused (409)."""
    SHELVE.check(server)
    return ServerShelveRequested(deadline=deadline, image_id=image_id, offload_after=offload_after)


def with_what_follows(server: Server, event: ActionDone) -> ActionDone:
    """What a host's success is recorded as, with what the server was asked for."""
    if isinstance(event, ServerShelved) and server.shelf and server.shelf.offload_after == 0:
        return replace(event, offloading=True)
    return event


def offloaded_by_time(server: Server | None, now: datetime) -> ServerOffloadRequested | None:
    """A shelved server leaves its host, if nobody has wanted it back in time."""
    if server is None or server.action or server.vm_state != SHELVED or not server.shelf:
        return None
    if server.shelf.offload_at is None or now < server.shelf.offload_at:
        return None
    return ServerOffloadRequested(deadline=now + OFFLOAD.time)


def is_offloading(server: Server) -> bool:
    """Whether it is about to leave its host: then what it claims there has to be given back before."""
    return server.task_state == SHELVING_OFFLOADING


def offloaded(server: Server | None, *, without_host: bool) -> ServerOffloaded | None:
    """Nothing is left on its host, or it will be removed."""
    if server is None or not is_offloading(server):
        return None
    return ServerOffloaded(epoch=server.epoch, without_host=without_host)


def given_up(server: Server, event: ServerActionFailed) -> Fields:
    """What the failure of an action means for a server that it was to put away: its guest may be off already."""
    if server.action is None or server.action.name != SHELVE.name:
        return {}
    is_off = server.task_state != SHELVING and not event.to_error
    return {"shelf": None} | ({"vm_state": STOPPED} if is_off else {})


def _begun(_server: Server, event: ServerShelveRequested, _meta: Metadata) -> Fields:
    shelf = Shelf(image_id=event.image_id, offload_after=event.offload_after)
    return {"shelf": shelf, "imaging": event.image_id}


def _laid_down(_server: Server, _event: ServerLaidDown, _meta: Metadata) -> Fields:
    return {"task_state": SHELVING_IMAGE_PENDING_UPLOAD, "power_state": PowerState.SHUTDOWN}


def _shelved(server: Server, event: ServerShelved, meta: Metadata) -> Fields:
    fields: Fields = {"vm_state": SHELVED, "imaging": None, "fault": None, "fault_at": None}
    if event.offloading and server.action:
        action = replace(server.action, deadline=meta.time + OFFLOAD.time)
        return fields | {"task_state": SHELVING_OFFLOADING, "action": action}
    after = server.shelf.offload_after if server.shelf else None
    return fields | _waiting(server, meta.time + timedelta(seconds=after) if after else None)


def _offloaded(server: Server, _event: ServerOffloaded, _meta: Metadata) -> Fields:
    return _waiting(server, None) | {
        "vm_state": OFFLOADED,
        "power_state": PowerState.SHUTDOWN,
        "host": None,
        "host_id": None,
        "availability_zone": None,
    }


def _waiting(server: Server, offload_at: datetime | None) -> Fields:
    return {"shelf": replace(server.shelf, offload_at=offload_at) if server.shelf else None}


SHELVE = Action(
    name="shelve",
    step="compute_shelve_instance",
    requested=ServerShelveRequested,
    done=ServerShelved,
    allowed=(ACTIVE, STOPPED, PAUSED, SUSPENDED),
    time=TIME,
    tasks=(
        Task(SHELVING, "stop", ServerLaidDown.of, with_spec=False),
        Task(SHELVING_IMAGE_PENDING_UPLOAD, "snapshot", ServerDiskSaved.of, with_spec=False, of_image=True),
        Task(SHELVING_IMAGE_UPLOADING, "upload", ServerShelved.of, with_spec=False, of_image=True),
    ),
    begin=_begun,
    end=_shelved,
)
OFFLOAD = Action(
    name="shelveOffload",
    step="compute_shelve_offload_instance",
    requested=ServerOffloadRequested,
    done=ServerOffloaded,
    allowed=(SHELVED,),
    time=timedelta(minutes=2),
    tasks=(Task(SHELVING_OFFLOADING, "discard", ServerOffloaded.of, with_spec=False, can_fail=False),),
    end=_offloaded,
)
CHANGES: dict[type[Event], Change] = {ServerLaidDown: _laid_down}
