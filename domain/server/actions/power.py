"""Stop and start: a guest is powered off in an orderly way, and on again."""

from datetime import timedelta

from domain.guest import PowerState
from domain.server.action import Action, ActionDone, ActionRequested, Task, running
from domain.server.state import ACTIVE, ERROR, STOPPED

POWERING_OFF, POWERING_ON = "powering-off", "powering-on"


class ServerStopRequested(ActionRequested, tag="server.stop_requested", frozen=True, kw_only=True):
    """Power off was accepted."""


class ServerStopped(ActionDone, tag="server.stopped", frozen=True, kw_only=True):
    """The guest is off, as was asked."""


class ServerStartRequested(ActionRequested, tag="server.start_requested", frozen=True, kw_only=True):
    """Power on was accepted."""


class ServerStarted(ActionDone, tag="server.started", frozen=True, kw_only=True):
    """The guest is on, as was asked."""


STOP = Action(
    name="stop",
    step="compute_stop_instance",
    requested=ServerStopRequested,
    done=ServerStopped,
    allowed=(ACTIVE, ERROR),
    time=timedelta(minutes=3),
    tasks=(Task(POWERING_OFF, "stop", ServerStopped.of, with_spec=False),),
    end=lambda _server, _event, _meta: {"vm_state": STOPPED, "power_state": PowerState.SHUTDOWN},
)
START = Action(
    name="start",
    step="compute_start_instance",
    requested=ServerStartRequested,
    done=ServerStarted,
    allowed=(STOPPED,),
    time=timedelta(minutes=3),
    tasks=(Task(POWERING_ON, "start", ServerStarted.of),),
    end=running,
)
