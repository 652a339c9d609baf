"""What was in the log, message by message? A second copy of all of it, beside the projections that are made of it.

A row is a message to the byte, so that digests and the leaves of checkpoints come out the same. The archive is no
projection: it is not built anew from the log, because it keeps what the log may have lost. It grows at its end, and
what stands in it is never replaced by something else.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

from psycopg import AsyncConnection, sql

from domain.log.checkpoint import Entry
from domain.log.recovery import Missing, ranges
from projections import packed

SCHEMA = """
CREATE TABLE IF NOT EXISTS archive (
    cell text NOT NULL, position bigint NOT NULL, time timestamptz NOT NULL,
    subject text NOT NULL, headers bytea STORAGE EXTERNAL NOT NULL, body bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (cell, position, time)
) PARTITION BY RANGE (time);
CREATE TABLE IF NOT EXISTS archive_lost (
    recovery_id text NOT NULL, cell text NOT NULL, position bigint NOT NULL, time timestamptz NOT NULL,
    subject text NOT NULL, headers bytea NOT NULL, body bytea NOT NULL,
    PRIMARY KEY (recovery_id, cell, position)
);
CREATE TABLE IF NOT EXISTS archive_recoveries (event_id text PRIMARY KEY);
"""
_SCHEMA_LOCK = 7_243_002
"""Advisory lock: one at a time makes the tables."""
_INLINE_BYTES = 8160
"""Of a row: what is shorter stays whole on its page, and costs one write."""
PAGE = 1000
"""Messages that are written or read at once."""
_NO_END = 2**63 - 1
UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)
"""Of a message that does not tell."""
_TIME, _MONTH = b"\r\nce-time: ", len("2026-11")

INSERT = """
INSERT INTO archive (cell, position, time, subject, headers, body)
SELECT %s::text, * FROM unnest(%s, %s, %s, %s, %s)
"""
"""What ``Archive.columns`` returns are its parameters."""
_ENDS = """
WITH RECURSIVE known AS (
    (SELECT cell FROM archive ORDER BY cell LIMIT 1)
    UNION ALL
    SELECT (SELECT cell FROM archive WHERE cell > known.cell ORDER BY cell LIMIT 1) FROM known WHERE cell IS NOT NULL
)
SELECT cell, (SELECT max(position) FROM archive WHERE archive.cell = known.cell) FROM known WHERE cell IS NOT NULL
"""
_LEAF = r"sha256('\x00'::bytea || convert_to(subject, 'UTF8') || '\x0a'::bytea || headers || body)"

Columns = tuple[str, bytes, bytes, bytes, bytes, bytes]


class Archive:
    """The copies of all cells' logs. Whoever writes is alone: see projections.postgres.lock_writer."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        self._connection = connection
        packed.register(connection)
        self._ends: dict[str, int] = {}
        self._months: set[bytes] = set()
        """As messages tell their time, those for which there is a partition."""
        self._followed: set[str] = set()

    async def open(self) -> None:
        """Make its tables if they are not there, and learn where it ends."""
        async with self._connection.transaction():
            # Of two that make a table at once, one fails even with IF NOT EXISTS.
            await self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
            await self._connection.execute(SCHEMA)
        cursor = await self._connection.execute(_ENDS)
        self._ends = {cell: end async for cell, end in cursor}

    def end(self, cell: str) -> int:
        """The last position that is in it."""
        return self._ends.get(cell, 0)

    def follow(self, cell: str) -> None:
        """From now on it takes what the projections take: it has all that they have."""
        self._followed.add(cell)

    def follows(self, cell: str) -> bool:
        """Whether it grows with the projections; else it is being filled up to where they are."""
        return cell in self._followed

    def fresh(self, cell: str, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Those of some messages, in order, that are to be written with what the projections make of them."""
        if cell not in self._followed or not entries:
            return ()
        end = self.end(cell)
        return entries if entries[0].position > end else [each for each in entries if each.position > end]

    def columns(self, cell: str, entries: Sequence[Entry]) -> Columns:
        """The parameters of INSERT."""
        return (
            cell,
            packed.bigints([entry.position for entry in entries]),
            packed.times([_time(entry) for entry in entries]),
            packed.texts([entry.subject for entry in entries]),
            packed.byteas([entry.headers for entry in entries]),
            packed.byteas([entry.body for entry in entries]),
        )

    async def make_room(self, entries: Sequence[Entry]) -> None:
        """See that there is a partition for the month of each."""
        by_word = {_told_time(entry)[:_MONTH]: entry for entry in entries}
        for word, entry in by_word.items():
            if word not in self._months:
                await self._make_partition(_time(entry))
                self._months.add(word)

    async def _make_partition(self, time: datetime) -> None:
        first = datetime(time.year, time.month, 1, tzinfo=UTC)
        year, month = (time.year, time.month + 1) if time.month < 12 else (time.year + 1, 1)
        statement = sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} PARTITION OF archive FOR VALUES FROM ({}) TO ({})"
            " WITH (toast_tuple_target = {})"
        )
        name = sql.Identifier(f"archive_{first.year:04}_{first.month:02}")
        following = f"{year:04}-{month:02}-01 00:00:00+00"
        await self._connection.execute(statement.format(name, first.isoformat(), following, _INLINE_BYTES))

    def passed(self, cell: str, entries: Sequence[Entry]) -> None:
        """They were written, for good."""
        if entries:
            self._ends[cell] = max(entries[-1].position, self.end(cell))

    async def put(self, cell: str, entries: Sequence[Entry]) -> None:
        """Write messages that are not in it; all or none. In a transaction, say ``passed`` behind it."""
        if entries:
            await self.make_room(entries)
            await self._connection.execute(INSERT, self.columns(cell, entries))

    async def leaves(self, cell: str, first: int, last: int) -> dict[int, bytes]:
        """The hashes that stand for the messages at these positions in the tree, by position."""
        async with self._connection.cursor(binary=True) as cursor:
            await cursor.execute(
                f"SELECT position, {_LEAF} FROM archive WHERE cell = %s AND position BETWEEN %s AND %s",  # noqa: S608
                (cell, first, last),
            )
            return {position: leaf async for position, leaf in cursor}

    async def differing(self, cell: str, entries: Sequence[Entry]) -> list[int]:
        """The positions at which it has something else. Where it has nothing, nothing differs."""
        if not entries:
            return []
        known = await self.leaves(cell, entries[0].position, entries[-1].position)
        return [entry.position for entry in entries if known.get(entry.position, entry.leaf) != entry.leaf]

    async def entries(self, cell: str, after: int = 0, last: int = _NO_END) -> AsyncIterator[list[Entry]]:
        """The messages behind a position, in order, up to ``last``."""
        while after < last:
            async with self._connection.cursor(binary=True) as cursor:
                await cursor.execute(
                    "SELECT position, subject, headers, body FROM archive"
                    " WHERE cell = %s AND position > %s AND position <= %s ORDER BY position LIMIT %s",
                    (cell, after, last, PAGE),
                )
                found = [Entry(*row) async for row in cursor]
            if not found:
                return
            after = found[-1].position
            yield found

    async def last_on(self, cell: str, subject: str) -> Entry | None:
        """The last message on a subject."""
        async with self._connection.cursor(binary=True) as cursor:
            await cursor.execute(
                "SELECT position, subject, headers, body FROM archive WHERE cell = %s AND subject = %s"
                " ORDER BY position DESC LIMIT 1",
                (cell, subject),
            )
            row = await cursor.fetchone()
        return Entry(*row) if row else None

    async def positions(self, cell: str) -> list[int]:
        """All positions that it has."""
        cursor = await self._connection.execute("SELECT position FROM archive WHERE cell = %s", (cell,))
        return [position async for (position,) in cursor]

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """What is changed within happens as a whole or not at all."""
        return self._connection.transaction()

    async def has(self, cell: str, missing: Sequence[Missing]) -> tuple[Missing, ...]:
        """Which of some positions it has."""
        found: list[int] = []
        for each in missing:
            cursor = await self._connection.execute(
                "SELECT position FROM archive WHERE cell = %s AND position BETWEEN %s AND %s ORDER BY position",
                (cell, each.first, each.last),
            )
            found += [position async for (position,) in cursor]
        return ranges(found)

    async def set_aside(self, recovery_id: str, cell: str, positions: list[int]) -> None:
        """The log goes on without what stands at these positions. It is kept apart, under the recovery's event id."""
        await self._connection.execute(
            "WITH gone AS (DELETE FROM archive WHERE cell = %s AND position = ANY(%s) RETURNING *)"
            " INSERT INTO archive_lost SELECT %s, gone.* FROM gone ON CONFLICT DO NOTHING",
            (cell, positions, recovery_id),
        )

    async def lost(self) -> list[tuple[str, str, int, int, int]]:
        """Of all that was set aside: recovery, cell, how many events, the first and the last position."""
        cursor = await self._connection.execute(
            "SELECT recovery_id, cell, count(*), min(position), max(position) FROM archive_lost"
            " GROUP BY recovery_id, cell ORDER BY cell, min(position)"
        )
        return [row async for row in cursor]

    async def lost_entries(self, recovery_id: str) -> AsyncIterator[tuple[str, Entry]]:
        """What was set aside by a recovery, with its cell, in order."""
        async with self._connection.cursor(binary=True) as cursor:
            await cursor.execute(
                "SELECT cell, position, subject, headers, body FROM archive_lost WHERE recovery_id = %s"
                " ORDER BY cell, position",
                (recovery_id,),
            )
            async for row in cursor:
                yield row[0], Entry(*row[1:])

    async def honoured(self, recovery_id: str) -> bool:
        """Whether it follows the log since that recovery."""
        cursor = await self._connection.execute("SELECT FROM archive_recoveries WHERE event_id = %s", (recovery_id,))
        return await cursor.fetchone() is not None

    async def honour(self, recovery_id: str) -> None:
        """Remember that it does."""
        await self._connection.execute(
            "INSERT INTO archive_recoveries VALUES (%s) ON CONFLICT DO NOTHING", (recovery_id,)
        )


def _time(entry: Entry) -> datetime:
    """When it was recorded, as it says itself."""
    try:
        found = datetime.fromisoformat(_told_time(entry).decode())
    except ValueError:
        return UNKNOWN_TIME
    return found if found.tzinfo is UTC else UNKNOWN_TIME


def _told_time(entry: Entry) -> bytes:
    headers = entry.headers
    at = headers.find(_TIME)
    return headers[at + len(_TIME) : headers.find(b"\r\n", at + len(_TIME))] if at >= 0 else b""
