"""The archive has every message to the byte, in the transaction of what is shown of it, and replaces none."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from adapters.mapper import EventMapper
from domain.kinds import EVENTS
from domain.log.checkpoint import Entry
from domain.log.record import Recorded
from domain.log.recovery import Missing
from projections.archive import Archive
from projections.builds import builds_in_force
from projections.event_log import EventLogView
from projections.postgres import PostgresRows, connect
from projections.table import Rows
from tests.aio import asynchronous
from tests.paper_log import PaperLog
from tests.waiting import until

pytestmark = pytest.mark.postgres

CELL = "cell1"
HEADERS = "NATS/1.0\r\nce-id: {}\r\nce-time: {}\r\n\r\n"


def _entry(position: int, time: str = "2026-11-23T10:00:00.000000Z", body: bytes = b"{}") -> Entry:
    return Entry(position, f"cell.{CELL}.event.keypair.k{position}", HEADERS.format(position, time).encode(), body)


def _log(count: int) -> tuple[list[Recorded], list[Entry]]:
    log = PaperLog()
    log.fill(count)
    entries = list(log.kept.values())
    return [_recorded(entry) for entry in entries], entries


def _recorded(entry: Entry) -> Recorded:
    lines = [line.partition(": ") for line in entry.headers.decode().split("\r\n")[1:-2]]
    return EventMapper(EVENTS).decode({name: value for name, _, value in lines}, entry.body, entry.position)


@asynccontextmanager
async def _archive(database: str) -> AsyncIterator[Archive]:
    async with await connect(database, "test") as connection:
        archive = Archive(connection)
        await archive.open()
        yield archive


async def _all(archive: Archive, after: int = 0) -> list[Entry]:
    return [entry async for batch in archive.entries(CELL, after) for entry in batch]


@asynchronous
async def test_two_may_make_its_tables_at_once(database: str) -> None:
    async with await connect(database, "first") as first, await connect(database, "second") as second:
        async with first.transaction():
            await Archive(first).open()
            opening = asyncio.create_task(Archive(second).open())

            async def waits() -> bool:
                cursor = await first.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
                return await cursor.fetchone() is not None

            await until(waits)
        await opening


@asynchronous
async def test_a_message_comes_out_as_it_went_in(database: str) -> None:
    entries = [
        _entry(1),
        _entry(2, body=bytes(range(256))),
        _entry(3, body=b64encode(bytes(100_000))),
        Entry(5, "s", b"", b""),
        *(_entry(position) for position in range(6, 2010)),
    ]
    async with _archive(database) as archive:
        await archive.put(CELL, entries)
    async with _archive(database) as archive:
        assert archive.end(CELL) == 2009
        assert await _all(archive) == entries
        assert await _all(archive, 2000) == entries[-9:]
        assert await archive.leaves(CELL, 1, 6) == {entry.position: entry.leaf for entry in entries[:5]}
        assert await archive.has(CELL, [Missing(first=2, last=5)]) == (
            Missing(first=2, last=3),
            Missing(first=5, last=5),
        )
        assert archive.end("other") == 0


@asynchronous
async def test_each_month_is_a_partition(database: str) -> None:
    times = ["2026-11-30T23:59:59.999999Z", "2026-12-01T00:00:00.000000Z", "2027-01-01T00:00:00.000000Z", "never"]
    entries = [_entry(position, time) for position, time in enumerate(times, 1)]
    for part in (entries[:2], entries[2:]):
        async with _archive(database) as archive:
            await archive.put(CELL, part)
    async with await connect(database, "test") as connection:
        cursor = await connection.execute("SELECT tableoid::regclass::text, position FROM archive ORDER BY position")
        assert await cursor.fetchall() == [
            ("archive_2026_11", 1), ("archive_2026_12", 2), ("archive_2027_01", 3), ("archive_1970_01", 4),
        ]  # fmt: skip


@asynchronous
async def test_what_is_there_is_never_replaced(database: str) -> None:
    async with _archive(database) as archive:
        await archive.put(CELL, [_entry(1), _entry(2)])
        other = [_entry(1), _entry(2, body=b"another"), _entry(3)]
        assert await archive.differing(CELL, other) == [2]
        with pytest.raises(psycopg.errors.UniqueViolation):
            await archive.put(CELL, [_entry(3), other[1]])
        assert await _all(archive) == [_entry(1), _entry(2)]


@asynchronous
async def test_what_a_recovery_gives_up_is_kept_apart(database: str) -> None:
    async with _archive(database) as archive:
        await archive.put(CELL, [_entry(position) for position in range(1, 8)])
        await archive.set_aside("recovery", CELL, [3, 6, 7])
        assert [entry.position for entry in await _all(archive)] == [1, 2, 4, 5]
        assert await archive.lost() == [("recovery", CELL, 3, 3, 7)]
        assert await archive.positions(CELL) == [1, 2, 4, 5]


class Stumbles:
    """Cannot take in one event."""

    name, version, folds, tables = "stumbles", 1, False, ()

    def reads(self, _recorded: Recorded) -> tuple[()]:
        return ()

    def apply(self, recorded: Recorded, _rows: Rows) -> None:
        if recorded.position == 3:
            raise ValueError("cannot be taken in")


@pytest.mark.parametrize("stumbles", [False, True])
@asynchronous
async def test_it_goes_with_the_projections_also_past_what_they_cannot_take_in(database: str, stumbles: bool) -> None:
    recorded, entries = await asyncio.to_thread(_log, 20)
    async with await connect(database, "test") as connection:
        archive = Archive(connection)
        await archive.open()
        projections = (EventLogView(), Stumbles()) if stumbles else (EventLogView(),)
        rows = PostgresRows(connection, await builds_in_force(connection, projections), archive=archive)
        await rows.open()
        await rows.apply(recorded[:2], entries[:2])
        assert archive.end(CELL) == 0
        await archive.put(CELL, entries[:2])
        archive.passed(CELL, entries[:2])
        archive.follow(CELL)
        await rows.apply(recorded[1:10], entries[1:10])
        await rows.apply(recorded[10:], entries[10:])
        assert len(await rows.parked()) == stumbles
        assert await _all(archive) == entries
        assert archive.end(CELL) == rows.position(CELL) == 20


@asynchronous
async def test_what_is_not_shown_is_not_archived(database: str) -> None:
    """They are one transaction: where the database fails, neither is there."""
    recorded, entries = await asyncio.to_thread(_log, 5)
    async with await connect(database, "test") as connection:
        archive = Archive(connection)
        await archive.open()
        archive.follow(CELL)
        rows = PostgresRows(connection, await builds_in_force(connection, (EventLogView(),)), archive=archive)
        await rows.open()
        await rows.apply(recorded[:2], entries[:2])
        await connection.execute("DROP TABLE projection_positions CASCADE")
        with pytest.raises(psycopg.Error):
            await rows.apply(recorded[2:], entries[2:])
        assert await _all(archive) == entries[:2]
        assert archive.end(CELL) == 2
