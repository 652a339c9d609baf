"""Steering a live migration that is under way: it is aborted, made to end, or given other time.

What is asked for is kept in the server's move, and the guest's source asks for it as long as the guest leaves. So
nothing is lost with whoever dies, and what comes too late changes nothing.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from domain.errors import Refused
from domain.log.record import Event, Metadata
from domain.server.action import Change, Fields
from domain.server.moves.course import (
    LIVE_CLEARING,
    LIVE_LEAVING,
    LIVE_PREPARING,
    MIGRATING,
    is_choosing,
    moving,
    replace,
)
from domain.server.moves.migration import FAILED, POST_MIGRATING, PREPARING, QUEUED, RUNNING
from domain.server.moves.move import LIVE_MIGRATION, Move
from domain.server.moves.orders import ABORT, FORCE_COMPLETE, KEEP_TRYING, Order, Orders, Policy
from domain.server.parts import Fault
from domain.server.state import ERROR, Server, check_state

ABORT_NAME, ABORT_STEP = "live_migration_cancel", "compute_live_migration_abort"
FORCE_NAME, FORCE_STEP = "live_migration_force_complete", "compute_live_migration_force_complete"
"""Of the actions and of their work, in Nova's instance actions."""
STATUSES = {LIVE_PREPARING: PREPARING, LIVE_LEAVING: RUNNING, LIVE_CLEARING: POST_MIGRATING}
LONGEST = timedelta(hours=24)
"""How long is tried by who keeps trying, since it was asked for."""
LOST_AFTER = timedelta(seconds=30)
"""After the deadline; by then a source that lives has ended the migration."""
SPLIT = "The host that the server was leaving does not answer: where the server is, is not known."


class Which(NamedTuple):
    """The migration that somebody speaks of."""

    id: int
    uuid: str
    status: str
    """As it was when that was looked up."""


class ServerMigrationAbortRequested(Event, tag="server.migration_abort_requested", frozen=True, kw_only=True):
    """The server shall stay where it is. ``order`` is the request of an earlier order, which ends by this."""

    order: str | None = None


class ServerMigrationForceCompleteRequested(
    Event, tag="server.migration_force_complete_requested", frozen=True, kw_only=True
):
    """The server shall be at its target soon, if only by standing still until it is there."""


class ServerMigrationPolicyChanged(Event, tag="server.migration_policy_changed", frozen=True, kw_only=True):
    """The migration has other time, or something else is done at its end."""

    deadline: datetime
    policy: Policy


class ServerMigrationLost(Event, tag="server.migration_lost", frozen=True, kw_only=True):
    """The source of a guest that was leaving does not answer any more: nobody can say where the guest is. Both
    claims stand, and it is settled by who sees the guest first: its source, or its target."""

    fault: Fault


def orders(server: Server) -> Orders:
    """What is wanted of a guest that leaves."""
    move = moving(server)
    return Orders(deadline=server.action.deadline if server.action else None, policy=move.policy, order=move.order)


def abort(server: Server, migration: Which, *, waiting_too: bool) -> ServerMigrationAbortRequested | None:
    """Have the server stay; ``waiting_too``: also before it leaves. None if that was asked for already. Raises
    Refused (409, 400)."""
    waiting = (QUEUED, PREPARING) if waiting_too else ()
    move = _under_way(server, migration, "abort live migration", (*waiting, RUNNING))
    return None if move.order == ABORT else ServerMigrationAbortRequested(order=move.order_request)


def force_complete(server: Server, migration: Which) -> ServerMigrationForceCompleteRequested | None:
    """Have the server at its target soon. None if that was asked for already. Raises Refused (409, 400)."""
    move = _under_way(server, migration, "force complete", (RUNNING,))
    if move.order == ABORT:
        raise _refused(server, migration, "being aborted")
    return None if move.order == FORCE_COMPLETE else ServerMigrationForceCompleteRequested()


def change_policy(
    server: Server, migration: Which, policy: Policy | None, deadline: datetime | None
) -> ServerMigrationPolicyChanged | None:
    """Give it other time, or another end; None of one leaves that as it is. Raises Refused (409, 400)."""
    move = _under_way(server, migration, "change", (QUEUED, PREPARING, RUNNING))
    assert server.action
    if policy is None and move.policy == KEEP_TRYING:
        message = "The migration keeps trying, and has a day: other time goes with another policy only."
        raise Refused("migration.keeps_trying", message, status=400)
    wanted = policy or move.policy
    until = server.action.started_at + LONGEST if wanted == KEEP_TRYING else deadline or server.action.deadline
    if (wanted, until) == (move.policy, server.action.deadline):
        return None
    return ServerMigrationPolicyChanged(deadline=until, policy=wanted)


def lost(server: Server | None) -> ServerMigrationLost | None:
    """The source, which does not live any more, was sending it; nobody was told yet."""
    move = server.move if server else None
    if move is None or move.leg != LIVE_LEAVING or move.lost:
        return None
    return ServerMigrationLost(fault=Fault(code=500, message=SPLIT))


def is_overdue(server: Server, now: datetime) -> bool:
    """Whether a source that lives has ended it by now."""
    move, action = moving(server), server.action
    return move.lost or move.order == ABORT or (action is not None and now >= action.deadline + LOST_AFTER)


def is_aborted(server: Server) -> bool:
    """Whether the move shall come to nothing before the guest leaves."""
    move = moving(server)
    return move.order == ABORT and (is_choosing(server) or move.leg == LIVE_PREPARING)


def _under_way(server: Server, migration: Which, doing: str, statuses: tuple[str, ...]) -> Move:
    check_state(server, doing, (server.vm_state,), (MIGRATING,))
    move = moving(server)
    if move.id != migration.uuid:
        raise _refused(server, migration, migration.status)
    if (status := _status(server)) not in statuses:
        raise _refused(server, migration, status)
    return move


def _status(server: Server) -> str:
    """Of the migration that is under way, as it is now."""
    leg = moving(server).leg
    if is_choosing(server):
        return QUEUED
    return STATUSES.get(leg or "", FAILED)


def _refused(server: Server, migration: Which, status: str) -> Refused:
    message = f"Migration {migration.id} of instance {server.id} is {status}, so this cannot be done with it."
    return Refused("migration.state", message, status=400)


def _ordered(order: Order) -> Change:
    return lambda server, _event, meta: {"move": replace(moving(server), order=order, order_request=meta.request_id)}


def _changed(server: Server, event: ServerMigrationPolicyChanged, _meta: Metadata) -> Fields:
    assert server.action
    return {
        "move": replace(moving(server), policy=event.policy),
        "action": replace(server.action, deadline=event.deadline),
    }


def _lost(server: Server, event: ServerMigrationLost, meta: Metadata) -> Fields:
    return {
        "move": replace(moving(server), lost=True),
        "vm_state": ERROR,
        "task_state": None,
        "fault": event.fault,
        "fault_at": meta.time,
    }


def until(policy: Policy, since: datetime, seconds: float) -> datetime:
    """When a migration ends that was asked for at ``since`` and has so much time, if its policy heeds that."""
    return since + (LONGEST if policy == KEEP_TRYING else timedelta(seconds=seconds))


def is_live(server: Server) -> bool:
    """Whether it moves while it runs."""
    return server.move is not None and server.move.kind == LIVE_MIGRATION


CHANGES: dict[type[Event], Change] = {
    ServerMigrationAbortRequested: _ordered(ABORT),
    ServerMigrationForceCompleteRequested: _ordered(FORCE_COMPLETE),
    ServerMigrationPolicyChanged: _changed,
    ServerMigrationLost: _lost,
}
