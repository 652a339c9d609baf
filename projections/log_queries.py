"""The questions about events. Each is one indexed query; the bodies are in the log."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import psycopg

from domain.errors import Unavailable
from domain.log.moment import Moment
from projections.event_log import LogRow
from projections.queries import PostgresQueries

log_decoder = msgspec.json.Decoder(list[LogRow])
IN_ORDER = "SELECT coalesce(json_agg(e ORDER BY e.time, e.cell, e.position, e.part), '[]')::text FROM ({}) e"
IN_POSITION = "SELECT coalesce(json_agg(e ORDER BY e.position), '[]')::text FROM ({}) e"
CONDITIONS = {
    "type": "starts_with(type, %s)",
    "server_id": "server_id = %s",
    "project_id": "project_id = %s",
    "user_id": "user_id = %s",
    "request_id": "request_id = %s",
}
MOST_REQUESTS = 100
"""Requests of one server, or of one global request id, that are told of: the newest."""


class LogQueries(PostgresQueries):
    """Questions to one read database, those about events included."""

    async def log(
        self,
        *,
        server_id: str | None = None,
        request_id: str | None = None,
        kind: str | None = None,
        limit: int = 1000,
    ) -> list[LogRow]:
        """The newest events that match, oldest first. Of a server: also what was claimed or reserved for it."""
        conditions = {"server_id = %s": server_id, "request_id = %s": request_id, "starts_with(type, %s)": kind}
        wanted = {condition: value for condition, value in conditions.items() if value is not None}
        where = " AND ".join(wanted) or "true"
        text = f"SELECT * FROM event_log WHERE {where} ORDER BY time DESC, position DESC LIMIT %s"  # noqa: S608
        return await self._log(text, *wanted.values(), limit)

    async def log_between(
        self, before: Moment, after: Moment, kinds: Sequence[str], limit: int, aggregate_id: str | None = None
    ) -> list[LogRow]:
        """The first events of those kinds (and of the one aggregate) behind one moment and up to another."""
        bounds = [(cell, before[cell], position) for cell, position in after.positions]
        places = " OR ".join("(cell = %s AND position > %s AND position <= %s)" for _ in bounds)
        text = (
            "SELECT * FROM event_log WHERE kind = ANY(%s) AND (%s::text IS NULL OR aggregate_id = %s)"  # noqa: S608
            f" AND ({places}) ORDER BY cell, position, part LIMIT %s"
        )
        values = (value for bound in bounds for value in bound)
        return await self._log(text, list(kinds), aggregate_id, aggregate_id, *values, limit)

    async def page(
        self, wanted: Mapping[str, str], after: Moment, until: Moment, limit: int, *, whole_only: bool
    ) -> list[LogRow]:
        conditions = [CONDITIONS[name] for name in wanted] + (["part = 0"] if whole_only else [])
        rows: list[LogRow] = []
        for cell, end in until.positions:
            text = (
                "SELECT DISTINCT ON (position) * FROM event_log"  # noqa: S608
                f" WHERE {' AND '.join(['cell = %s AND position > %s AND position <= %s', *conditions])}"
                " ORDER BY position, part LIMIT %s"
            )
            values = (cell, after[cell], end, *wanted.values(), limit - len(rows))
            rows += log_decoder.decode((await self._asked(IN_POSITION.format(text), *values))[0][0])
            if len(rows) >= limit:
                break
        return rows

    async def names(self, server_ids: Iterable[str]) -> dict[str, str]:
        """What servers are called, or were before they were deleted, by id."""
        return dict(await self._asked("SELECT id, name FROM servers WHERE id = ANY(%s)", list(server_ids)))

    async def requests(self, identity: str) -> list[str]:
        """The ids of the requests that are meant by the id of a request, of a global request, of a server, or of an
        event; in the order in which they came. An event is looked for among all."""
        for column in ("request_id", "global_request_id", "server_id", "event_id"):
            text = (
                "SELECT request_id FROM (SELECT request_id, min(time) AS began FROM event_log"  # noqa: S608
                f" WHERE {column} = %s GROUP BY request_id ORDER BY began DESC LIMIT %s) found ORDER BY began"
            )
            if rows := await self._asked(text, identity, MOST_REQUESTS):
                return [request_id for (request_id,) in rows]
        return []

    async def _log(self, text: str, *values: Any) -> list[LogRow]:
        return log_decoder.decode((await self._asked(IN_ORDER.format(text), *values))[0][0])

    async def _asked(self, text: str, *values: Any) -> list[Any]:
        try:
            return await self._rows(text, *values)
        except psycopg.errors.UndefinedTable:
            raise Unavailable("The projector has not made its tables yet.") from None
