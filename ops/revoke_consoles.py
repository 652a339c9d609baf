"""``lightcurve revoke-consoles SERVER``: makes every console token of a server void; open sessions end at once."""

from domain.errors import not_found
from ops.roles.console_grants import consoles
from ops.roles.plane import COMMAND_SECONDS, open_plane
from ops.settings import Settings
from projections.log_queries import LogQueries

MOST = 10_000
"""Grants of one server that are looked through, the newest first."""


async def revoke(settings: Settings, server: str) -> int:
    """Revoke them all; returns how many there were to revoke. Raises Refused (404) for an unknown server."""
    queries = LogQueries(settings.database.url)
    await queries.open()
    try:
        found = await queries.servers_named(server)
        if not found:
            raise not_found("Instance", server)
        rows = [row for each in found for row in await _granted(queries, each.id)]
    finally:
        await queries.close()
    async with open_plane(settings, "revoke-consoles", COMMAND_SECONDS) as plane:
        grants = consoles(plane)
        context = plane.stamp.own_context()
        revoked = [await grants.revoke(context, grant_id) for grant_id in rows]
    return sum(position > 0 for position in revoked)


async def _granted(queries: LogQueries, server_id: str) -> list[str]:
    rows = await queries.log(server_id=server_id, kind="console.granted", limit=MOST)
    return [row.aggregate_id for row in rows]
