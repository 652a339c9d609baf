"""Suspend and resume: a guest's memory is kept on disk, and it goes on with that memory."""

from datetime import timedelta

from domain.server.action import Action, ActionDone, ActionDoneAs, ActionRequested, Task, running
from domain.server.state import ACTIVE, SUSPENDED

SUSPENDING, RESUMING = "suspending", "resuming"


class ServerSuspendRequested(ActionRequested, tag="server.suspend_requested", frozen=True, kw_only=True):
    """A suspension was accepted: the guest's memory shall be kept on disk, and its host's be free."""


class ServerSuspended(ActionDoneAs, tag="server.suspended", frozen=True, kw_only=True):
    """The guest's memory is on disk, as was asked."""


class ServerResumeRequested(ActionRequested, tag="server.resume_requested", frozen=True, kw_only=True):
    """The end of a suspension was accepted."""


class ServerResumed(ActionDone, tag="server.resumed", frozen=True, kw_only=True):
    """The guest goes on after its suspension, as was asked."""


SUSPEND = Action(
    name="suspend",
    step="compute_suspend_instance",
    requested=ServerSuspendRequested,
    done=ServerSuspended,
    allowed=(ACTIVE,),
    time=timedelta(minutes=10),
    tasks=(Task(SUSPENDING, "suspend", ServerSuspended.of, with_spec=False),),
    end=lambda _server, event, _meta: {"vm_state": SUSPENDED, "power_state": event.power_state},
)
RESUME = Action(
    name="resume",
    step="compute_resume_instance",
    requested=ServerResumeRequested,
    done=ServerResumed,
    allowed=(SUSPENDED,),
    time=timedelta(minutes=10),
    tasks=(Task(RESUMING, "resume", ServerResumed.of),),
    end=running,
)
