"""``lightcurve log import``: exported logs become the logs of a cloud that has none yet."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.log_file import Head, LogFile
from adapters.mapper import EventMapper
from adapters.nats.connection import Connection
from adapters.nats.importing import Import
from adapters.nats.store import NatsEventStore
from adapters.nats.streams import ensure_cell
from domain.errors import Invalid, Unavailable
from domain.kinds import EVENTS
from domain.log.recovery import count
from ops.embedded.nats import NatsProcess
from ops.notary import FileNotary, keys_of
from ops.progress import Progress
from ops.roles.plane import open_connection
from ops.settings import Settings
from ops.stack import Stack, running
from ops.verify import logs_in, verify_file, verify_stream

_GUARD = b"\r\nNats-Expected-Last-Subject-Sequence: "


def import_logs(
    state_dir: Path, files: list[Path], keys: list[str], *, nats_port: int, api_port: int, check: bool = True
) -> None:
    """Verify the files, put them into the empty logs of the stack, which must not run, and verify those. The keys are
    believed from then on. An import that breaks off is gone on with. Raises LightcurveError."""
    stack = Stack(state_dir)
    if running(stack) or not stack.lock.take():
        raise Unavailable(f"The stack under {stack.directory} runs. Stop it first: lightcurve down")
    try:
        stack.set_up(nats_port=nats_port, api_port=api_port)
        settings = stack.settings()
        stack.prepare(settings)
        notary = FileNotary(settings)
        trusted = [*keys_of(keys), *notary.known_keys()]
        logs = {file: LogFile(file).head for file in logs_in(files)}
        _refuse(settings, logs)
        for file in logs:
            verdict = verify_file(file, trusted)
            print(verdict.text)
            if check and not verdict.good:
                raise Invalid("Nothing is imported.")
        for key in keys_of(keys):
            notary.believe(key)
        with log_server(stack, settings):
            asyncio.run(_import(settings, notary, logs, check=check))
    finally:
        stack.lock.release()
    print("What was sealed (user data, passwords) stays sealed: its keys are no part of a log.")
    print("Nor are the images' bytes: copy the directory images of the old state directory, or upload them anew.")
    print("Hosts join anew: lightcurve host add. Do not let both clouds command the same hosts.")
    print("Start it: lightcurve up")


def _refuse(settings: Settings, logs: dict[Path, Head]) -> None:
    cells = [head.cell for head in logs.values()]
    for file, head in logs.items():
        if head.part is not None:
            raise Invalid(f"{file} is a part of a log; only a whole one can be imported.")
        if head.cell not in (settings.cell, settings.api_cell):
            raise Invalid(f"{file} is of cell {head.cell}, and there is none here: set cell in {settings.file}.")
        if cells.count(head.cell) > 1:
            raise Invalid(f"Two of the files are of cell {head.cell}.")


@contextmanager
def log_server(stack: Stack, settings: Settings) -> Iterator[None]:
    """The embedded one, for as long as it takes."""
    server = NatsProcess(stack.nats(settings))
    server.start()
    try:
        yield
    finally:
        server.stop()


async def _import(settings: Settings, notary: FileNotary, logs: dict[Path, Head], *, check: bool) -> None:
    connection = await open_connection(settings.nats, "import")
    try:
        for file, head in logs.items():
            await _import_one(connection, file, head)
            store = NatsEventStore(connection, head.cell, EventMapper(EVENTS))
            await store.soundness.open()
            verdict = await verify_stream(store, notary.known_keys(), [])
            print(verdict.text)
            if check and not verdict.good:
                raise Invalid("What was imported is not good. Start over: lightcurve down --erase")
    finally:
        await connection.close()


async def _import_one(connection: Connection, file: Path, head: Head) -> None:
    target = Import(connection, head.cell, await asyncio.to_thread(fillers, file, head))
    there = await target.open()
    log = LogFile(file)
    with Progress(f"importing {head.cell}") as progress:
        for lines in log.batches():
            entries = [line.entry for line in lines]
            for entry in entries:
                if entry.position == there and not await _is(connection, head.cell, entry.position, entry.leaf):
                    raise Invalid(f"Cell {head.cell} has another log already: it has to be empty.")
            if there > head.last:
                raise Invalid(f"Cell {head.cell} has a longer log already: it has to be empty.")
            await target.put(entries)
            progress.show(log.read, log.size, entries[-1].position)
    await target.close(head.last)
    await ensure_cell(connection, head.cell)


async def _is(connection: Connection, cell: str, position: int, leaf: bytes) -> bool:
    store = NatsEventStore(connection, cell, EventMapper(EVENTS))
    async for entries in store.entries(position - 1, whole=False):
        return bool(entries[0].leaf == leaf)
    return False


def fillers(file: Path, head: Head) -> dict[int, str]:
    """For each position that is missing, the subject whose next message is guarded by it."""
    found = {position: "" for each in head.missing for position in range(each.first, each.last + 1)}
    if count(head.missing):
        for line in (line for lines in LogFile(file).batches() for line in lines):
            guard = line.entry.headers.partition(_GUARD)[2].partition(b"\r\n")[0]
            if guard.isdigit() and int(guard) in found:
                found[int(guard)] = line.subject
    default = f"cell.{head.cell}.event.import.missing"
    return {position: subject or default for position, subject in found.items()}
