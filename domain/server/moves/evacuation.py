"""Evacuation: a server's host is dead, and another makes its guest anew.

Nothing is asked of the source, and nobody knows whether the guest still runs there. So its claim and its place are
remembered beyond the move, until the host is back and has ended what was left, or is forgotten. Before a guest starts
anywhere else, what may still run at the source is of an epoch that is over.
"""

from datetime import datetime, timedelta

from domain.errors import Refused
from domain.guest import PowerState
from domain.log.record import Event, Metadata
from domain.server.action import Action, ActionDoneAs, Change, Fields, Task, check, superseded
from domain.server.actions import create_image
from domain.server.deletion import DELETING
from domain.server.moves.course import (
    EVACUATING,
    UNDOING,
    MoveRequested,
    ServerTargetFailed,
    began,
    begun,
    moving,
    on,
    powered,
    started_at,
)
from domain.server.moves.move import EVACUATION, TARGET, Remains
from domain.server.parts import Fault
from domain.server.state import ACTIVE, ERROR, STOPPED, Server


class ServerEvacuateRequested(MoveRequested, tag="server.evacuate_requested", frozen=True, kw_only=True):
    """An evacuation was accepted: the server's host is dead, and another shall make its guest anew."""

    secrets: str | None = None
    """What the guest is told, sealed, where that changes."""
    supersedes: str | None = None
    """The request id of the action under way that ends by this: its host will not end it."""


class ServerEvacuated(ActionDoneAs, tag="server.evacuated", frozen=True, kw_only=True):
    """The guest was made anew on another host; what is left of it on the dead one has ended to count."""


class ServerRemainsRemoved(Event, tag="server.remains_removed", frozen=True, kw_only=True):
    """Nothing of the server is left where it was evacuated from, and nothing is claimed there. ``without_host``: that
    was forgotten."""

    move_id: str
    without_host: bool = False


def evacuate(
    server: Server, deadline: datetime, requested_host: str | None, *, stopped: bool, secrets: str | None
) -> ServerEvacuateRequested:
    """Begin an evacuation; ``stopped``: it ends powered off, whatever the server was. Whether its host is dead is for
    the caller to know. Raises Refused (409; 400 for the host where it is)."""
    # Whatever else is under way: a dead host will not end it.
    under_way = (None,) if server.task_state == DELETING else (None, server.task_state)
    check(server, EVACUATE.name, EVACUATE.allowed, under_way)
    if server.move is not None or server.host is None:
        where = "has no host" if server.host is None else "has been moved"
        raise Refused("server.state", f"Cannot '{EVACUATE.name}' instance {server.id} while it {where}")
    if requested_host is not None and requested_host == server.host:
        raise Refused("server.same_host", "The target host can't be the same one.", status=400)
    move = began(server, EVACUATION, requested_host=requested_host, arrives_off=stopped)
    return ServerEvacuateRequested(deadline=deadline, move=move, secrets=secrets, supersedes=superseded(server))


def is_void(server: Server | None, host: str, epoch: int) -> bool:
    """Whether a guest must not run there any more, since another host may be making it, though its disk is wanted
    should that fail; or since its source takes it back."""
    move = server.move if server else None
    if server is None or move is None:
        return False
    if any(
        left.move_id == move.id and (left.place.host, left.place.epoch) == (host, epoch) for left in server.remains
    ):
        return True
    if move.kind != EVACUATION or move.leg not in (EVACUATING, UNDOING):
        return False
    return (move.source.host, move.source.epoch) == (host, epoch)


def target_lost(server: Server | None, epoch: int) -> ServerTargetFailed | None:
    """The host that was chosen is declared dead, too; what it may have made is of an epoch that is over."""
    move = server.move if server else None
    if server is None or move is None or move.leg != EVACUATING or not started_at(server):
        return None
    if move.target is None or move.target.epoch != epoch:
        return None
    return ServerTargetFailed(epoch=epoch, fault=Fault(code=500, message="The host that was chosen is dead, too."))


def left_at(server: Server | None, host: str, epoch: int) -> Remains | None:
    """What may be left there of a server, and can be given back: not before its move has ended."""
    move_id = server.move.id if server and server.move else None
    remains = [left for left in server.remains if left.move_id != move_id] if server else []
    return next((left for left in remains if (left.place.host, left.place.epoch) == (host, epoch)), None)


def removed(server: Server | None, move_id: str, *, without_host: bool) -> ServerRemainsRemoved | None:
    """Nothing is left where it was evacuated from by that move."""
    if server is None or all(left.move_id != move_id for left in server.remains):
        return None
    return ServerRemainsRemoved(move_id=move_id, without_host=without_host)


def _begun(server: Server, event: ServerEvacuateRequested, meta: Metadata) -> Fields:
    # It starts from its own disk, whatever it was in; an image that was being made of it will not be.
    fields = begun(server, event, meta) | {"rescue": None} | create_image.given_up(server)
    if server.shelf:
        # Its guest may be off already: should this come to nothing, its host tells.
        fields |= {"shelf": None, "power_state": PowerState.NOSTATE}
    return fields if event.secrets is None else fields | {"secrets": event.secrets, "has_key": True}


def _evacuated(server: Server, event: ServerEvacuated, meta: Metadata) -> Fields:
    move = moving(server)
    return on(server, move.at(TARGET)) | powered(server, event) | {
        "move": None,
        "remains": (*server.remains, Remains(move_id=move.id, place=move.source)),
        "fault": None,
        "fault_at": None,
        "launched_at": meta.time,
        # As after a rebuild: what the old system posted opens nothing in the new one.
        "sealed_password": None,
    }  # fmt: skip


def _removed(server: Server, event: ServerRemainsRemoved, _meta: Metadata) -> Fields:
    return {"remains": tuple(left for left in server.remains if left.move_id != event.move_id)}


EVACUATE = Action(
    name="evacuate",
    step="rebuild_server",
    requested=ServerEvacuateRequested,
    done=ServerEvacuated,
    allowed=(ACTIVE, STOPPED, ERROR),
    time=timedelta(minutes=30),
    tasks=(Task(EVACUATING, "recreate", ServerEvacuated.of, at=TARGET),),
    begin=_begun,
    end=_evacuated,
)
CHANGES: dict[type[Event], Change] = {ServerRemainsRemoved: _removed}
