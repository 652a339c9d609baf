"""Pause and unpause: a guest stands still, in memory, and goes on."""

from datetime import timedelta

from domain.guest import PowerState
from domain.server.action import Action, ActionDone, ActionRequested, Task, running
from domain.server.state import ACTIVE, PAUSED

PAUSING, UNPAUSING = "pausing", "unpausing"


class ServerPauseRequested(ActionRequested, tag="server.pause_requested", frozen=True, kw_only=True):
    """A pause was accepted: the guest shall stand still, in memory."""


class ServerPaused(ActionDone, tag="server.paused", frozen=True, kw_only=True):
    """The guest stands still, as was asked."""


class ServerUnpauseRequested(ActionRequested, tag="server.unpause_requested", frozen=True, kw_only=True):
    """The end of a pause was accepted."""


class ServerUnpaused(ActionDone, tag="server.unpaused", frozen=True, kw_only=True):
    """The guest goes on after its pause, as was asked."""


PAUSE = Action(
    name="pause",
    step="compute_pause_instance",
    requested=ServerPauseRequested,
    done=ServerPaused,
    allowed=(ACTIVE,),
    time=timedelta(minutes=1),
    tasks=(Task(PAUSING, "pause", ServerPaused.of, with_spec=False),),
    end=lambda _server, _event, _meta: {"vm_state": PAUSED, "power_state": PowerState.PAUSED},
)
UNPAUSE = Action(
    name="unpause",
    step="compute_unpause_instance",
    requested=ServerUnpauseRequested,
    done=ServerUnpaused,
    allowed=(PAUSED,),
    time=timedelta(minutes=1),
    tasks=(Task(UNPAUSING, "unpause", ServerUnpaused.of),),
    end=running,
)
