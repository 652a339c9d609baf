"""A move as the API shows it: Nova's migration."""

from datetime import datetime

import msgspec

PRE_MIGRATING, MIGRATING, POST_MIGRATING, FINISHED = "pre-migrating", "migrating", "post-migrating", "finished"
QUEUED, PREPARING, RUNNING, COMPLETED = "queued", "preparing", "running", "completed"
CANCELLED = "cancelled"
ACCEPTED, DONE = "accepted", "done"
CONFIRMING, CONFIRMED, REVERTING, REVERTED, FAILED = "confirming", "confirmed", "reverting", "reverted", "error"
"""Its status, in Nova's words."""
UNDER_WAY = (ACCEPTED, PRE_MIGRATING, MIGRATING, QUEUED, PREPARING, RUNNING, POST_MIGRATING, CONFIRMING, REVERTING)


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """A move of a server, under way or over."""

    server_id: str
    id: int
    """The position of the event that began it: it rises, and is the same whenever this is made anew."""
    uuid: str
    cell: str
    migration_type: str
    status: str
    source: str
    """The name of a host."""
    target: str | None
    old_flavor: str
    """The id of a flavor."""
    new_flavor: str
    user_id: str | None
    project_id: str | None
    """Of who asked for it."""
    created_at: datetime
    updated_at: datetime


class MigrationFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which migrations are listed: those of which all that is given holds. None of them says nothing."""

    server_id: str | None = None
    status: str | None = None
    host: str | None = None
    """As source or as target."""
    source: str | None = None
    migration_type: str | None = None
    user_id: str | None = None
    project_id: str | None = None
    changes_since: datetime | None = None
    changes_before: datetime | None = None
    uuid: str | None = None
    marker: str | None = None
    """The uuid of one: list what comes after it."""
    limit: int | None = None


def fits(migration: Migration, wanted: MigrationFilter) -> bool:
    """Whether it is among what is listed, but for pages."""
    same = ("server_id", "status", "source", "migration_type", "user_id", "project_id", "uuid")
    return (
        all(getattr(wanted, name) in (None, getattr(migration, name)) for name in same)
        and wanted.host in (None, migration.source, migration.target)
        and (wanted.changes_since is None or migration.updated_at >= wanted.changes_since)
        and (wanted.changes_before is None or migration.updated_at <= wanted.changes_before)
    )
