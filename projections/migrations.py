"""How far is, or how did it go with, a server's way to another host? Nova's os-migrations.

An event of a server tells nothing of which of its migrations it is about: that is its last one, of which there is a
row of its own.
"""

from collections.abc import Iterable

import msgspec

from domain.log.record import Event, Recorded
from domain.server.action import ServerActionFailed
from domain.server.deletion import ServerElsewhereCleared
from domain.server.moves import migration
from domain.server.moves.cold import (
    ServerMoved,
    ServerResizeConfirmed,
    ServerResizeConfirmRequested,
    ServerResizeReverted,
    ServerResizeRevertRequested,
    ServerSourceReady,
)
from domain.server.moves.course import (
    MoveRequested,
    ServerMoveAbandoned,
    ServerMoveReturned,
    ServerTargetChosen,
    ServerTargetFailed,
)
from domain.server.moves.evacuation import ServerEvacuated, ServerRemainsRemoved
from domain.server.moves.live import ServerArrived, ServerLiveMigrated, ServerTargetReady
from domain.server.moves.migration import Migration
from domain.server.moves.move import EVACUATION, LIVE_MIGRATION
from domain.server.moves.steering import ServerMigrationLost
from projections.table import Key, Rows, Table

COLUMNS = {
    "server_id": "text",
    "id": "bigint",
    "uuid": "text",
    "cell": "text",
    "migration_type": "text",
    "status": "text",
    "source": "text",
    "target": "text",
    "old_flavor": "text",
    "new_flavor": "text",
    "user_id": "text",
    "project_id": "text",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
}
TABLE = Table(
    name="migrations",
    row=Migration,
    key=("server_id", "id"),
    columns=COLUMNS,
    indexes=("(created_at DESC, id DESC)", "(status)", "(source)", "(target)", "(project_id)", "(uuid)"),
)
LAST = Table(name="last_migrations", row=Migration, key=("server_id",), columns=COLUMNS)
"""Of each server."""
EVACUATIONS = Table(name="evacuations", row=Migration, key=("uuid",), columns=COLUMNS)
"""Those whose dead host has not yet removed what was left there. It may do so much later than the server's next
migration."""

STATUSES: dict[type[Event], str] = {
    ServerTargetChosen: migration.MIGRATING,
    ServerTargetFailed: migration.PRE_MIGRATING,
    ServerSourceReady: migration.POST_MIGRATING,
    ServerMoved: migration.FINISHED,
    ServerResizeConfirmRequested: migration.CONFIRMING,
    ServerResizeConfirmed: migration.CONFIRMED,
    ServerResizeRevertRequested: migration.REVERTING,
    ServerResizeReverted: migration.REVERTED,
    ServerMoveAbandoned: migration.FAILED,
    ServerMoveReturned: migration.FAILED,
    ServerTargetReady: migration.RUNNING,
    ServerArrived: migration.POST_MIGRATING,
    ServerLiveMigrated: migration.COMPLETED,
    ServerEvacuated: migration.DONE,
    ServerMigrationLost: migration.RUNNING,
}
"""What each event makes of it."""
LIVE: dict[type[Event], str] = {
    ServerTargetChosen: migration.PREPARING,
    ServerTargetFailed: migration.QUEUED,
}
EVACUATING: dict[type[Event], str] = {
    ServerTargetChosen: migration.PRE_MIGRATING,
    ServerTargetFailed: migration.ACCEPTED,
}
"""And what of one that goes on live, or of an evacuation, where that is otherwise."""
OTHERWISE: dict[str, dict[type[Event], str]] = {LIVE_MIGRATION: LIVE, EVACUATION: EVACUATING}
BEGUN: dict[str, str] = {LIVE_MIGRATION: migration.QUEUED, EVACUATION: migration.ACCEPTED}
CUT_OFF = (ServerActionFailed, ServerElsewhereCleared)
"""Events that end it, if it is under way."""


class MigrationsView:
    """Follows the servers' events."""

    name = "migrations"
    version = 3
    folds = True
    tables = (TABLE, LAST, EVACUATIONS)

    def reads(self, recorded: Recorded) -> Iterable[tuple[Table, Key]]:
        if recorded.aggregate.kind == "server" and isinstance(recorded.event, (*STATUSES, *CUT_OFF)):
            yield LAST, (recorded.aggregate.id,)
        elif isinstance(recorded.event, ServerRemainsRemoved):
            yield EVACUATIONS, (recorded.event.move_id,)

    def apply(self, recorded: Recorded, rows: Rows) -> None:
        event, meta = recorded.event, recorded.meta
        if recorded.aggregate.kind != "server":
            return
        row: Migration | None
        if isinstance(event, ServerRemainsRemoved):
            _complete(recorded, event, rows)
            return
        if isinstance(event, MoveRequested):
            row = _begun(recorded, event)
        elif isinstance(event, (*STATUSES, *CUT_OFF)):
            row = rows.get(LAST, (recorded.aggregate.id,))
            if row is None or (isinstance(event, CUT_OFF) and row.status not in migration.UNDER_WAY):
                return
            status = _status(row, event)
            row = msgspec.structs.replace(row, status=status, updated_at=meta.time, target=_target(row, event))
        else:
            return
        rows.put(LAST, row)
        rows.put(TABLE, row)
        if isinstance(event, ServerEvacuated):
            rows.put(EVACUATIONS, row)


def _complete(recorded: Recorded, event: ServerRemainsRemoved, rows: Rows) -> None:
    """Its dead host is back, or forgotten."""
    row: Migration | None = rows.get(EVACUATIONS, (event.move_id,))
    if row:
        ended = msgspec.structs.replace(row, status=migration.COMPLETED, updated_at=recorded.meta.time)
        rows.put(TABLE, ended)
        rows.put(EVACUATIONS, ended)


def _status(row: Migration, event: Event) -> str:
    if row.status == migration.CANCELLED or getattr(event, "cancelled", False):
        return migration.CANCELLED
    own = OTHERWISE.get(row.migration_type, {})
    return own.get(type(event)) or STATUSES.get(type(event), migration.FAILED)


def _target(row: Migration, event: Event) -> str | None:
    match event:
        case ServerTargetChosen():
            return event.host
        case ServerTargetFailed():
            return None
        case _:
            return row.target


def _begun(recorded: Recorded, event: MoveRequested) -> Migration:
    meta, move = recorded.meta, event.move
    return Migration(
        server_id=recorded.aggregate.id,
        id=recorded.position,
        uuid=move.id,
        cell=recorded.cell,
        migration_type=move.kind,
        status=BEGUN.get(move.kind, migration.PRE_MIGRATING),
        source=move.source.host,
        target=None,
        old_flavor=move.flavor.id,
        new_flavor=move.new_flavor.id,
        user_id=meta.user_id,
        project_id=meta.project_id,
        created_at=meta.time,
        updated_at=meta.time,
    )
