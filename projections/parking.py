"""Events that a projection could not take in: set aside with the reason, so that all others go on.

An event is parked when the database refuses it, or when applying it raises, and trying again could only fail again.
Where a projection folds an aggregate's events on each other, what follows of that aggregate is parked behind it: a
row without one of its events would be shown as if it were right.
"""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg
from psycopg import AsyncConnection

from domain.errors import LightcurveError
from domain.log.record import AggregateId, Recorded

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS projection_parked (
    build int NOT NULL REFERENCES projection_builds ON DELETE CASCADE,
    cell text NOT NULL, position bigint NOT NULL,
    kind text NOT NULL, aggregate_id text NOT NULL, reason text NOT NULL, parked_at timestamptz NOT NULL,
    PRIMARY KEY (build, cell, position)
);
"""
MAX_REASON = 500
"""Characters of a reason that are kept."""
FOLLOWS = "An earlier event of this aggregate is parked."
_LIMIT_EXCEEDED = "54"
"""The class of SQLSTATE for what is too large, as for an index; psycopg makes an OperationalError of it."""


def indigestible(error: Exception) -> bool:
    """Whether the event is at fault, and not the database, its tables, or the way to it."""
    if isinstance(error, psycopg.Error):
        refused = isinstance(error, psycopg.DataError | psycopg.IntegrityError)
        return refused or (error.sqlstate or "").startswith(_LIMIT_EXCEEDED)
    return not isinstance(error, OSError | MemoryError)


def reason_of(error: Exception) -> str:
    """Why it could not be taken in, in words that a table can hold."""
    if isinstance(error, psycopg.Error):
        words = error.diag.message_primary or str(error)
    else:
        words = error.message if isinstance(error, LightcurveError) else f"{type(error).__name__}: {error}"
    return _held(words)[:MAX_REASON]


class Parked(NamedTuple):
    """An event that is parked in a build."""

    build: int
    cell: str
    position: int
    aggregate: AggregateId


class Parking:
    """What is parked in some builds. To be opened again after a transaction that failed."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection
        self._aggregates: dict[tuple[int, str], set[tuple[str, str]]] = {}
        """By build and cell: kind and id of the aggregates of which something is parked, as the table holds them."""

    async def open(self) -> None:
        """Learn what is parked."""
        self._aggregates = {}
        for build, cell, _, aggregate in await self.all():
            self._aggregates.setdefault((build, cell), set()).add(aggregate)

    def has(self, build: int, recorded: Recorded) -> bool:
        """Whether something of the event's aggregate is parked in the build."""
        aggregates = self._aggregates.get((build, recorded.cell))
        return aggregates is not None and _place(recorded.aggregate) in aggregates

    async def all(self) -> list[Parked]:
        """Everything that is parked, in order."""
        cursor = await self._connection.execute(
            "SELECT build, cell, position, kind, aggregate_id FROM projection_parked ORDER BY build, cell, position"
        )
        return [Parked(row[0], row[1], row[2], AggregateId(row[3], row[4])) async for row in cursor]

    async def park(self, build: int, projection: str, events: Iterable[Recorded], reason: str) -> None:
        """Set events of one cell aside. Call it in a transaction."""
        now = datetime.now(UTC)
        rows = [
            (build, recorded.cell, recorded.position, *_place(recorded.aggregate), reason, now) for recorded in events
        ]
        async with self._connection.cursor() as cursor:
            await cursor.executemany(
                "INSERT INTO projection_parked VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING", rows
            )
        for _, cell, position, kind, id_, *_ in rows:
            self._aggregates.setdefault((build, cell), set()).add((kind, id_))
            level = logging.INFO if reason == FOLLOWS else logging.ERROR
            log.log(
                level, "event %d of %s (%s.%s) is parked in %s: %s", position, cell, kind, id_, projection, reason
            )

    async def release(self, build: int, events: Iterable[Recorded]) -> None:
        """Forget that events of one aggregate are parked, and that the aggregate was. Call it in a transaction."""
        for recorded in events:
            await self._connection.execute(
                "DELETE FROM projection_parked WHERE build = %s AND cell = %s AND position = %s",
                (build, recorded.cell, recorded.position),
            )
            self._aggregates.get((build, recorded.cell), set()).discard(_place(recorded.aggregate))


def _place(aggregate: AggregateId) -> AggregateId:
    return AggregateId(_held(aggregate.kind), _held(aggregate.id))


def _held(text: str) -> str:
    """The text, without what no column holds."""
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
