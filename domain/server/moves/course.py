"""The course that all moves have in common: a target is chosen and claimed, and what has failed comes back.

Until the server has arrived nothing is lost: its guest, or its disk, is at its source. Who gives up a move first
makes sure that nothing runs at the target, and then has the source go on. Both claims stand until it is settled.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import NAMESPACE_OID, uuid5

import msgspec

from domain.catalogue import flavor_specs
from domain.catalogue.flavor import Flavor
from domain.log.record import Event, Metadata
from domain.server.action import IDLE, ActionDone, ActionDoneAs, ActionRequested, Change, Fields, Task
from domain.server.actions.rebuild import REBUILDING
from domain.server.moves.move import EVACUATION, LIVE_MIGRATION, MIGRATION, RESIZE, SOURCE, TARGET, Kind, Move, Place
from domain.server.moves.orders import ABORT
from domain.server.parts import Fault
from domain.server.state import STOPPED, VM_STATE_OF_POWER, Server, place_of

replace = msgspec.structs.replace

MAX_ATTEMPTS = 3
"""On how many targets a move is tried."""
TIME_BACK = timedelta(minutes=10)
"""How long it may take to go on at the source."""

RESIZE_PREP, RESIZE_MIGRATING = "resize_prep", "resize_migrating"
UNDOING, RETURNING = "undoing", "returning"
"""Legs of a move that is given up."""

MIGRATING = "migrating"
LIVE_PREPARING, LIVE_LEAVING, LIVE_CLEARING = "live_preparing", "live_leaving", "live_clearing"
"""Legs of a live migration; its task_state is the same all the time."""

EVACUATING = "evacuating"
"""The leg of an evacuation."""
REBUILD_SPAWNING = "rebuild_spawning"
"""Its task_state: a guest is made anew."""

LOOKING = {RESIZE: RESIZE_PREP, MIGRATION: RESIZE_PREP, LIVE_MIGRATION: MIGRATING, EVACUATION: REBUILDING}
"""The task_state while a target is looked for, by kind of move."""
FIRST_LEG = {
    RESIZE: RESIZE_MIGRATING,
    MIGRATION: RESIZE_MIGRATING,
    LIVE_MIGRATION: LIVE_PREPARING,
    EVACUATION: EVACUATING,
}
"""What is done as soon as there is one."""
NOTHING_THERE = (None, RESIZE_MIGRATING)
"""Legs on which nothing is at the target yet."""
ONE_WAY = (LIVE_LEAVING, LIVE_CLEARING)
"""Legs on which nobody but the source can say where the guest is: it is asked until it answers."""
SHOWN = {LIVE_PREPARING: MIGRATING, EVACUATING: REBUILD_SPAWNING}
"""The task_state of a leg that has not the same name."""


class MoveRequested(ActionRequested, frozen=True, kw_only=True):
    """The base of what begins a move."""

    move: Move


class ServerTargetChosen(Event, tag="server.target_chosen", frozen=True, kw_only=True):
    """The host to which the server moves was chosen, and its resources are claimed there, too."""

    host: str
    host_id: str
    epoch: int
    availability_zone: str


class ServerTargetFailed(Event, tag="server.target_failed", frozen=True, kw_only=True):
    """The target could not take the server, and has nothing left of it; another may be tried."""

    epoch: int
    fault: Fault


class ServerMoveAbandoned(Event, tag="server.move_abandoned", frozen=True, kw_only=True):
    """The move comes to nothing: the server goes on where it was. ``removed`` counts the hosts that each scheduling
    rule took out."""

    fault: Fault
    deadline: datetime
    removed: dict[str, int] = {}
    cancelled: bool = False
    """Somebody has said so, or its time was over."""
    order: str | None = None
    """The request of an order that was given to it, which ends by this."""


class ServerTargetCleared(ActionDone, tag="server.target_cleared", frozen=True, kw_only=True):
    """Nothing of the server is at the target any more."""


class ServerMoveReturned(ActionDoneAs, tag="server.move_returned", frozen=True, kw_only=True):
    """After a move that came to nothing the server is at its source, as it was before."""


class Rest(NamedTuple):
    """What a server holds when its move has ended."""

    flavor: Flavor
    host_id: str
    epoch: int

    @property
    def amounts(self) -> Mapping[str, int]:
        """What that takes of the host."""
        return flavor_specs.scheduling(self.flavor).resources


def move_id(server: Server, version: int) -> str:
    """Of the move that was accepted as that version of the server."""
    return str(uuid5(NAMESPACE_OID, f"{server.id}/move-{version}"))


def began(server: Server, kind: Kind, *, new_flavor: Flavor | None = None, requested_host: str | None = None,
          confirm_after: float | None = None, arrives_off: bool = False) -> Move:  # fmt: skip
    """The move that begins with the server's next version."""
    return Move(
        id=move_id(server, server.version + 1),
        kind=kind,
        source=place_of(server),
        flavor=server.flavor,
        new_flavor=new_flavor or server.flavor,
        vm_state=server.vm_state,
        requested_host=requested_host,
        confirm_after=confirm_after,
        arrives_off=arrives_off,
    )


def moving(server: Server) -> Move:
    """The move of a server that has one."""
    assert server.move is not None
    return server.move


def chosen(server: Server | None, event: ServerTargetChosen) -> ServerTargetChosen | None:
    """Record the target, if one is still being looked for in that epoch."""
    return event if server and is_choosing(server) and event.epoch == server.newest_epoch + 1 else None


def is_choosing(server: Server) -> bool:
    """Whether a target is looked for."""
    return (
        server.move is not None
        and server.action is not None
        and server.action.version == started_at(server)
        and server.move.leg is None
    )


def started_at(server: Server) -> int:
    """The version of the server at which its action was accepted, if that is its move; 0 otherwise."""
    action, move = server.action, server.move
    return action.version if action and move and move.id == move_id(server, action.version) else 0


def abandoned(
    server: Server | None, fault: Fault, now: datetime, removed: dict[str, int] | None = None
) -> ServerMoveAbandoned | None:
    """Give up a move whose server is at its source."""
    if server is None or not started_at(server) or is_going_back(server):
        return None
    move, action = moving(server), server.action
    if server.epoch != move.source.epoch or action is None:
        return None
    return ServerMoveAbandoned(
        fault=fault,
        deadline=now + TIME_BACK,
        removed=removed or {},
        cancelled=move.kind == LIVE_MIGRATION and (move.order == ABORT or now >= action.deadline),
        order=move.order_request,
    )


def is_going_back(server: Server) -> bool:
    """Whether its move was given up."""
    return server.move is not None and server.move.leg in (UNDOING, RETURNING)


def returned(server: Server | None) -> ServerMoveReturned | None:
    """Its source was never told of the move that came to nothing."""
    if server is None or server.move is None or server.move.leg != RETURNING or server.move.touched:
        return None
    return ServerMoveReturned(epoch=server.epoch, power_state=server.power_state)


def flavors(server: Server) -> tuple[Flavor, ...]:
    """What the server is, and what it may be when its move has ended."""
    return (server.move.flavor, server.move.new_flavor) if server.move else (server.flavor,)


def ends_at(server: Server) -> str:
    """Where the server is when the action on its move that is under way has ended: at its target if it was confirmed,
    else at its source."""
    move = moving(server)
    return SOURCE if server.epoch == move.source.epoch or move.way_back is not None else TARGET


def left_on(server: Server) -> str | None:
    """The id of the host where something may be left of the server's move when that has ended."""
    move = moving(server)
    return next((left.place.host_id for left in server.remains if left.move_id == move.id), None)


def at_rest(server: Server) -> Rest:
    """What the server holds then."""
    move = moving(server)
    if ends_at(server) == SOURCE:
        return Rest(move.flavor, move.source.host_id, server.newest_epoch)
    return Rest(move.new_flavor, server.host_id or "", server.newest_epoch)


def as_told(server: Server, task: Task) -> Server:
    """The server as the host that is told of ``task`` shall have it."""
    move = server.move
    if move is None or task.at is None:
        return server
    flavor = move.new_flavor if task.at == TARGET else move.flavor
    vm_state = STOPPED if move.arrives_off and task.at == TARGET else move.vm_state
    return replace(server, flavor=flavor, epoch=move.at(task.at).epoch, vm_state=vm_state)


def on(server: Server, place: Place) -> Fields:
    """The server is there now."""
    return {
        "host": place.host,
        "host_id": place.host_id,
        "availability_zone": place.availability_zone or server.availability_zone,
        "epoch": place.epoch,
    }


def powered(server: Server, event: ActionDoneAs) -> Fields:
    """The vm_state that goes with a guest's power, after a move."""
    usual = moving(server).vm_state
    return {"power_state": event.power_state, "vm_state": VM_STATE_OF_POWER.get(event.power_state, usual)}


def begun(server: Server, event: MoveRequested, _meta: Metadata) -> Fields:
    """What the beginning of a move changes."""
    return {"move": event.move, "task_state": LOOKING[event.move.kind]}


def _chosen(server: Server, event: ServerTargetChosen, _meta: Metadata) -> Fields:
    target = Place(
        host=event.host, host_id=event.host_id, availability_zone=event.availability_zone, epoch=event.epoch
    )
    move = moving(server)
    leg = FIRST_LEG[move.kind]
    return {
        "move": replace(move, target=target, touched=True, leg=leg),
        "assignments": event.epoch,
        "task_state": SHOWN.get(leg, leg),
    }


def _target_failed(server: Server, event: ServerTargetFailed, meta: Metadata) -> Fields:
    move = moving(server)
    assert move.target
    failed = (*move.failed_hosts, move.target.host)
    return {
        "move": replace(move, target=None, failed_hosts=failed, leg=None),
        "task_state": LOOKING[move.kind],
        "fault": event.fault,
        "fault_at": meta.time,
    }


def _abandoned(server: Server, event: ServerMoveAbandoned, meta: Metadata) -> Fields:
    move, action = moving(server), server.action
    assert action
    # Where no target is recorded, one may have been claimed: its epoch is void.
    burnt = server.newest_epoch if move.target else server.newest_epoch + 1
    told = move.target is not None and move.leg not in NOTHING_THERE
    return {
        "move": replace(move, leg=UNDOING if told else RETURNING),
        "action": replace(action, deadline=event.deadline),
        "assignments": burnt,
        "fault": event.fault,
        "fault_at": meta.time,
    }


def _returned(server: Server, event: ServerMoveReturned, _meta: Metadata) -> Fields:
    fields: Fields = IDLE | {"move": None}
    if moving(server).kind == EVACUATION and not moving(server).touched:
        # Nothing is known of it but what was.
        return fields | {"last_action": 0}
    fields |= powered(server, event)
    # A host that was told nothing of it does not know the action: whatever it reports counts all the same.
    return fields if moving(server).touched else fields | {"last_action": 0}


UNDO = Task(UNDOING, "discard", ServerTargetCleared.of, with_spec=False, at=TARGET, can_fail=False)
RETURN = Task(RETURNING, "adopt", ServerMoveReturned.of, in_doubt=True, at=SOURCE)
TASKS = (UNDO, RETURN)


CHANGES: dict[type[Event], Change] = {
    ServerTargetChosen: _chosen,
    ServerTargetFailed: _target_failed,
    ServerMoveAbandoned: _abandoned,
    ServerMoveReturned: _returned,
}
