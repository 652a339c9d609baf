"""``lightcurve log restore``: what a log has lost is put back from its archive, at the same positions, to the byte.

What is gone behind the end is appended. A hole needs a stream that is made anew: what log and archive have together
is written to a file and looked at before anything is removed, and the file stays until the new stream is complete and
on the disk. So whenever it breaks off, nothing is lost, and it can be run again.
"""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from adapters.log_file import FORMAT, Head, LogFile, LogWriter, Tail, Torn, line_of
from adapters.mapper import EventMapper
from adapters.nats.connection import Connection
from adapters.nats.importing import Import
from adapters.nats.liveness import NatsLiveness
from adapters.nats.names import Names
from adapters.nats.store import NatsEventStore
from adapters.nats.streams import ensure, ensure_cell, fleeting
from adapters.notes import unchecked
from domain.errors import Invalid, Unavailable
from domain.kinds import EVENTS
from domain.log.checkpoint import Entry
from domain.log.loss import Loss
from domain.log.recovery import Missing, count, ranges, told
from domain.log.verification import Finding
from handlers.fleet.liveness import DOWN_AFTER
from handlers.fleet.refusals import Refusals
from ops.log_import import fillers, log_server
from ops.notary import FileNotary
from ops.progress import Progress
from ops.roles.archiving import survey
from ops.roles.plane import COMMAND_SECONDS, open_connection
from ops.settings import Settings
from ops.stack import Stack, running
from ops.status import beats_now
from ops.verify import verifier, verify_stream
from projections.archive import Archive
from projections.postgres import connect, lock_writer
from projections.queries import PostgresQueries

SUFFIX = ".jsonl.zst"
RECOVER = "Go on without that: lightcurve up, lightcurve recover"


class Restored(NamedTuple):
    """What became of one log."""

    words: str
    whole: bool
    staged: Path | None = None
    """What is kept until the log is certainly on the disk."""


def restore(state_dir: Path) -> bool:
    """Mend the logs of a stack that does not run, and say what was done; whether all of them are whole now. Raises
    LightcurveError."""
    stack = Stack(state_dir)
    if not stack.is_set_up:
        raise Invalid(f"There is no stack under {stack.directory}.")
    if running(stack) or not stack.lock.take():
        raise Unavailable(f"The stack under {stack.directory} runs. Stop it first: lightcurve down")
    try:
        settings = stack.settings()
        if stack.nats(settings).config.exists():
            stack.prepare(settings)
            with log_server(stack, settings), _database(stack):
                done = asyncio.run(restore_logs(settings))
        else:
            # The servers are somebody else's, and run.
            done = asyncio.run(restore_logs(settings))
        forget_staged(done)
    finally:
        stack.lock.release()
    whole = all(each.whole for each in done)
    print("Start it: lightcurve up" if whole else RECOVER)
    return whole


def forget_staged(done: list[Restored]) -> None:
    """The log is on the disk: what was kept for the case that it breaks off is needed no more."""
    for each in done:
        if each.staged:
            each.staged.unlink(missing_ok=True)


@contextmanager
def _database(stack: Stack) -> Iterator[None]:
    """The embedded one, for as long as it takes."""
    with (stack.log_dir / "postgres.log").open("ab") as output:
        server = subprocess.Popen(stack.postgres.argv(), stdout=output, stderr=output)
    try:
        asyncio.run(stack.postgres.ready())
        yield
    finally:
        server.send_signal(2)
        server.wait()


async def restore_logs(settings: Settings) -> list[Restored]:
    """All logs, on servers that run, while nobody else uses them. Raises LightcurveError."""
    connection = await open_connection(settings.nats, "restore", COMMAND_SECONDS)
    try:
        await _refuse_company(connection, settings.cell)
        async with await connect(settings.database.url, "lightcurve-restore") as database:
            if not await lock_writer(database):
                raise Unavailable("A projector is at work: stop all processes of the control plane first.")
            archive = Archive(database)
            await archive.open()
            async with PostgresQueries(settings.database.url) as queries:
                ends = await queries.known_ends()
            found = []
            for cell in dict.fromkeys((settings.cell, settings.api_cell)):
                found.append(await _Restoring(settings, connection, archive, cell).run(ends.get(cell, 0)))
                print(found[-1].words)
            return found
    finally:
        await connection.close()


async def _refuse_company(connection: Connection, cell: str) -> None:
    """Raise Unavailable if processes of the control plane were heard lately."""
    await ensure(connection, fleeting(Names(cell)))
    beats = await beats_now(NatsLiveness(connection, cell, Refusals()))
    now = datetime.now(UTC)
    heard = sorted(
        beat.name for beat in beats.values() if now - beat.time < DOWN_AFTER and not beat.name.startswith("compute/")
    )
    if heard:
        raise Unavailable(f"Stop all processes of the control plane first; {', '.join(heard)} was heard just now.")


def _make_room(directory: Path) -> None:
    try:
        directory.mkdir(exist_ok=True)
    except FileExistsError:
        raise Invalid(f"{directory} is in the way: a directory is needed there. Move it elsewhere.") from None


class _Restoring:
    """Of one cell's log."""

    def __init__(self, settings: Settings, connection: Connection, archive: Archive, cell: str) -> None:
        self._connection = connection
        self._archive = archive
        self._cell = cell
        self._lock = asyncio.Lock()
        self._notary = FileNotary(settings)
        self._known_end = 0
        self._put_back: tuple[Missing, ...] = ()
        self._staged = settings.state_dir / "restore" / f"{cell}{SUFFIX}"

    async def run(self, known_end: int) -> Restored:
        """``known_end`` is how far the projections have read."""
        self._known_end = known_end
        await asyncio.to_thread(_make_room, self._staged.parent)
        if not await self._is_half_done():
            await asyncio.to_thread(self._staged.unlink, missing_ok=True)
            store = await self._store()
            loss = await survey(store, self._archive, self._lock, known_end)
            if not loss:
                return Restored(f"The log of cell {self._cell} is whole.", whole=True)
            print(f"{loss}", flush=True)
            if not loss.mendable:
                return Restored(self._cannot(loss), whole=False)
            self._put_back = loss.archived
            if not loss.missing and not loss.altered:
                return await self._append(store)
            await self._stage(store, loss)
        return await self._make_anew()

    async def _store(self) -> NatsEventStore:
        await ensure_cell(self._connection, self._cell)
        store = NatsEventStore(self._connection, self._cell, EventMapper(EVENTS))
        await store.soundness.open()
        return store

    def _cannot(self, loss: Loss) -> str:
        """Why nothing can be put back."""
        if loss.forked:
            return (
                f"The log of cell {self._cell} went on in another way than the archive from position "
                f"{loss.altered[0].first} on, so its positions are taken. lightcurve recover keeps the log's way, "
                "and what the archive has instead is kept apart."
            )
        return f"The archive has nothing of what the log of cell {self._cell} has lost."

    async def _append(self, store: NatsEventStore) -> Restored:
        """What is gone behind the end."""
        target = Import(self._connection, self._cell, {})
        end = await target.open()
        async with aclosing(self._archive.entries(self._cell, end)) as batches:  # type: ignore[type-var]
            async for entries in batches:
                await target.put(entries)
        return await self._verified(store)

    async def _stage(self, store: NatsEventStore, loss: Loss) -> None:
        """Write what both have together to a file. Of what differs it is what verifies: the archive's, or the
        log's."""
        wrong: Finding | None = None
        for prefers_archive in (True, False) if loss.altered else (True,):
            wrong = await self._write(store, loss, prefers_archive=prefers_archive)
            if wrong is None:
                return
        assert wrong is not None
        await asyncio.to_thread(self._staged.unlink)
        raise Invalid(
            f"What log and archive of cell {self._cell} have together is not what was recorded: position "
            f"{wrong.position} {wrong.what}. Nothing was changed. {RECOVER}"
        )

    async def _write(self, store: NatsEventStore, loss: Loss, *, prefers_archive: bool) -> Finding | None:
        known = store.soundness.gaps
        archived = {position for each in loss.archived for position in range(each.first, each.last + 1)}
        lost = [p for each in loss.missing for p in range(each.first, each.last + 1) if p not in archived]
        last = max(loss.end, self._archive.end(self._cell))
        missing = ranges(sorted({*lost, *(p for each in known.missing for p in range(each.first, each.last + 1))}))
        head = Head(format=FORMAT, cell=self._cell, exported="by lightcurve log restore", last=last, missing=missing)
        found = verifier(self._cell, unchecked, missing)
        await asyncio.to_thread(self._staged.unlink, missing_ok=True)
        output = LogWriter(self._staged)
        try:
            output.head(head)
            with Progress(f"putting the log of {self._cell} together") as progress:
                async for entries in _merged(store, self._archive, loss, prefers_archive=prefers_archive):
                    for entry in entries:
                        output.line(line_of(entry))
                    found.take(entries)
                    progress.show(found.last, last, found.events)
            finding = found.finding or (None if lost else found.finish(last))
            output.end(Tail(events=found.events, root=None if finding or lost else found.root))
        finally:
            output.close()
        await asyncio.to_thread(_to_disk, self._staged)
        return finding

    async def _is_half_done(self) -> bool:
        """Whether a file of before is complete, and the log has nothing that it has not: then that goes on."""
        if not self._staged.exists():
            return False
        staged: dict[int, bytes] = {}
        log = LogFile(self._staged)
        try:
            for lines in log.batches():
                staged |= {line.position: line.entry.leaf for line in lines}
        except Torn:
            return False
        if log.end is None:
            return False
        # A stream that is half filled is not yet one of ours to be checked.
        store = NatsEventStore(self._connection, self._cell, EventMapper(EVENTS))
        if await Import(self._connection, self._cell, {}).open() == 0:
            return True
        async with aclosing(store.entries(0, whole=False)) as batches:  # type: ignore[type-var]
            async for entries in batches:
                # What has no headers stands in for what is missing, until the stream is complete.
                if any(entry.headers and staged.get(entry.position) != entry.leaf for entry in entries):
                    return False
        return True

    async def _make_anew(self) -> Restored:
        """The stream, from the file."""
        log = LogFile(self._staged)
        head = log.head
        target = Import(self._connection, self._cell, await asyncio.to_thread(fillers, self._staged, head))
        await target.open(anew=True)
        with Progress(f"making the log of {self._cell} anew") as progress:
            for lines in log.batches():
                await target.put(line.entry for line in lines)
                progress.show(log.read, log.size, lines[-1].position)
        await target.close(head.last)
        return await self._verified(await self._store(), self._staged)

    async def _verified(self, store: NatsEventStore, staged: Path | None = None) -> Restored:
        back = self._put_back
        put_back = f"Put back in cell {self._cell}: {told(back)} ({count(back)} in all).\n" if back else ""
        loss = await survey(store, self._archive, self._lock, self._known_end)
        if loss:
            return Restored(f"{put_back}{loss}", whole=False, staged=staged)
        verdict = await verify_stream(store, self._notary.known_keys(), [])
        return Restored(f"{put_back}{verdict.text}", whole=verdict.finding is None, staged=staged)


async def _merged(
    store: NatsEventStore, archive: Archive, loss: Loss, *, prefers_archive: bool
) -> AsyncIterator[list[Entry]]:
    """What either has, in the order of the positions."""
    wanted = {p for each in loss.archived for p in range(each.first, each.last + 1)}
    if prefers_archive:
        wanted |= {p for each in loss.altered for p in range(each.first, each.last + 1)}
    before = 0
    async with aclosing(store.entries(0, whole=False)) as batches:  # type: ignore[type-var]
        async for entries in batches:
            last = entries[-1].position
            found = {entry.position: entry for entry in entries}
            if any(before < position <= last for position in wanted):
                async with aclosing(archive.entries(store.cell, before, last)) as pages:  # type: ignore[type-var]
                    async for page in pages:
                        found |= {entry.position: entry for entry in page if entry.position in wanted}
            yield [found[position] for position in sorted(found)]
            before = last
    async with aclosing(archive.entries(store.cell, before)) as pages:  # type: ignore[type-var]
        async for page in pages:
            yield page


def _to_disk(file: Path) -> None:
    with file.open("rb") as source:
        os.fsync(source.fileno())
