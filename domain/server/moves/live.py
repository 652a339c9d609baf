"""Live migration: a guest goes to another host while it runs.

The target makes everything ready, the source sends the guest, and when it has arrived the source forgets it. Until
then it runs at its source, and goes on there if that fails.
"""

from datetime import datetime, timedelta
from typing import Self

from domain.errors import Refused
from domain.guest import GuestState
from domain.log.record import Event, Metadata
from domain.server.action import Action, ActionDone, ActionDoneAs, Change, Fields, Task
from domain.server.moves.course import (
    LIVE_CLEARING,
    LIVE_LEAVING,
    LIVE_PREPARING,
    MIGRATING,
    MoveRequested,
    began,
    begun,
    moving,
    on,
    powered,
    replace,
)
from domain.server.moves.move import LIVE_MIGRATION, SOURCE, TARGET
from domain.server.moves.orders import ABORT, Policy
from domain.server.state import ACTIVE, PAUSED, Server


class ServerLiveMigrateRequested(MoveRequested, tag="server.live_migrate_requested", frozen=True, kw_only=True):
    """A live migration was accepted: the server shall be on another host, and run all the time."""


class ServerTargetReady(ActionDone, tag="server.target_ready", frozen=True, kw_only=True):
    """All that the guest needs is at its target."""


class ServerArrived(ActionDoneAs, tag="server.arrived", frozen=True, kw_only=True):
    """The guest is at its target, and runs or stands as it did. ``order`` is the request of an order that was given
    to its migration, which ends by this."""

    downtime_ms: int | None = None
    """How long it stood still in between, as measured."""
    order: str | None = None

    @classmethod
    def of(cls, guest: GuestState) -> Self:
        return cls(epoch=guest.epoch, power_state=guest.power_state, downtime_ms=guest.downtime_ms)


class ServerLiveMigrated(ActionDone, tag="server.live_migrated", frozen=True, kw_only=True):
    """Nothing of the server is left at its source. ``without_host``: that does not answer, and removes it when it
    comes back."""

    without_host: bool = False


def migrate(
    server: Server, deadline: datetime, requested_host: str | None, policy: Policy = ABORT
) -> ServerLiveMigrateRequested:
    """Begin a live migration. Raises Refused (409; 400 for the host where it is)."""
    LIVE_MIGRATE.check(server)
    if requested_host is not None and requested_host == server.host:
        raise Refused(
            "server.same_host",
            f"Unable to migrate instance ({server.id}) to current host ({requested_host}).",
            status=400,
        )
    move = began(server, LIVE_MIGRATION, requested_host=requested_host)
    return ServerLiveMigrateRequested(deadline=deadline, move=replace(move, policy=policy))


def migrated(server: Server | None, *, without_host: bool) -> ServerLiveMigrated | None:
    """Nothing is left at the source, or it will be removed."""
    if server is None or server.move is None or server.move.leg != LIVE_CLEARING:
        return None
    return ServerLiveMigrated(epoch=server.move.source.epoch, without_host=without_host)


def seen_at_target(server: Server | None, guest: GuestState) -> ServerArrived | None:
    """The guest of which its source does not speak any more has come to its target: it ran nowhere else by then, for
    the target's processors start when all of it was sent, and the source's never again after that."""
    move = server.move if server else None
    if move is None or not move.lost or move.leg != LIVE_LEAVING or move.target is None:
        return None
    if guest.epoch != move.target.epoch:
        return None
    return ServerArrived(epoch=move.source.epoch, power_state=guest.power_state, order=move.order_request)


def _ready(server: Server, _event: ServerTargetReady, _meta: Metadata) -> Fields:
    return {"move": replace(moving(server), leg=LIVE_LEAVING)}


def _arrived(server: Server, event: ServerArrived, meta: Metadata) -> Fields:
    move, action = moving(server), server.action
    return (
        on(server, move.at(TARGET))
        | powered(server, event)
        | {
            "move": replace(move, leg=LIVE_CLEARING),
            "task_state": MIGRATING,
            # A source that is dead by now must not keep it for as long as it might have taken to come.
            "action": action and replace(action, deadline=min(action.deadline, meta.time + TIME_TO_CLEAR)),
        }
    )


TIME_TO_CLEAR = timedelta(minutes=2)
"""How long a source has to remove what is left of a server that has arrived."""
LIVE_MIGRATE = Action(
    name="live-migration",
    step="conductor_live_migrate_instance",
    requested=ServerLiveMigrateRequested,
    done=ServerLiveMigrated,
    allowed=(ACTIVE, PAUSED),
    time=timedelta(minutes=30),
    tasks=(
        Task(LIVE_PREPARING, "prepare", ServerTargetReady.of, at=TARGET),
        Task(LIVE_LEAVING, "leave", ServerArrived.of, with_spec=False, at=SOURCE, by_peer=True),
        Task(LIVE_CLEARING, "discard", ServerLiveMigrated.of, with_spec=False, at=SOURCE, can_fail=False),
    ),
    begin=begun,
    end=lambda _server, _event, _meta: {"move": None},
)
CHANGES: dict[type[Event], Change] = {ServerTargetReady: _ready, ServerArrived: _arrived}
