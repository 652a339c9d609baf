"""The questions, asked of PostgreSQL. Every list is one indexed query."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, Self

import msgspec
import psycopg
from psycopg import sql

from domain.errors import Unavailable
from domain.server.instance_action import InstanceAction
from domain.server.listing import ServerFilter
from domain.server.moves.migration import Migration, MigrationFilter
from domain.server.state import ERROR, OFFLOADED, Server
from projections import migration_pages
from projections.hosts import HostRow
from projections.pool import STATEMENT_SECONDS, About, Owner, Pool, Unread, nobody, nothing
from projections.server_pages import PRESENT, Source, page, server_decoder

action_decoder = msgspec.json.Decoder(InstanceAction)
actions_decoder = msgspec.json.Decoder(list[InstanceAction])
hosts_decoder = msgspec.json.Decoder(list[HostRow])


class ParkedRow(NamedTuple):
    """An event that a projection has set aside."""

    projection: str
    cell: str
    position: int
    aggregate: str
    reason: str
    since: datetime


class PostgresQueries:
    """Questions to one read database."""

    def __init__(
        self,
        url: str,
        statement_seconds: float = STATEMENT_SECONDS,
        owner: Owner = nobody,
        unread: Unread = nothing,
    ) -> None:
        """See Pool."""
        self._owner = owner
        self._pool = Pool(url, statement_seconds, owner, unread)

    async def open(self) -> None:
        """Begin to connect; a database that is not there yet is waited for by each question."""
        await self._pool.open()

    async def close(self) -> None:
        await self._pool.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def server(self, server_id: str) -> Server | None:
        rows = await self._rows("SELECT state::text FROM servers WHERE id = %s", server_id, about=(server_id,))
        return server_decoder.decode(rows[0][0]) if rows else None

    async def servers(self, wanted: ServerFilter) -> list[Server]:
        return await self.servers_in(PRESENT, wanted)

    async def servers_in(self, source: Source, wanted: ServerFilter) -> list[Server]:
        """The same, of other rows than the present ones. Raises Unavailable while these are not there yet."""
        # What who asks did to others' servers may be in a list of another project, too.
        about = None if wanted.project_id is None else (wanted.project_id, self._owner())
        return await page(partial(self._rows, about=about), source, wanted)

    async def actions(self, server_id: str) -> list[InstanceAction]:
        text = (
            "SELECT coalesce(json_agg(a ORDER BY a.start_time DESC, a.request_id), '[]')::text"
            " FROM instance_actions a WHERE server_id = %s"
        )
        return actions_decoder.decode((await self._rows(text, server_id, about=(server_id,)))[0][0])

    async def action(self, server_id: str, request_id: str) -> InstanceAction | None:
        text = "SELECT row_to_json(a)::text FROM instance_actions a WHERE server_id = %s AND request_id = %s"
        rows = await self._rows(text, server_id, request_id, about=(server_id,))
        return action_decoder.decode(rows[0][0]) if rows else None

    async def migrations(self, wanted: MigrationFilter) -> list[Migration]:
        return await migration_pages.page(self._rows, wanted)

    async def hosts(self) -> list[HostRow]:
        """All hosts, by name."""
        text = "SELECT coalesce(json_agg(h ORDER BY h.name), '[]')::text FROM hosts h"
        return hosts_decoder.decode((await self._rows(text))[0][0])

    async def host(self, name: str) -> HostRow | None:
        text = "SELECT coalesce(json_agg(h), '[]')::text FROM hosts h WHERE name = %s"
        found = hosts_decoder.decode((await self._rows(text, name))[0][0])
        return found[0] if found else None

    async def servers_named(self, name: str) -> list[Server]:
        """Every server of that name or id, also the deleted, newest first."""
        text = "SELECT state::text FROM servers WHERE id = %s OR name = %s ORDER BY created_at DESC"
        return [server_decoder.decode(row[0]) for row in await self._rows(text, name, name)]

    async def positions(self) -> list[tuple[str, int, str, int, bool]]:
        """Of every build: projection, build, cell, position, and whether it is in force."""
        text = (
            "SELECT name, build, cell, position, in_force FROM projection_builds"
            " JOIN projection_positions USING (build) ORDER BY name, build, cell"
        )
        return await self._rows(text)

    async def known_ends(self) -> dict[str, int]:
        """How far any projection has read, by cell."""
        ends: dict[str, int] = {}
        for _, _, cell, position, _ in await self.positions():
            ends[cell] = max(position, ends.get(cell, 0))
        return ends

    async def parked(self, limit: int) -> list[ParkedRow]:
        """The events that projections have set aside, oldest first."""
        text = (
            "SELECT name, cell, position, kind || '.' || aggregate_id, reason, parked_at FROM projection_parked"
            " JOIN projection_builds USING (build) ORDER BY cell, position, name LIMIT %s"
        )
        return [ParkedRow(*row) for row in await self._parked_rows(text, limit)]

    async def parked_counts(self) -> list[tuple[str, str, int, int]]:
        """Of every projection and cell with parked events: how many, and the first position."""
        text = (
            "SELECT name, cell, count(*), min(position) FROM projection_parked JOIN projection_builds USING (build)"
            " GROUP BY name, cell ORDER BY name, cell"
        )
        return await self._parked_rows(text)

    async def _parked_rows(self, text: str, *values: Any) -> list[Any]:
        try:
            return await self._rows(text, *values)
        except psycopg.errors.UndefinedTable:
            return []  # the projector has not made its tables yet

    async def unfinished(self, cell: str) -> tuple[list[str], int]:
        """The ids of a cell's servers with an action under way, and the position for which that holds."""
        text = (
            "SELECT (SELECT coalesce(min(position), 0) FROM projection_positions JOIN projection_builds b"
            " USING (build) WHERE b.name = 'servers' AND b.in_force AND cell = %s),"
            " ARRAY(SELECT id FROM servers WHERE cell = %s AND unfinished)"
        )
        try:
            position, ids = (await self._rows(text, cell, cell))[0]
        except psycopg.errors.UndefinedTable:
            raise Unavailable("The projector has not made its tables yet.") from None
        return ids, position

    async def living(self, cell: str, server_ids: Sequence[str]) -> tuple[set[str], int]:
        """Those of a cell's servers that are neither deleted, nor failed before they were anywhere, nor put away
        without a host, and the position for which that holds."""
        text = (
            "SELECT (SELECT coalesce(min(position), 0) FROM projection_positions JOIN projection_builds b"
            " USING (build) WHERE b.name = 'servers' AND b.in_force AND cell = %s),"
            " ARRAY(SELECT id FROM servers WHERE id = ANY(%s) AND NOT deleted"
            " AND NOT (host IS NULL AND (vm_state = %s OR (vm_state = %s AND launched_at IS NULL))))"
        )
        try:
            position, ids = (await self._rows(text, cell, list(server_ids), OFFLOADED, ERROR))[0]
        except psycopg.errors.UndefinedTable:
            raise Unavailable("The projector has not made its tables yet.") from None
        return set(ids), position

    async def _rows(self, text: str, *values: Any, about: About = None) -> list[Any]:
        return await self._pool.rows(sql.SQL(text), values, about)
