"""Rows in PostgreSQL: a batch of events is one transaction, and the position is written in it.

Rows travel as JSON both ways, without any work per column in Python, and all that a batch changes is one statement:
one way to the database and back.

A batch that fails is halved until the one event that cannot be taken in is found and parked; all others are
applied. A NUL, which PostgreSQL has no place for, is kept as U+FFFD.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import AsyncConnection, sql

from domain.log.checkpoint import Entry
from domain.log.kind import unfoldable
from domain.log.record import Recorded, Unreadable
from projections.archive import INSERT, Archive
from projections.builds import Build, names
from projections.memory import MemoryRows
from projections.parking import FOLLOWS, Parked, Parking, indigestible, reason_of
from projections.table import Key, Table

CACHED_ROWS = 50_000
CACHED_BYTES = 128 * 1024 * 1024
"""Rows kept in memory, a table, and about how many bytes of them. The writer is alone, so they are as the database
has them."""

_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""An escaped NUL in JSON, and not an escaped backslash before a harmless u0000."""

Skipped = dict[tuple[str, int], str]
"""The ids of events that were given up, by cell and position."""

WRITER_LOCK = 7_243_001
"""Advisory lock: one writer a database."""


async def connect(url: str, name: str) -> AsyncConnection[Any]:
    """A connection whose commits do not wait for the disk: what a power cut takes is read again from the log."""
    connection = await AsyncConnection.connect(url, autocommit=True, application_name=name)
    try:
        await connection.execute("SET synchronous_commit = off")
        await connection.execute("SET timezone = 'UTC'")
        # Rows are found by their keys only. A plan made while a table was small is kept, and must not read all of it.
        for way in ("seqscan", "hashjoin", "mergejoin"):
            await connection.execute(f"SET enable_{way} = off")
    except BaseException:
        await connection.close()
        raise
    return connection


class PostgresRows:
    """The rows of some builds, for the one writer of the database."""

    def __init__(
        self,
        connection: AsyncConnection[Any],
        builds: list[Build],
        skipped: Skipped | None = None,
        archive: Archive | None = None,
    ) -> None:
        """``skipped`` are the events that were given up; it may grow. The ``archive`` takes every message in the
        transaction in which the rows change."""
        self._connection = connection
        self._archive = archive
        self.builds = builds
        self.skipped: Skipped = {} if skipped is None else skipped
        self._parking = Parking(connection)
        self.positions: dict[tuple[int, str], int] = {}
        """By build and cell."""
        self._cache: dict[str, dict[Key, Any]] = {}
        self._cached_bytes: Counter[str] = Counter()
        """By table, of all that came in; a row that was written twice counts twice."""
        self._dirty: dict[str, dict[Key, Any]] = {}
        self._tables = [(build, table) for build in builds for table in build.projection.tables]
        self._statements: dict[tuple[str, ...], bytes] = {}
        """What writes rows of those tables, and the positions: what has no rows costs nothing."""
        self._types = {
            table.name: msgspec.json.Decoder(list[table.row])  # type: ignore[name-defined]
            for _, table in self._tables
        }

    async def open(self) -> None:
        """Learn the positions, and what is parked."""
        cursor = await self._connection.execute("SELECT build, cell, position FROM projection_positions")
        numbers = {build.number for build in self.builds}
        self.positions = {(build, cell): position async for build, cell, position in cursor if build in numbers}
        await self._parking.open()

    def position(self, cell: str) -> int:
        """Up to where all builds have read a cell."""
        return min((self.positions.get((build.number, cell), 0) for build in self.builds), default=0)

    def get(self, table: Table, key: Key) -> Any | None:
        return self._cache[table.name].get(key)

    def put(self, table: Table, row: msgspec.Struct) -> None:
        key = table.key_of(row)
        if not table.append_only:
            self._cache[table.name][key] = row
        self._dirty[table.name][key] = row

    async def apply(self, batch: list[Recorded], entries: Sequence[Entry] = ()) -> None:
        """Apply a batch of one cell's events in one transaction; what was applied before is passed over, and what
        cannot be applied is parked. ``entries`` are the messages that they are, for the archive. Where the database
        is at fault psycopg.Error or OSError is raised: begin anew."""
        if not batch:
            return
        cell, last = batch[0].cell, batch[-1].position
        entries = self._archive.fresh(cell, entries) if self._archive else ()
        if self._is_parked(batch) or not await self._apply_at_once(batch, entries):
            await self._apply_carefully(batch, entries)
        if self._archive:
            self._archive.passed(cell, entries)
        for build in self.builds:
            self.positions[build.number, cell] = max(last, self.positions.get((build.number, cell), 0))

    async def _apply_at_once(self, batch: list[Recorded], entries: Sequence[Entry]) -> bool:
        """Whether all of it could be applied; nothing was if not."""
        self._trim_cache()
        kept: tuple[Any, ...] = ()
        if self._archive:
            await self._archive.make_room(entries)
            kept = self._archive.columns(batch[0].cell, entries)
        try:
            for build in self.builds:
                await self._fold(build, self._not_given_up(self._not_done(build, batch)))
            changed = [(build, table) for build, table in self._tables if self._dirty[table.name]]
            documents = [self._document(table) for _, table in changed]
            await self._connection.execute(self._statement(changed), (*documents, *kept, *self._position_of(batch)))
        except BaseException as error:
            self._forget_rows(self._types)
            if isinstance(error, Exception) and indigestible(error):
                return False
            raise
        return True

    def _statement(self, changed: list[tuple[Build, Table]]) -> bytes:
        key = tuple(table.name for _, table in changed)
        if key not in self._statements:
            self._statements[key] = _write_all(changed, with_archive=self._archive is not None)
        return self._statements[key]

    async def _apply_carefully(self, batch: list[Recorded], entries: Sequence[Entry]) -> None:
        """In one transaction, all but what cannot be applied."""
        self._trim_cache()
        try:
            async with self._connection.transaction():
                if self._archive:
                    await self._archive.put(batch[0].cell, entries)
                for build in self.builds:
                    await self._apply_what_can_be(build, self._not_done(build, batch))
                await self._connection.execute(WRITE_POSITIONS, self._position_of(batch))
        except BaseException:
            self._forget_rows(self._types)
            raise

    def _position_of(self, batch: list[Recorded]) -> tuple[list[int], str, int]:
        return [build.number for build in self.builds], batch[-1].cell, batch[-1].position

    def _not_done(self, build: Build, batch: list[Recorded]) -> list[Recorded]:
        done = self.positions.get((build.number, batch[0].cell), 0)
        return [recorded for recorded in batch if recorded.position > done]

    async def parked(self) -> list[Parked]:
        """Every event that is parked, in order."""
        return await self._parking.all()

    async def retry(self, number: int, events: list[Recorded]) -> None:
        """Apply events of one aggregate that are parked in a build, in order; what fails again is parked again, with
        what follows it. An event that is skipped is parked no longer."""
        build = next(build for build in self.builds if build.number == number)
        self._trim_cache()
        async with self._connection.transaction():
            await self._parking.release(number, events)
            await self._apply_what_can_be(build, events)

    async def make_anew(self, build: Build, events: list[Recorded]) -> None:
        """Overwrite the rows of some aggregates with what all their events up to the build's position, as they are
        given now, make of them."""
        memory = MemoryRows((build.projection,))
        memory.apply(
            [event for event in events if event.position <= self.positions.get((build.number, event.cell), 0)]
        )
        self._forget_rows(table.name for table in build.projection.tables)
        async with self._connection.transaction():
            for table in build.projection.tables:
                if rows := memory.all(table):
                    await self._connection.execute(_upsert(build, table, overwrites=True), (_json(rows),))

    async def _set_aside(self, build: Build, events: list[Recorded]) -> list[Recorded]:
        """The events without those that are given up, and without those, which are parked now, that have an earlier
        one of their aggregate parked."""
        events = self._not_given_up(events)
        if not build.projection.folds:
            return events
        behind = [event for event in events if self._parking.has(build.number, event)]
        if not behind:
            return events
        await self._parking.park(build.number, build.projection.name, behind, FOLLOWS)
        return [event for event in events if not self._parking.has(build.number, event)]

    def _is_parked(self, batch: list[Recorded]) -> bool:
        """Whether something of one of the aggregates is."""
        return any(self._parking.has(build.number, recorded) for build in self.builds for recorded in batch)

    def _not_given_up(self, events: list[Recorded]) -> list[Recorded]:
        if not self.skipped:
            return events
        return [event for event in events if self.skipped.get((event.cell, event.position)) != event.meta.event_id]

    async def _apply_what_can_be(self, build: Build, events: list[Recorded]) -> None:
        events = await self._set_aside(build, events)
        if not events:
            return
        try:
            async with self._connection.transaction():
                await self._apply(build, events)
        except Exception as error:
            if not indigestible(error):
                raise
            self._forget_rows(table.name for table in build.projection.tables)
            if len(events) == 1:
                await self._parking.park(build.number, build.projection.name, events, reason_of(error))
                return
            half = len(events) // 2
            for part in (events[:half], events[half:]):
                await self._apply_what_can_be(build, part)

    def _trim_cache(self) -> None:
        for name in self._types:
            if len(self._cache.setdefault(name, {})) > CACHED_ROWS or self._cached_bytes[name] > CACHED_BYTES:
                self._forget_rows((name,))

    def _forget_rows(self, tables: Iterable[str]) -> None:
        for name in tables:
            self._cache[name] = {}
            self._cached_bytes[name] = 0

    async def _apply(self, build: Build, batch: list[Recorded]) -> None:
        await self._fold(build, batch)
        for table in build.projection.tables:
            if self._dirty[table.name]:
                await self._connection.execute(_upsert(build, table), (self._document(table),))

    async def _fold(self, build: Build, batch: list[Recorded]) -> None:
        """Find out which rows change, and how. The database is asked, once at the most, for what the batch reads and
        does not itself put before."""
        self._dirty |= {table.name: {} for table in build.projection.tables}
        reads = [list(build.projection.reads(recorded)) for recorded in batch]
        asked = False
        for number, recorded in enumerate(batch):
            if not asked and self._missing(reads[number : number + 1]):
                asked = True
                await self._load(build, self._missing(reads[number:]))
            if isinstance(recorded.event, Unreadable):
                raise unfoldable(recorded.event)
            build.projection.apply(recorded, self)

    def _missing(self, reads: list[list[tuple[Table, Key]]]) -> dict[str, set[Key]]:
        """By table, the keys of those rows that are not in memory."""
        missing: dict[str, set[Key]] = {}
        for table, key in (read for reads_of_one in reads for read in reads_of_one):
            if key not in self._cache[table.name]:
                missing.setdefault(table.name, set()).add(key)
        return missing

    def _document(self, table: Table) -> str:
        """The rows of a table that have changed."""
        document = _json(list(self._dirty[table.name].values()))
        if not table.append_only:
            self._cached_bytes[table.name] += len(document)
        return document

    async def _load(self, build: Build, wanted: dict[str, set[Key]]) -> None:
        for table in build.projection.tables:
            if keys := wanted.get(table.name):
                await self._load_rows(build, table, keys)

    async def _load_rows(self, build: Build, table: Table, keys: set[Key]) -> None:
        wanted = _json([dict(zip(table.key, key, strict=True)) for key in keys])
        query = sql.SQL(
            "SELECT coalesce(json_agg(t), '[]')::text FROM {table} t WHERE ({qualified}) IN"
            " (SELECT {key} FROM json_populate_recordset(null::{table}, %s::json))"
        )
        cursor = await self._connection.execute(
            query.format(
                table=build.table(table),
                key=names(table.key),
                qualified=sql.SQL(", ").join(sql.Identifier("t", name) for name in table.key),
            ),
            (wanted,),
        )
        found = await cursor.fetchone()
        assert found is not None
        self._cached_bytes[table.name] += len(found[0])
        for row in self._types[table.name].decode(found[0]):
            self._cache[table.name][table.key_of(row)] = row


WRITE_POSITIONS = """
INSERT INTO projection_positions (build, cell, position) SELECT unnest(%s::int[]), %s, %s
ON CONFLICT (build, cell) DO UPDATE SET position = greatest(projection_positions.position, EXCLUDED.position)
"""


def _upsert(build: Build, table: Table, *, overwrites: bool = False) -> sql.Composed:
    """The statement that writes the rows of a document; ``overwrites``: also those that are only added otherwise."""
    if table.append_only and not overwrites:
        return sql.SQL(
            "INSERT INTO {table} SELECT * FROM json_populate_recordset(null::{table}, %s::json)"
            " ON CONFLICT DO NOTHING"
        ).format(table=build.table(table))
    sets = [
        sql.SQL("{name} = EXCLUDED.{name}").format(name=sql.Identifier(name))
        for name in table.columns
        if name not in table.key
    ]
    return sql.SQL(
        "INSERT INTO {table} SELECT * FROM json_populate_recordset(null::{table}, %s::json)"
        " ON CONFLICT ({key}) DO UPDATE SET {sets}"
    ).format(table=build.table(table), key=names(table.key), sets=sql.SQL(", ").join(sets))


def _write_all(changed: list[tuple[Build, Table]], *, with_archive: bool) -> bytes:
    """The statement that writes a document for each of the tables, messages if there is an archive, and then the
    positions."""
    writes: list[sql.Composable] = [_upsert(build, table) for build, table in changed]
    if with_archive:
        writes.append(sql.SQL(INSERT))
    parts = [
        sql.SQL("{} AS ({})").format(sql.Identifier(f"part_{number}"), part) for number, part in enumerate(writes)
    ]
    first = sql.SQL("WITH {} ").format(sql.SQL(", ").join(parts)) if parts else sql.SQL("")
    return (first + sql.SQL(WRITE_POSITIONS)).as_bytes(None)


async def lock_writer(connection: AsyncConnection[Any]) -> bool:
    """Become the database's one writer; False if another is."""
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (WRITER_LOCK,))
    row = await cursor.fetchone()
    return bool(row and row[0])


def _json(rows: object) -> str:
    """The rows as a document that PostgreSQL takes."""
    document = msgspec.json.encode(rows).decode()
    return _NUL.sub(r"\1\\ufffd", document) if "\\u0000" in document else document


DatabaseError = psycopg.Error
