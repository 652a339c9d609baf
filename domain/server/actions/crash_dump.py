"""Trigger a crash dump: the guest gets an NMI; what it makes of it is its own affair."""

from datetime import timedelta

from domain.server.action import Action, ActionDone, ActionRequested, Task, nothing
from domain.server.state import ACTIVE, ERROR, PAUSED, RESCUED

TRIGGERING_CRASH_DUMP = "triggering_crash_dump"
"""A task_state of our own: Nova shows none meanwhile."""


class ServerCrashDumpRequested(ActionRequested, tag="server.crash_dump_requested", frozen=True, kw_only=True):
    """An NMI for the guest was accepted, so that its system writes a crash dump."""


class ServerCrashDumpTriggered(ActionDone, tag="server.crash_dump_triggered", frozen=True, kw_only=True):
    """The guest got the NMI, as was asked."""


TRIGGER_CRASH_DUMP = Action(
    name="trigger_crash_dump",
    step="compute_trigger_crash_dump",
    requested=ServerCrashDumpRequested,
    done=ServerCrashDumpTriggered,
    allowed=(ACTIVE, PAUSED, RESCUED, ERROR),
    time=timedelta(minutes=1),
    tasks=(Task(TRIGGERING_CRASH_DUMP, "inject_nmi", ServerCrashDumpTriggered.of, with_spec=False),),
    end=nothing,
)
