"""Reboot: soft while active; hard in any state with a guest, also over an action whose host does not answer."""

from datetime import datetime, timedelta

from domain.log.record import Metadata
from domain.server.action import (
    Action,
    ActionDone,
    ActionRequested,
    Fields,
    Task,
    check,
    check_move,
    running,
    superseded,
)
from domain.server.actions.pause import PAUSING, UNPAUSING
from domain.server.actions.power import POWERING_OFF
from domain.server.actions.suspend import RESUMING, SUSPENDING
from domain.server.state import ACTIVE, ERROR, PAUSED, STOPPED, SUSPENDED, Server

REBOOTING, REBOOTING_HARD = "rebooting", "rebooting_hard"


class ServerRebootRequested(ActionRequested, tag="server.reboot_requested", frozen=True, kw_only=True):
    """A reboot was accepted."""

    hard: bool
    supersedes: str | None = None
    """The request id of the action under way that ends by this."""


class ServerRebooted(ActionDone, tag="server.rebooted", frozen=True, kw_only=True):
    """The guest runs again, as was asked."""


TAKEN_OVER = (REBOOTING, REBOOTING_HARD, PAUSING, UNPAUSING, SUSPENDING, RESUMING, POWERING_OFF)
"""Over which a hard reboot may be asked for: Nova's ALLOW_REBOOT, and a stop that hangs."""


def request(server: Server, deadline: datetime, *, hard: bool) -> ServerRebootRequested:
    """Begin a reboot. Raises Refused (409)."""
    if hard:
        check(server, "reboot", REBOOT.allowed, (None, *TAKEN_OVER))
    else:
        check(server, "reboot", (ACTIVE,))
    check_move(server, "reboot")
    return ServerRebootRequested(deadline=deadline, hard=hard, supersedes=superseded(server))


def _begin(_server: Server, event: ServerRebootRequested, _meta: Metadata) -> Fields:
    return {"task_state": REBOOTING_HARD if event.hard else REBOOTING}


REBOOT = Action(
    name="reboot",
    step="compute_reboot_instance",
    requested=ServerRebootRequested,
    done=ServerRebooted,
    allowed=(ACTIVE, STOPPED, PAUSED, SUSPENDED, ERROR),
    time=timedelta(minutes=4),
    tasks=(
        Task(REBOOTING, "reboot_soft", ServerRebooted.of, in_doubt=True),
        Task(REBOOTING_HARD, "reboot_hard", ServerRebooted.of, in_doubt=True),
    ),
    begin=_begin,
    end=running,
)
