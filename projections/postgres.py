"""Rows in PostgreSQL: a batch of events is one transaction, and the position is written in it.

Each build of a projection has tables of its own; views under the plain names show the build in force. So a
projection can be built anew beside the old one while that still answers, and the change-over is one transaction.
Rows travel as JSON both ways: one statement a table and batch, without any work per column in Python.

A batch that fails is halved until the one event that cannot be taken in is found and parked; all others are
applied. A NUL, which PostgreSQL has no place for, is kept as U+FFFD.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg import AsyncConnection, sql

from domain.kind import unfoldable
from domain.record import Recorded, Unreadable
from projections import parking
from projections.parking import FOLLOWS, Parked, Parking, indigestible, reason_of
from projections.table import Key, Projection, Table

CACHED_ROWS = 50_000
CACHED_BYTES = 128 * 1024 * 1024
"""Rows kept in memory, a table, and about how many bytes of them. The writer is alone, so they are as the database
has them."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS projection_builds (
    build serial PRIMARY KEY, name text NOT NULL, version int NOT NULL, in_force boolean NOT NULL
);
CREATE TABLE IF NOT EXISTS projection_positions (
    build int NOT NULL REFERENCES projection_builds ON DELETE CASCADE,
    cell text NOT NULL, position bigint NOT NULL,
    PRIMARY KEY (build, cell)
);
"""

_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
"""An escaped NUL in JSON, and not an escaped backslash before a harmless u0000."""

RECOVERIES = """
CREATE TABLE IF NOT EXISTS projection_recoveries (event_id text PRIMARY KEY);
"""
"""The recoveries of logs after which everything was built anew."""

Skipped = dict[tuple[str, int], str]
"""The ids of events that were given up, by cell and position."""

WRITER_LOCK = 7_243_001
"""Advisory lock: one writer a database."""


class Build(NamedTuple):
    """One building of a projection's tables."""

    number: int
    projection: Projection

    def table(self, table: Table) -> sql.Identifier:
        """The name of this build's own table."""
        return sql.Identifier(f"{table.name}__{self.number}")


async def connect(url: str, name: str) -> AsyncConnection[Any]:
    """A connection whose commits do not wait for the disk: what a power cut takes is read again from the log."""
    connection = await AsyncConnection.connect(url, autocommit=True, application_name=name)
    await connection.execute("SET synchronous_commit = off")
    await connection.execute("SET timezone = 'UTC'")
    return connection


class PostgresRows:
    """The rows of some builds, for the one writer of the database."""

    def __init__(self, connection: AsyncConnection[Any], builds: list[Build], skipped: Skipped | None = None) -> None:
        """``skipped`` are the events that were given up; it may grow."""
        self._connection = connection
        self.builds = builds
        self.skipped: Skipped = {} if skipped is None else skipped
        self._parking = Parking(connection)
        self.positions: dict[tuple[int, str], int] = {}
        """By build and cell."""
        self._cache: dict[str, dict[Key, Any]] = {}
        self._cached_bytes: Counter[str] = Counter()
        """By table, of all that came in; a row that was written twice counts twice."""
        self._dirty: dict[str, dict[Key, Any]] = {}
        self._types = {
            table.name: msgspec.json.Decoder(list[table.row])  # type: ignore[name-defined]
            for build in builds
            for table in build.projection.tables
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
        """One row, if it was named by ``reads`` or put before."""
        return self._cache[table.name].get(key)

    def put(self, table: Table, row: msgspec.Struct) -> None:
        """Insert or replace, with the batch."""
        key = table.key_of(row)
        self._cache[table.name][key] = row
        self._dirty[table.name][key] = row

    async def apply(self, batch: list[Recorded]) -> None:
        """Apply a batch of one cell's events in one transaction; what was applied before is passed over, and what
        cannot be applied is parked. Where the database is at fault psycopg.Error or OSError is raised: begin anew."""
        if not batch:
            return
        try:
            await self._apply_all(batch, carefully=False)
        except Exception as error:
            if not indigestible(error):
                raise
            await self._apply_all(batch, carefully=True)
        cell, last = batch[0].cell, batch[-1].position
        for build in self.builds:
            self.positions[build.number, cell] = max(last, self.positions.get((build.number, cell), 0))

    async def _apply_all(self, batch: list[Recorded], *, carefully: bool) -> None:
        self._trim_cache()
        cell, last = batch[0].cell, batch[-1].position
        try:
            async with self._connection.transaction():
                for build in self.builds:
                    done = self.positions.get((build.number, cell), 0)
                    events = [recorded for recorded in batch if recorded.position > done]
                    if carefully:
                        await self._apply_what_can_be(build, events)
                    else:
                        await self._apply(build, await self._set_aside(build, events))
                await self._write_positions(cell, last)
        except BaseException:
            self._forget_rows(self._types)
            raise

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

    async def _set_aside(self, build: Build, events: list[Recorded]) -> list[Recorded]:
        """The events without those that are given up, and without those, which are parked now, that have an earlier
        one of their aggregate parked."""
        if self.skipped:
            events = [event for event in events if not self._is_given_up(event)]
        if not build.projection.folds:
            return events
        behind = [event for event in events if self._parking.has(build.number, event)]
        if not behind:
            return events
        await self._parking.park(build.number, build.projection.name, behind, FOLLOWS)
        return [event for event in events if not self._parking.has(build.number, event)]

    def _is_given_up(self, event: Recorded) -> bool:
        return self.skipped.get((event.cell, event.position)) == event.meta.event_id

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
        self._dirty |= {table.name: {} for table in build.projection.tables}
        reads: dict[str, set[Key]] = {}
        for recorded in batch:
            for table, key in build.projection.reads(recorded):
                if key not in self._cache[table.name]:
                    reads.setdefault(table.name, set()).add(key)
        for table in build.projection.tables:
            if keys := reads.get(table.name):
                await self._load(build, table, keys)
        for recorded in batch:
            if isinstance(recorded.event, Unreadable):
                raise unfoldable(recorded.event)
            build.projection.apply(recorded, self)
        for table in build.projection.tables:
            if rows := self._dirty[table.name]:
                await self._write(build, table, rows.values())

    async def _load(self, build: Build, table: Table, keys: set[Key]) -> None:
        wanted = _json([dict(zip(table.key, key, strict=True)) for key in keys])
        query = sql.SQL(
            "SELECT coalesce(json_agg(t), '[]')::text FROM {table} t WHERE ({qualified}) IN"
            " (SELECT {key} FROM json_populate_recordset(null::{table}, %s::json))"
        )
        cursor = await self._connection.execute(
            query.format(
                table=build.table(table),
                key=_names(table.key),
                qualified=sql.SQL(", ").join(sql.Identifier("t", name) for name in table.key),
            ),
            (wanted,),
        )
        found = await cursor.fetchone()
        assert found is not None
        self._cached_bytes[table.name] += len(found[0])
        for row in self._types[table.name].decode(found[0]):
            self._cache[table.name][table.key_of(row)] = row

    async def _write(self, build: Build, table: Table, rows: Iterable[msgspec.Struct]) -> None:
        query = sql.SQL(
            "INSERT INTO {table} SELECT * FROM json_populate_recordset(null::{table}, %s::json)"
            " ON CONFLICT ({key}) DO UPDATE SET {sets}"
        )
        sets = [
            sql.SQL("{name} = EXCLUDED.{name}").format(name=sql.Identifier(name))
            for name in table.columns
            if name not in table.key
        ]
        document = _json(list(rows))
        self._cached_bytes[table.name] += len(document)
        await self._connection.execute(
            query.format(table=build.table(table), key=_names(table.key), sets=sql.SQL(", ").join(sets)), (document,)
        )

    async def _write_positions(self, cell: str, position: int) -> None:
        await self._connection.execute(
            "INSERT INTO projection_positions (build, cell, position) SELECT unnest(%s::int[]), %s, %s"
            " ON CONFLICT (build, cell) DO UPDATE SET"
            " position = greatest(projection_positions.position, EXCLUDED.position)",
            ([build.number for build in self.builds], cell, position),
        )


async def lock_writer(connection: AsyncConnection[Any]) -> bool:
    """Become the database's one writer; False if another is."""
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", (WRITER_LOCK,))
    row = await cursor.fetchone()
    return bool(row and row[0])


async def builds_in_force(connection: AsyncConnection[Any], projections: Iterable[Projection]) -> list[Build]:
    """The builds that answer now. A projection that has none gets an empty one."""
    await connection.execute(SCHEMA + parking.SCHEMA + RECOVERIES)
    builds = []
    for projection in projections:
        cursor = await connection.execute(
            "SELECT build FROM projection_builds WHERE name = %s AND in_force", (projection.name,)
        )
        row = await cursor.fetchone()
        if row:
            builds.append(Build(row[0], projection))
        else:
            async with connection.transaction():
                build = await begin_build(connection, projection)
                await put_in_force(connection, build)
            builds.append(build)
    return builds


async def outdated(connection: AsyncConnection[Any], builds: Iterable[Build]) -> list[Projection]:
    """The projections whose build in force is of another version than today's code."""
    cursor = await connection.execute("SELECT build, version FROM projection_builds")
    versions: dict[int, int] = {build: version async for build, version in cursor}
    return [build.projection for build in builds if versions[build.number] != build.projection.version]


async def unhonoured(connection: AsyncConnection[Any], recoveries: Iterable[str]) -> list[str]:
    """The recoveries of logs (by event id) since which nothing was built anew."""
    cursor = await connection.execute("SELECT event_id FROM projection_recoveries")
    known = {row[0] async for row in cursor}
    return [recovery for recovery in recoveries if recovery not in known]


async def honour(connection: AsyncConnection[Any], recoveries: Iterable[str]) -> None:
    """Remember that everything was built anew since these recoveries."""
    for recovery in recoveries:
        await connection.execute("INSERT INTO projection_recoveries VALUES (%s) ON CONFLICT DO NOTHING", (recovery,))


async def unfinished_builds(connection: AsyncConnection[Any], projections: Iterable[Projection]) -> list[Build]:
    """Builds that were begun and never put in force, because their process ended."""
    by_name = {projection.name: projection for projection in projections}
    cursor = await connection.execute("SELECT build, name FROM projection_builds WHERE NOT in_force")
    return [Build(number, by_name[name]) async for number, name in cursor if name in by_name]


async def begin_build(connection: AsyncConnection[Any], projection: Projection) -> Build:
    """Empty tables for a new build; the one in force still answers."""
    cursor = await connection.execute(
        "INSERT INTO projection_builds (name, version, in_force) VALUES (%s, %s, false) RETURNING build",
        (projection.name, projection.version),
    )
    row = await cursor.fetchone()
    assert row is not None
    build = Build(row[0], projection)
    for table in projection.tables:
        columns = [
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in table.columns.items()
        ]
        await connection.execute(
            sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(
                build.table(table), sql.SQL(", ").join(columns), _names(table.key)
            )
        )
        for index in table.indexes:
            await connection.execute(sql.SQL("CREATE INDEX ON {} {}").format(build.table(table), sql.SQL(index)))
    return build


async def put_in_force(connection: AsyncConnection[Any], build: Build) -> None:
    """Let a build answer from now on, and drop the one before. Call it in a transaction."""
    name = build.projection.name
    cursor = await connection.execute("SELECT build FROM projection_builds WHERE name = %s AND in_force", (name,))
    old = [Build(number, build.projection) async for (number,) in cursor]
    for table in build.projection.tables:
        await connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(sql.Identifier(table.name)))
        await connection.execute(
            sql.SQL("CREATE VIEW {} AS SELECT * FROM {}").format(sql.Identifier(table.name), build.table(table))
        )
    for before in old:
        await drop_build(connection, before)
    await connection.execute("UPDATE projection_builds SET in_force = true WHERE build = %s", (build.number,))


async def drop_build(connection: AsyncConnection[Any], build: Build) -> None:
    """Remove a build and its tables."""
    for table in build.projection.tables:
        await connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(build.table(table)))
    await connection.execute("DELETE FROM projection_builds WHERE build = %s", (build.number,))


def _json(rows: object) -> str:
    """The rows as a document that PostgreSQL takes."""
    document = msgspec.json.encode(rows).decode()
    return _NUL.sub(r"\1\\ufffd", document) if "\\u0000" in document else document


def _names(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in names)


DatabaseError = psycopg.Error
