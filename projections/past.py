"""The questions, asked as of a moment.

What one server was, and what was done to it, follows from its own events, which are few. A list would need those of
all servers: for that there are the versions.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace

from domain.log.moment import Moment
from domain.log.record import AggregateId, Recorded
from domain.server.instance_action import InstanceAction
from domain.server.listing import ServerFilter
from domain.server.moves.migration import Migration, MigrationFilter, fits
from domain.server.state import Server, aggregate
from projections.instance_actions import TABLE as ACTIONS
from projections.instance_actions import InstanceActionsView, newest_first
from projections.memory import MemoryRows
from projections.migrations import TABLE as MIGRATIONS
from projections.migrations import MigrationsView
from projections.queries import PostgresQueries
from projections.server_pages import past
from projections.servers import TABLE as SERVERS
from projections.servers import ServersView, decoder

PAGE = 200
"""Migrations that are looked at at once."""


class Histories(Protocol):
    """A log as it was at the moment."""

    async def load(self, aggregate: AggregateId) -> list[Recorded]:
        """The events of an aggregate. Raises Unavailable."""
        ...


class PastQueries:
    """Promises what ``handlers.ports.Queries`` does, for a moment that is over."""

    def __init__(self, queries: PostgresQueries, moment: Moment, histories: Sequence[Histories]) -> None:
        """``histories`` are the logs of all cells, as they were at the moment."""
        self._queries = queries
        self._source = past(moment)
        self._histories = histories

    async def server(self, server_id: str) -> Server | None:
        row = (await self._rows(server_id)).get(SERVERS, (server_id,))
        return decoder.decode(row.state) if row else None

    async def servers(self, wanted: ServerFilter) -> list[Server]:
        return await self._queries.servers_in(self._source, wanted)

    async def actions(self, server_id: str) -> list[InstanceAction]:
        return newest_first((await self._rows(server_id)).all(ACTIONS))

    async def action(self, server_id: str, request_id: str) -> InstanceAction | None:
        found: InstanceAction | None = (await self._rows(server_id)).get(ACTIONS, (server_id, request_id))
        return found

    async def migrations(self, wanted: MigrationFilter) -> list[Migration]:
        """Those that there are now and were there then, as they were: of each server its own events tell."""
        lasting = replace(wanted, status=None, host=None, changes_since=None, changes_before=None, limit=PAGE)
        found: list[Migration] = []
        while True:
            candidates = await self._queries.migrations(lasting)
            for candidate in candidates:
                rows = await self._rows(candidate.server_id)
                then: Migration | None = rows.get(MIGRATIONS, (candidate.server_id, candidate.id))
                if then and fits(then, wanted):
                    found.append(then)
                if len(found) == wanted.limit:
                    return found
            if len(candidates) < PAGE:
                return found
            lasting = replace(lasting, marker=candidates[-1].uuid)

    async def _rows(self, server_id: str) -> MemoryRows:
        """What the projections made of the server's events."""
        rows = MemoryRows((ServersView(), InstanceActionsView(), MigrationsView()))
        for history in self._histories:
            rows.apply(await history.load(aggregate(server_id)))
        return rows
