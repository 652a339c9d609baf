"""Unshelve: a server is there again. One that has a host starts on it; one that has none is scheduled anew, as a
creation is, and is made of the image that was made of its disk."""

from datetime import datetime, timedelta

import msgspec

from domain.errors import Refused
from domain.guest import ImageSource
from domain.log.record import Metadata
from domain.server.action import Action, ActionDoneAs, ActionRequested, Fields, ServerActionFailed, Task
from domain.server.parts import Fault
from domain.server.state import (
    ACTIVE,
    OFFLOADED,
    SHELVED,
    SPAWNING,
    UNSHELVE_NAME,
    UNSHELVING,
    VM_STATE_OF_POWER,
    Server,
)

replace = msgspec.structs.replace


class ServerUnshelveRequested(ActionRequested, tag="server.unshelve_requested", frozen=True, kw_only=True):
    """A server that was put away shall be there again."""

    image: ImageSource | None = None
    """What its disk is made of; None for one that has it still, on its host."""
    zone: str | None = None
    """To which it is pinned from now on; None: to none."""
    requested_host: str | None = None


class ServerUnshelved(ActionDoneAs, tag="server.unshelved", frozen=True, kw_only=True):
    """The guest runs again."""


def request(
    server: Server, deadline: datetime, image: ImageSource | None, zone: str | None, host: str | None
) -> ServerUnshelveRequested:
    """Begin to have it again. Raises Refused (409)."""
    UNSHELVE.check(server)
    if (server.vm_state == OFFLOADED) != (image is not None):
        # It has left its host, or has come back, since that was looked at.
        raise Refused(
            "server.state", f"Cannot 'unshelve' instance {server.id} while it is in vm_state {server.vm_state}"
        )
    return ServerUnshelveRequested(deadline=deadline, image=image, zone=zone, requested_host=host)


def given_up(server: Server | None, fault: Fault) -> ServerActionFailed | None:
    """No host can have it again; unless one was found meanwhile."""
    if server is None or server.host is not None or not server.is_returning:
        return None
    return ServerActionFailed(fault=fault)


def failed(server: Server, event: ServerActionFailed) -> Fields:
    """What the failure means for what it had already."""
    if server.action is None or server.action.name != UNSHELVE.name:
        return {}
    if server.is_returning:
        # A claim may have been made of which no event tells: its epoch is void.
        burnt = server.newest_epoch + 1
        return {"host": None, "host_id": None, "availability_zone": None, "assignments": burnt, "failed_hosts": ()}
    # In doubt it is on its host, and the image stays with its project: it may be all that can be reached.
    return {"shelf": None} if event.to_error else {}


def _begun(server: Server, event: ServerUnshelveRequested, _meta: Metadata) -> Fields:
    if event.image is None:
        return {}
    return {
        "shelf": replace(server.shelf, image=event.image) if server.shelf else None,
        "requested_zone": event.zone,
        "requested_host": event.requested_host,
        "failed_hosts": (),
    }


def _unshelved(server: Server, event: ServerUnshelved, meta: Metadata) -> Fields:
    return {
        "vm_state": VM_STATE_OF_POWER.get(event.power_state, ACTIVE),
        "power_state": event.power_state,
        "shelf": None,
        "unwanted_images": server.images_of_it,
        "launched_at": meta.time,
        "fault": None,
        "fault_at": None,
        "failed_hosts": (),
    }


UNSHELVE = Action(
    name=UNSHELVE_NAME,
    step="conductor_unshelve_instance",
    requested=ServerUnshelveRequested,
    done=ServerUnshelved,
    allowed=(SHELVED, OFFLOADED),
    time=timedelta(minutes=10),
    tasks=(Task(UNSHELVING, "start", ServerUnshelved.of),),
    begin=_begun,
    end=_unshelved,
)
BUILD = Task(SPAWNING, "build", ServerUnshelved.of)
"""What its new host is told."""
