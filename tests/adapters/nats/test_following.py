"""Programs of others follow the log with an account that may only read: exact, however often they are killed."""

import asyncio
import contextlib
import os
import re
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from eventsourcing.persistence import ProgrammingError, StoredEvent

from adapters.mapper import BrokenChain, EventMapper
from adapters.nats.connection import Credentials, Message
from adapters.nats.following import PASSWORD, URL, USER, CellLog, PageReader, ReadOnlyRecorder
from adapters.nats.names import Names
from adapters.nats.store import NatsEventStore
from domain.kinds import EVENTS
from domain.log.record import GENESIS, AggregateId, Event, Recorded, Unreadable
from domain.log.recovery import Missing, RecoveryDecided
from domain.server.creation import ServerBuilt, ServerRequested
from domain.server.deletion import ServerDeleted
from domain.server.details import ServerRenamed
from ops.embedded.nats import EmbeddedNats, NatsProcess, free_port
from ops.examples import cloud_events, usage_by_project
from ops.log_readers import LogReaders
from tests.aio import asynchronous
from tests.contract.worlds import NatsWorld, meta
from tests.replay.samples import sample_event
from tests.waiting import until

pytestmark = pytest.mark.nats

CELL, BEGAN = "cell1", datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedNats]:
    readers = LogReaders(tmp_path / "readers")
    readers.add("usage")
    process = NatsProcess(EmbeddedNats(tmp_path / "nats", free_port(), readers=readers, read_cells=(CELL,)))
    process.start()
    yield process.server
    process.kill()


@pytest.fixture
def environment(server: EmbeddedNats, tmp_path: Path) -> dict[str, str]:
    (reader,) = LogReaders(tmp_path / "readers")
    return {URL: server.url, USER: reader.user, PASSWORD: reader.password}


class History:
    """Servers that are built and deleted, one step after the other, and what they have used."""

    def __init__(self, store: NatsEventStore) -> None:
        self._store = store
        self._tails: dict[str, Recorded] = {}
        self._built: dict[str, datetime] = {}
        self._deleted: dict[str, datetime] = {}
        self._count = 0

    async def life(self, number: int) -> None:
        server = f"server-{number}"
        asked = msgspec.structs.replace(sample_event(ServerRequested), project_id=f"project-{number % 3}")
        await self._record(server, msgspec.structs.replace(asked, server_id=server))
        self._built[server] = (await self._record(server, sample_event(ServerBuilt))).meta.time
        await self._record(server, sample_event(ServerRenamed))
        if number % 2:
            self._deleted[server] = (await self._record(server, ServerDeleted())).meta.time

    async def _record(self, server: str, event: Event) -> Recorded:
        self._count += 1
        time = BEGAN + timedelta(seconds=self._count, microseconds=self._count**2)
        tail = self._tails[server].tail if server in self._tails else GENESIS
        self._tails[server] = await self._store.append(AggregateId("server", server), event, meta(time=time), tail)
        return self._tails[server]

    def seconds(self, now: datetime) -> dict[str, float]:
        used: Counter[str] = Counter()
        for server, built in self._built.items():
            span = (self._deleted.get(server, now) - built) // timedelta(microseconds=1)
            used[f"project-{int(server.rpartition('-')[2]) % 3}"] += span
        return {project: span / 1e6 for project, span in used.items()}

    @property
    def last(self) -> int:
        """The position of the last event that the projection asks for."""
        wanted = [each.position for each in self._tails.values() if not isinstance(each.event, ServerRenamed)]
        return max(wanted)


@contextlib.asynccontextmanager
async def running(environment: dict[str, str], *program: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program, killed at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *program, env=os.environ | environment, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()


def tracked(file: Path) -> int:
    with contextlib.closing(sqlite3.connect(file)) as database:
        try:
            return database.execute("SELECT max(notification_id) FROM tracking").fetchone()[0] or 0
        except sqlite3.OperationalError:
            return 0


@asynchronous
async def test_usage_is_exact_after_any_number_of_kills(
    server: EmbeddedNats, environment: dict[str, str], tmp_path: Path
) -> None:
    file, program = tmp_path / "usage.sqlite", usage_by_project.__file__
    async with NatsWorld(server, cell=CELL) as world:
        history = History(NatsEventStore(await world.connection(), CELL, EventMapper(EVENTS)))
        for number in range(40):
            await history.life(number)
        for kill in range(4):
            before = tracked(file)
            async with running(environment, program, str(file)):
                await until(lambda before=before: tracked(file) > before, 30)
                for number in range(100 * (kill + 1), 100 * (kill + 1) + 10):
                    await history.life(number)

        await history.life(1001)
        async with running(environment, program, str(file)):
            await until(lambda: tracked(file) == history.last, 30)
        now = BEGAN + timedelta(days=1)
        usage = usage_by_project.Usage(usage_by_project.SQLiteDatastore(str(file)))
        assert {project: seconds for project, (seconds, _) in usage.seconds(now).items()} == history.seconds(now)
        vcpus = sample_event(ServerRequested).flavor.vcpus
        assert all(of_vcpus == pytest.approx(vcpus * seconds) for seconds, of_vcpus in usage.seconds(now).values())
        async with running(environment, program, str(file), "report") as report:
            told = (await report.communicate())[0].decode()
        assert re.match(r"project-0 \d+ s of servers, \d+ s of processors\n", told)


@asynchronous
async def test_any_consumer_of_cloudevents_reads_the_log(server: EmbeddedNats, environment: dict[str, str]) -> None:
    async with NatsWorld(server, cell=CELL) as world:
        history = History(NatsEventStore(await world.connection(), CELL, EventMapper(EVENTS)))
        await history.life(1)
        async with running(environment, cloud_events.__file__, CELL, "1") as process:
            assert process.stdout
            first = (await process.stdout.readline()).decode().split()
            assert (first[0], first[-2:]) == ("2", ["server.built", "server.server-1"])
            for _ in range(2):
                await process.stdout.readline()
            await history.life(2)
            later = (await process.stdout.readline()).decode().split()
            assert (later[0], later[-2:]) == ("5", ["server.requested", "server.server-2"])


def test_the_recorder_is_for_reading_only(server: EmbeddedNats, environment: dict[str, str]) -> None:
    recorder = ReadOnlyRecorder(server.url, CELL, Credentials(environment[USER], environment[PASSWORD]))
    try:
        with pytest.raises(ProgrammingError):
            recorder.insert_events([StoredEvent("x", 1, "t", b"")])
    finally:
        recorder.close()


@asynchronous
async def test_what_this_version_does_not_know_is_passed_on(
    server: EmbeddedNats, environment: dict[str, str]
) -> None:
    class Strange(Event, tag="server.strange", frozen=True):
        pass

    class Log(CellLog):
        name = CELL

    async with NatsWorld(server, cell=CELL) as world:
        store = NatsEventStore(await world.connection(), CELL, EventMapper([Strange]))
        await store.append(AggregateId("server", "s"), Strange(), meta(), GENESIS)

        def read() -> list[Recorded]:
            app = Log(environment)
            try:
                assert app.recorder.max_notification_id() == 1
                return [app.mapper.to_domain_event(each) for each in app.recorder.select_notifications(1, 10)]  # type: ignore[misc]
            finally:
                app.close()

        (found,) = await asyncio.to_thread(read)
        assert isinstance(found.event, Unreadable)
        assert found.position == 1


class Holed:
    """A log without its second event, and a connection over which nothing is heard."""

    def __init__(self, *missing: Missing) -> None:
        self._recovery = RecoveryDecided(missing=missing, end=3, known_end=3) if missing else None

    async def last(self, subject: str) -> Message | None:
        assert subject == f"cell.{CELL}.event.recovery.{CELL}"
        return Message(subject, "", msgspec.json.encode(self._recovery), b"") if self._recovery else None

    async def page(self, _subject: str, _start: int) -> tuple[list[Message], bool]:
        return [Message("s", "", b"", b"NATS/1.0\r\nNats-Sequence: %d\r\n\r\n" % at) for at in (1, 3)], False

    async def tap(self, _subject: str, _hear: object) -> int:
        return 1

    def untap(self, _tap: int) -> None:
        pass


def reader(*missing: Missing) -> PageReader:
    holed: Any = Holed(*missing)
    return PageReader(holed, holed, Names(CELL), 0)


@pytest.mark.parametrize("known", [(), (Missing(first=4, last=9),)])
@asynchronous
async def test_nobody_follows_over_a_hole(known: tuple[Missing, ...]) -> None:
    with pytest.raises(BrokenChain, match="lacks the event at position 2"):
        await anext(reader(*known).batches())


@asynchronous
async def test_but_over_one_that_a_recovery_tells_of() -> None:
    assert [item.position for item in await anext(reader(Missing(first=2, last=2)).batches())] == [1, 3]
