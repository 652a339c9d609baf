"""What becomes of a server on its way when a host that it needs is declared dead, or forgotten: nothing waits for
that host any more.

What the target may have is left there, as what an evacuated server has on its dead host: its place and its claim are
remembered until it is back. What only the source can do ends in ERROR at once, and the server can be evacuated.
"""

from datetime import datetime

from domain.log.record import Event, Metadata
from domain.server.action import Change, Fields, ServerActionFailed
from domain.server.creation import ServerBuildFailed
from domain.server.deletion import DELETING
from domain.server.moves import course, evacuation
from domain.server.moves.cold import RESIZE_FINISH, RESIZE_REVERTING, TAKING_BACK, target_cleared
from domain.server.moves.course import (
    LIVE_PREPARING,
    RESIZE_MIGRATING,
    RETURNING,
    UNDOING,
    ServerTargetCleared,
    moving,
)
from domain.server.moves.move import EVACUATION, SOURCE, TARGET, Remains
from domain.server.parts import Fault
from domain.server.state import Server

TARGET_DEAD = Fault(code=500, message="The host that was chosen was declared dead.")
SOURCE_DEAD = Fault(code=500, message="The server's host was declared dead.")
CLEARING = (UNDOING, RESIZE_REVERTING)
"""Legs on which the target removes what it has."""
ARRIVING = (RESIZE_FINISH, LIVE_PREPARING)
"""Legs on which the target makes what the source could still do without."""
TAKING = (RETURNING, TAKING_BACK)
"""Legs on which the source takes back what only it has."""


class ServerTargetLeft(Event, tag="server.target_left", frozen=True, kw_only=True):
    """The target was declared dead before it had removed what it may have of the server: that is left there, and
    stays claimed, until that host is back or is forgotten."""

    epoch: int


def ended(server: Server | None, epoch: int, now: datetime) -> Event | None:
    """What comes of it that the host is dead which would be told next of the assignment with that epoch; None where
    it is waited for all the same, or nothing waits for it."""
    move = server.move if server else None
    if server is None or move is None or server.action is None or server.task_state == DELETING:
        return None
    target = move.target.epoch if move.target else None
    if epoch == target:
        if move.kind == EVACUATION and (lost := evacuation.target_lost(server, epoch)):
            return lost
        if move.leg in ARRIVING:
            return course.abandoned(server, TARGET_DEAD, now)
        if move.target and move.target.host_id == move.source.host_id:
            return _within_one_host(move.leg, epoch)
        return left(server, epoch)
    if epoch != move.at(SOURCE).epoch:
        return None
    if move.leg == RESIZE_MIGRATING:
        return course.abandoned(server, SOURCE_DEAD, now)
    if move.leg in TAKING:
        return ServerActionFailed(fault=_not_taken_back(server), to_error=True)
    return None


def not_built(server: Server | None, epoch: int) -> ServerBuildFailed | None:
    """The host that should make a new guest will not: another one is chosen. What it may have made is of an epoch
    that is over."""
    if server is None or not server.is_building or server.host is None or server.epoch != epoch:
        return None
    return ServerBuildFailed(epoch=epoch, fault=TARGET_DEAD)


def left(server: Server | None, epoch: int) -> ServerTargetLeft | None:
    """The target will not remove what it has."""
    move = server.move if server else None
    if move is None or move.leg not in CLEARING or move.target is None or move.target.epoch != epoch:
        return None
    return ServerTargetLeft(epoch=epoch)


def _within_one_host(leg: str | None, epoch: int) -> ServerActionFailed | ServerTargetCleared | None:
    """Its source is as dead: a revert goes on to that, and ends there."""
    if leg == UNDOING:
        return ServerActionFailed(fault=SOURCE_DEAD, to_error=True)
    return ServerTargetCleared(epoch=epoch) if leg == RESIZE_REVERTING else None


def _not_taken_back(server: Server) -> Fault:
    before = server.fault.message if server.fault else ""
    if moving(server).kind == EVACUATION:
        return Fault(code=500, message=f"It could not be evacuated, and its host is dead: {before}")
    return SOURCE_DEAD


def _left(server: Server, _event: ServerTargetLeft, _meta: Metadata) -> Fields:
    move = moving(server)
    remains = (*server.remains, Remains(move_id=move.id, place=move.at(TARGET)))
    return target_cleared(server) | {"remains": remains}


CHANGES: dict[type[Event], Change] = {ServerTargetLeft: _left}
