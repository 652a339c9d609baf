"""An imported log is the one that was exported, to the byte; and tampering is found in a stream as in a file."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.log_file import LogFile
from adapters.mapper import EventMapper
from adapters.nats.connection import Connection, connect
from adapters.nats.names import Names
from adapters.nats.store import NatsEventStore
from adapters.nats.streams import durable, ensure_cell
from domain.errors import Invalid
from domain.kinds import EVENTS
from domain.log.checkpoint import Entry
from ops.embedded.nats import NatsProcess
from ops.embedded.nats_accounts import CONTROL
from ops.log_import import _import_one
from ops.verify import verify_stream
from tests.aio import asynchronous
from tests.ops.test_verify import KEYS, write
from tests.paper_log import PaperLog, PaperNotary, signer
from tests.tampering import KEY, LAST, TAMPERINGS, honest

pytestmark = pytest.mark.nats

CELL = "cell1"
ENTRIES = list(honest().kept.values())


@asynccontextmanager
async def _server(mortal: NatsProcess) -> AsyncIterator[Connection]:
    server = mortal.server
    connection = await connect(server.url, "test", server.credentials(CONTROL), 10.0, None)
    try:
        yield connection
    finally:
        await connection.close()


async def _imported(connection: Connection, file: Path) -> NatsEventStore:
    await _import_one(connection, file, LogFile(file).head)
    store = NatsEventStore(connection, CELL, EventMapper(EVENTS))
    await store.soundness.open()
    return store


async def _entries(store: NatsEventStore) -> list[Entry]:
    return [entry async for batch in store.entries(0, whole=False) for entry in batch]


@asynchronous
async def test_the_same_messages_stand_at_the_same_positions(mortal: NatsProcess, tmp_path: Path) -> None:
    async with _server(mortal) as connection:
        store = await _imported(connection, write(tmp_path / "log.jsonl.zst", ENTRIES))
        assert await _entries(store) == ENTRIES
        assert (await verify_stream(store, KEYS, [])).good
        await ensure_cell(connection, CELL)


@asynchronous
async def test_an_import_goes_on_where_it_broke_off(mortal: NatsProcess, tmp_path: Path) -> None:
    async with _server(mortal) as connection:
        half = write(tmp_path / "half.jsonl", ENTRIES[:30], last=30)
        await _imported(connection, half)
        whole = write(tmp_path / "log.jsonl", ENTRIES)
        for _ in range(2):
            assert await _entries(await _imported(connection, whole)) == ENTRIES
        with pytest.raises(Invalid, match="longer log already"):
            await _imported(connection, half)


@asynchronous
async def test_only_an_empty_cell_takes_a_log(mortal: NatsProcess, tmp_path: Path) -> None:
    other = PaperLog()
    await asyncio.to_thread(other.fill, 20)
    async with _server(mortal) as connection:
        await ensure_cell(connection, CELL)
        await _imported(connection, write(tmp_path / "other.jsonl", list(other.kept.values()), last=20))
        with pytest.raises(Invalid, match="another log already"):
            await _imported(connection, write(tmp_path / "log.jsonl", ENTRIES))


@asynchronous
async def test_a_log_with_holes_keeps_them(mortal: NatsProcess, tmp_path: Path) -> None:
    log, lost = await asyncio.to_thread(_with_holes)
    file = write(tmp_path / "log.jsonl", list(log.kept.values()), last=log.end, missing=lost)
    async with _server(mortal) as connection:
        store = await _imported(connection, file)
        assert await _entries(store) == list(log.kept.values())
        assert store.soundness.damage is None
        verdict = await verify_stream(store, KEYS, [])
        assert (verdict.good, "Missing, as recoveries in the log say" in verdict.text) == (True, True)
        await ensure_cell(connection, CELL)
        info = await connection.api(f"STREAM.INFO.{Names(CELL).events}")
        assert info["config"]["deny_delete"] == durable(Names(CELL))[0]["deny_delete"]


def _with_holes() -> tuple[PaperLog, tuple[int, ...]]:
    """At the beginning, in the middle, two of one subject; the last one was its subject's last."""
    log, notary, lost = PaperLog(), PaperNotary(KEY), (1, 10, 17, 30)
    log.fill(30)
    asyncio.run(signer(log, notary).sign())
    log.lose(*lost)
    log.recover()
    log.fill(10, 30)
    asyncio.run(signer(log, notary).sign())
    return log, lost


@asynchronous
async def test_tampering_with_a_stream_is_found_where_it_begins(mortal: NatsProcess, tmp_path: Path) -> None:
    """The server refuses what does not fit its guards; the rest is found."""
    found, refused = 0, 0
    async with _server(mortal) as connection:
        for number, (name, tampering) in enumerate(TAMPERINGS.items()):
            entries = tampering.done(ENTRIES)
            positions = [entry.position for entry in entries]
            if positions != sorted(set(positions)) or positions[-1] < LAST:
                continue  # no stream can be so, or it only lacks its end
            missing = tuple(set(range(1, positions[-1])) - set(positions))
            file = write(tmp_path / f"{number}.jsonl", entries, last=positions[-1], missing=missing)
            try:
                verdict = await verify_stream(await _imported(connection, file), KEYS, [])
            except Invalid as error:
                refused += "cannot be put in" in error.message
            else:
                assert not verdict.good, name
                assert f"The first bad position is {tampering.first}" in verdict.text, (name, verdict.text)
                found += 1
            await connection.api(f"STREAM.DELETE.{Names(CELL).events}")
    assert found > 40
    assert refused > 0
