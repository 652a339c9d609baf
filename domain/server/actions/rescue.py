"""Rescue and unrescue: a guest starts from another image, its own disk beside it, until that is ended."""

from datetime import datetime, timedelta

from domain.errors import Refused
from domain.guest import ImageSource, PowerState
from domain.log.record import Metadata
from domain.server.action import Action, ActionDone, ActionRequested, Fields, Task, running
from domain.server.parts import Rescue
from domain.server.state import ACTIVE, ERROR, RESCUED, STOPPED, Server

RESCUING, UNRESCUING = "rescuing", "unrescuing"


class ServerRescueRequested(ActionRequested, tag="server.rescue_requested", frozen=True, kw_only=True):
    """A rescue was accepted: the guest shall start from a fresh disk of ``image``, its own disk beside it."""

    image: ImageSource
    secrets: str | None = None
    """The password of the rescue system, sealed."""


class ServerRescued(ActionDone, tag="server.rescued", frozen=True, kw_only=True):
    """The rescue system runs."""


class ServerUnrescueRequested(ActionRequested, tag="server.unrescue_requested", frozen=True, kw_only=True):
    """The end of a rescue was accepted: the guest shall start from its own disk again."""


class ServerUnrescued(ActionDone, tag="server.unrescued", frozen=True, kw_only=True):
    """The guest runs from its own disk again."""


def request(
    server: Server, deadline: datetime, image: ImageSource | None, secrets: str | None
) -> ServerRescueRequested:
    """Begin a rescue from ``image``, or from the server's own image if that is None. Raises Refused."""
    RESCUE.check(server)
    image = image or server.image
    if image is None:
        raise Refused("server.not_rescuable", f"Instance {server.id} cannot be rescued: it has no image", status=400)
    return ServerRescueRequested(deadline=deadline, image=image, secrets=secrets)


def _begin(server: Server, event: ServerRescueRequested, _meta: Metadata) -> Fields:
    rescue = Rescue(image=event.image, secrets=event.secrets)
    return {"rescue": rescue, "has_key": server.has_key or event.secrets is not None}


RESCUE = Action(
    name="rescue",
    step="compute_rescue_instance",
    requested=ServerRescueRequested,
    done=ServerRescued,
    allowed=(ACTIVE, STOPPED, ERROR),
    time=timedelta(minutes=10),
    tasks=(Task(RESCUING, "rescue", ServerRescued.of, in_doubt=True),),
    begin=_begin,
    end=lambda _server, _event, _meta: {"vm_state": RESCUED, "power_state": PowerState.RUNNING},
)
UNRESCUE = Action(
    name="unrescue",
    step="compute_unrescue_instance",
    requested=ServerUnrescueRequested,
    done=ServerUnrescued,
    allowed=(RESCUED,),
    time=timedelta(minutes=4),
    tasks=(Task(UNRESCUING, "unrescue", ServerUnrescued.of, in_doubt=True),),
    begin=lambda _server, _event, _meta: {"rescue": None},
    end=running,
)
