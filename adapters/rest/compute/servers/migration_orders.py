"""What is asked of a live migration by headers, and the migration that a request names.

The headers are ours: Nova has no time for a single migration.
"""

from typing import Any, NamedTuple

from adapters.rest.kit.operation import Call
from domain.errors import Invalid, Refused
from domain.server.moves import steering
from domain.server.moves.migration import Migration, MigrationFilter
from domain.server.moves.orders import KEEP_TRYING, POLICIES, Policy
from domain.server.state import Server

DEADLINE, POLICY = "Lightcurve-Migration-Deadline", "Lightcurve-Migration-Policy"
LONGEST_SECONDS = int(steering.LONGEST.total_seconds())


class Asked(NamedTuple):
    """What the headers say; None where they say nothing."""

    policy: Policy | None
    seconds: float | None


def asked(call: Call) -> Asked:
    """What is wanted of a migration. Raises Invalid."""
    policy, deadline = call.headers.get(POLICY), call.headers.get(DEADLINE)
    if policy is not None and policy not in POLICIES:
        raise Invalid(f"{POLICY} is {policy[:40]!r}, and may be one of {', '.join(POLICIES)}.")
    seconds = None if deadline is None else _seconds(deadline)
    if policy == KEEP_TRYING and seconds is not None:
        raise Invalid(f"A migration that keeps trying takes no {DEADLINE}: it has a day.")
    return Asked(policy, seconds)


def _seconds(text: str) -> float:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if not 1 <= number <= LONGEST_SECONDS:
        raise Invalid(f"{DEADLINE} is {text[:40]!r}, and has to be a number of seconds from 1 to {LONGEST_SECONDS}.")
    return number


def begun(call: Call) -> dict[str, Any]:
    """Time and end of a migration that is asked for: by its headers, else by the configuration. Raises Invalid."""
    policy, seconds = asked(call)
    settings = call.services.settings
    if policy is None and seconds is not None and settings.live_migration_policy == KEEP_TRYING:
        raise Invalid(f"With a {DEADLINE} goes a {POLICY}: without it, migrations keep trying here.")
    return {
        "policy": policy or settings.live_migration_policy,
        "seconds": settings.live_migration_seconds if seconds is None else seconds,
    }


def shown(server: Server, row: Migration) -> dict[str, str]:
    """The headers that tell of a migration that is under way."""
    if server.move is None or server.move.id != row.uuid or server.action is None:
        return {}
    return {POLICY: server.move.policy, DEADLINE: server.action.deadline.isoformat(timespec="seconds")}


async def find_migration(call: Call, server: Server) -> Migration:
    """The one in the path. Raises Refused (404)."""
    migration_id = call.params["migration_id"]
    rows = await call.services.queries.migrations(MigrationFilter(server_id=server.id))
    row = next((row for row in rows if str(row.id) == migration_id), None)
    if row is None:
        raise Refused(
            "migration.not_found", f"Migration {migration_id} for server {server.id} not found.", status=404
        )
    return row
