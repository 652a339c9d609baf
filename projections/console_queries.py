"""The questions about console sessions. Each is one indexed query; all raise Unavailable."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import psycopg

from domain.errors import Unavailable
from projections.console_sessions import ConsoleSessionRow
from projections.queries import PostgresQueries

decoder = msgspec.json.Decoder(list[ConsoleSessionRow])
OPEN = "closed_at IS NULL"


class ConsoleQueries(PostgresQueries):
    """Questions to one read database, those about console sessions included."""

    async def console_proxies(self, cell: str) -> list[str]:
        """The proxies that have open sessions in a cell."""
        text = f"SELECT DISTINCT proxy FROM console_sessions WHERE cell = %s AND {OPEN}"  # noqa: S608
        return [proxy for (proxy,) in await self._asked(text, cell)]

    async def consoles_of(self, cell: str, proxy: str) -> list[tuple[str, str]]:
        """The open sessions of a proxy: the ids of grant and session."""
        text = f"SELECT grant_id, session_id FROM console_sessions WHERE cell = %s AND proxy = %s AND {OPEN}"  # noqa: S608
        return await self._asked(text, cell, proxy)

    async def consoles(
        self, limit: int, *, ended: bool = False, servers: Sequence[str] | None = None
    ) -> list["Seen"]:
        """The newest sessions, oldest first: the open ones, or with ``ended`` all that there were; with ``servers``
        only theirs."""
        text = (
            "SELECT coalesce(json_agg(c ORDER BY c.opened_at, c.session_id), '[]')::text,"  # noqa: S608
            " coalesce(json_agg(s.name ORDER BY c.opened_at, c.session_id), '[]')::text FROM ("
            f" SELECT * FROM console_sessions WHERE {'true' if ended else OPEN}"
            " AND (%s::text[] IS NULL OR server_id = ANY(%s))"
            " ORDER BY opened_at DESC LIMIT %s) c LEFT JOIN servers s ON s.id = c.server_id"
        )
        wanted = None if servers is None else list(servers)
        sessions, names = (await self._asked(text, wanted, wanted, limit))[0]
        named: list[str | None] = msgspec.json.decode(names)
        return [Seen(session, name) for session, name in zip(decoder.decode(sessions), named, strict=True)]

    async def _asked(self, text: str, *values: Any) -> list[Any]:
        try:
            return await self._rows(text, *values)
        except psycopg.errors.UndefinedTable:
            raise Unavailable("The projector has not made its tables yet.") from None


class Seen(NamedTuple):
    """A session, with the name of its server; None, if the servers' projection does not know it."""

    session: ConsoleSessionRow
    server_name: str | None
