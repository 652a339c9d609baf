"""Live migration: a guest goes to another host while it runs.

The target makes everything ready, the source sends the guest, and when it has arrived the source forgets it. Until
then it runs at its source, and goes on there if that fails.
"""

from datetime import datetime, timedelta

from domain.errors import Refused
from domain.log.record import Event, Metadata
from domain.server.action import Action, ActionDone, ActionDoneAs, Change, Fields, Task
from domain.server.moves.course import (
    LIVE_CLEARING,
    LIVE_LEAVING,
    LIVE_PREPARING,
    MoveRequested,
    began,
    begun,
    moving,
    on,
    powered,
    replace,
)
from domain.server.moves.move import LIVE_MIGRATION, SOURCE, TARGET
from domain.server.state import ACTIVE, Server


class ServerLiveMigrateRequested(MoveRequested, tag="server.live_migrate_requested", frozen=True, kw_only=True):
    """A live migration was accepted: the server shall be on another host, and run all the time."""


class ServerTargetReady(ActionDone, tag="server.target_ready", frozen=True, kw_only=True):
    """All that the guest needs is at its target."""


class ServerArrived(ActionDoneAs, tag="server.arrived", frozen=True, kw_only=True):
    """The guest is at its target, and runs or stands as it did."""


class ServerLiveMigrated(ActionDone, tag="server.live_migrated", frozen=True, kw_only=True):
    """Nothing of the server is left at its source. ``without_host``: that does not answer, and removes it when it
    comes back."""

    without_host: bool = False


def migrate(server: Server, deadline: datetime, requested_host: str | None) -> ServerLiveMigrateRequested:
    """Begin a live migration. Raises Refused (409; 400 for the host where it is)."""
    LIVE_MIGRATE.check(server)
    if requested_host is not None and requested_host == server.host:
        raise Refused(
            "server.same_host",
            f"Unable to migrate instance ({server.id}) to current host ({requested_host}).",
            status=400,
        )
    return ServerLiveMigrateRequested(
        deadline=deadline, move=began(server, LIVE_MIGRATION, requested_host=requested_host)
    )


def migrated(server: Server | None, *, without_host: bool) -> ServerLiveMigrated | None:
    """Nothing is left at the source, or it will be removed."""
    if server is None or server.move is None or server.move.leg != LIVE_CLEARING:
        return None
    return ServerLiveMigrated(epoch=server.move.source.epoch, without_host=without_host)


def _ready(server: Server, _event: ServerTargetReady, _meta: Metadata) -> Fields:
    return {"move": replace(moving(server), leg=LIVE_LEAVING)}


def _arrived(server: Server, event: ServerArrived, _meta: Metadata) -> Fields:
    move = moving(server)
    return on(server, move.at(TARGET)) | powered(server, event) | {"move": replace(move, leg=LIVE_CLEARING)}


LIVE_MIGRATE = Action(
    name="live-migration",
    step="conductor_live_migrate_instance",
    requested=ServerLiveMigrateRequested,
    done=ServerLiveMigrated,
    allowed=(ACTIVE,),
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
