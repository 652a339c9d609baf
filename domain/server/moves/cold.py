"""Resize and cold migration: a guest is powered off, its disk goes to the target, and it starts there. Then the user
says whether that is well (confirm) or the server shall be what it was, where it was (revert). So it is in Nova.
"""

from datetime import datetime, timedelta

from domain.catalogue.flavor import Flavor
from domain.errors import Refused
from domain.guest import PowerState
from domain.log.record import Event, Metadata
from domain.server.action import Action, ActionDone, ActionDoneAs, ActionRequested, Change, Fields, Task
from domain.server.moves.course import (
    LIVE_CLEARING,
    RESIZE_MIGRATING,
    RETURNING,
    UNDOING,
    MoveRequested,
    ServerTargetCleared,
    began,
    begun,
    moving,
    on,
    powered,
    replace,
)
from domain.server.moves.move import MIGRATION, RESIZE, SOURCE, TARGET
from domain.server.state import ACTIVE, ERROR, RESIZED, STOPPED, Server

RESIZE_FINISH, RESIZE_CONFIRMING, RESIZE_REVERTING = "resize_finish", "resize_confirming", "resize_reverting"
TAKING_BACK = "taking_back"
"""The second leg of a revert."""
OFF = (PowerState.SHUTDOWN, PowerState.CRASHED)


class ServerResizeRequested(MoveRequested, tag="server.resize_requested", frozen=True, kw_only=True):
    """A resize was accepted: the server shall be of another flavor, wherever there is room for it."""


class ServerMigrateRequested(MoveRequested, tag="server.migrate_requested", frozen=True, kw_only=True):
    """A cold migration was accepted: the server shall be on another host."""


class ServerSourceReady(ActionDone, tag="server.source_ready", frozen=True, kw_only=True):
    """The guest is off at its source, and its disk can be taken."""


class ServerMoved(ActionDoneAs, tag="server.moved", frozen=True, kw_only=True):
    """The guest is at its target, as large as it shall be, and runs, or is off as it was before."""


class ServerResizeConfirmRequested(ActionRequested, tag="server.resize_confirm_requested", frozen=True, kw_only=True):
    """The user, or the end of a time, says that the move is well."""


class ServerResizeConfirmed(ActionDone, tag="server.resize_confirmed", frozen=True, kw_only=True):
    """Nothing of the server is left at its source. ``without_host``: that does not answer, and removes it when it
    comes back."""

    without_host: bool = False


class ServerResizeRevertRequested(ActionRequested, tag="server.resize_revert_requested", frozen=True, kw_only=True):
    """The user wants the server as it was, where it was."""


class ServerResizeReverted(ActionDoneAs, tag="server.resize_reverted", frozen=True, kw_only=True):
    """The server is again what it was, where it was."""


def resize(server: Server, deadline: datetime, flavor: Flavor, confirm_after: float | None) -> ServerResizeRequested:
    """Begin a resize. Raises Refused (409; 400 for what cannot be)."""
    RESIZE_ACTION.check(server)
    if flavor.id == server.flavor.id:
        raise Refused("server.same_flavor", "When resizing, instances must change flavor!", status=400)
    if flavor.disk_gb < server.flavor.disk_gb:
        zero = "zero disk flavor is not allowed" if not flavor.disk_gb else "a smaller disk is not possible"
        raise Refused("server.smaller_disk", f"Resize to {zero}.", status=400)
    if flavor.ephemeral_gb < server.flavor.ephemeral_gb:
        raise Refused("server.smaller_disk", "Resize to a smaller ephemeral disk is not possible.", status=400)
    move = began(server, RESIZE, new_flavor=flavor, confirm_after=confirm_after)
    return ServerResizeRequested(deadline=deadline, move=move)


def migrate(
    server: Server, deadline: datetime, requested_host: str | None, confirm_after: float | None
) -> ServerMigrateRequested:
    """Begin a cold migration. Raises Refused (409; 400 for the host where it is)."""
    MIGRATE.check(server)
    if requested_host is not None and requested_host == server.host:
        raise Refused(
            "server.same_host", f"No valid host was found. Instance {server.id} is on {requested_host}.", status=400
        )
    move = began(server, MIGRATION, requested_host=requested_host, confirm_after=confirm_after)
    return ServerMigrateRequested(deadline=deadline, move=move)


def confirmed_by_time(server: Server | None, now: datetime) -> ServerResizeConfirmRequested | None:
    """The move counts as confirmed, if nobody has said otherwise in time."""
    if server is None or server.action or not server.move or not server.move.confirm_at:
        return None
    if server.vm_state != RESIZED or now < server.move.confirm_at:
        return None
    return ServerResizeConfirmRequested(deadline=now + CONFIRM.time)


def confirmed(server: Server | None, *, without_host: bool) -> ServerResizeConfirmed | None:
    """Nothing is left at the source, or it will be removed."""
    if server is None or server.move is None or server.move.leg != RESIZE_CONFIRMING:
        return None
    return ServerResizeConfirmed(epoch=server.move.source.epoch, without_host=without_host)


def _source_ready(server: Server, _event: ServerSourceReady, _meta: Metadata) -> Fields:
    return {
        "move": replace(moving(server), leg=RESIZE_FINISH),
        "task_state": RESIZE_FINISH,
        "power_state": PowerState.SHUTDOWN,
    }


def _moved(server: Server, event: ServerMoved, meta: Metadata) -> Fields:
    move = moving(server)
    after = move.confirm_after
    confirm_at = meta.time + timedelta(seconds=after) if after else None
    return on(server, move.at(TARGET)) | {
        "flavor": move.new_flavor,
        "move": replace(move, leg=None, confirm_at=confirm_at),
        "vm_state": RESIZED,
        "power_state": event.power_state,
        "fault": None,
        "fault_at": None,
        "launched_at": meta.time,
    }


def _confirm_begun(server: Server, _event: ServerResizeConfirmRequested, _meta: Metadata) -> Fields:
    # The server's own host is told nothing of it: what that has seen since the action before still counts.
    return {
        "move": replace(moving(server), leg=RESIZE_CONFIRMING, confirm_at=None),
        "last_action": server.last_action,
    }


def _confirmed(server: Server, _event: ServerResizeConfirmed, _meta: Metadata) -> Fields:
    # What the guest has done meanwhile by itself counts.
    return {"vm_state": STOPPED if server.power_state in OFF else ACTIVE, "move": None}


def _revert_begun(server: Server, _event: ServerResizeRevertRequested, _meta: Metadata) -> Fields:
    way_back = server.newest_epoch + 1
    move = replace(moving(server), leg=RESIZE_REVERTING, confirm_at=None, way_back=way_back)
    return {"move": move, "assignments": way_back}


def target_cleared(server: Server) -> Fields:
    """What it means that nothing of the server counts at its target any more."""
    # The target has no place in the move any more: a command for it that comes late must not be wanted.
    move = moving(server)
    return {"move": replace(move, target=None, leg=RETURNING if move.leg == UNDOING else TAKING_BACK)}


def _reverted(server: Server, event: ServerResizeReverted, _meta: Metadata) -> Fields:
    return _home(server) | powered(server, event)


def _home(server: Server) -> Fields:
    move = moving(server)
    return on(server, move.at(SOURCE)) | {"flavor": move.flavor, "move": None}


ENDING = (UNDOING, RETURNING, TAKING_BACK, RESIZE_CONFIRMING, LIVE_CLEARING)
"""Legs at whose end, good or bad, the server is on one host again."""


def is_ending(server: Server) -> bool:
    """Whether what the move holds beside the server has to be given back before this ends."""
    return server.move is not None and server.move.leg in ENDING


def failed(server: Server) -> Fields:
    """What the end of an action by failure means for a move."""
    move = server.move
    if move is None:
        return {}
    if move.leg == RESIZE_REVERTING:
        # Whether anything is left at the target nobody can say: only a second revert leads on.
        return {"move": replace(move, leg=None, way_back=None)}
    return _home(server) if move.leg == TAKING_BACK else {"move": None}


GIVE = Task(RESIZE_MIGRATING, "give", ServerSourceReady.of, with_spec=False, at=SOURCE)
RECEIVE = Task(RESIZE_FINISH, "receive", ServerMoved.of, at=TARGET, by_peer=True)

RESIZE_ACTION = Action(
    name="resize",
    step="compute_prep_resize",
    requested=ServerResizeRequested,
    done=ServerMoved,
    allowed=(ACTIVE, STOPPED),
    time=timedelta(minutes=30),
    tasks=(GIVE, RECEIVE),
    begin=begun,
    end=_moved,
)
MIGRATE = RESIZE_ACTION._replace(name="migrate", step="conductor_migrate_server", requested=ServerMigrateRequested)
CONFIRM = Action(
    name="confirmResize",
    step="compute_confirm_resize",
    requested=ServerResizeConfirmRequested,
    done=ServerResizeConfirmed,
    allowed=(RESIZED,),
    time=timedelta(minutes=2),
    tasks=(Task(RESIZE_CONFIRMING, "discard", ServerResizeConfirmed.of, with_spec=False, at=SOURCE, can_fail=False),),
    begin=_confirm_begun,
    end=_confirmed,
    ends_move=True,
)
REVERT = Action(
    name="revertResize",
    step="compute_revert_resize",
    requested=ServerResizeRevertRequested,
    done=ServerResizeReverted,
    allowed=(RESIZED, ERROR),
    time=timedelta(minutes=10),
    tasks=(
        Task(RESIZE_REVERTING, "discard", ServerTargetCleared.of, with_spec=False, at=TARGET, can_fail=False),
        Task(TAKING_BACK, "adopt", ServerResizeReverted.of, in_doubt=True, at=SOURCE),
    ),
    begin=_revert_begun,
    end=_reverted,
    ends_move=True,
)
CHANGES: dict[type[Event], Change] = {
    ServerSourceReady: _source_ready,
    ServerTargetCleared: lambda server, _event, _meta: target_cleared(server),
}
