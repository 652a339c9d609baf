"""``lightcurve log export``: a log, or a part of it, in a file that others can check without us."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from adapters.log_file import FORMAT, Head, LogFile, LogWriter, Part, Tail, Torn, decoded, line_of
from adapters.mapper import escaped
from adapters.nats.names import Names
from adapters.nats.store import NatsEventStore
from adapters.notes import unchecked
from domain.errors import Invalid, LightcurveError, Unavailable
from domain.log.checkpoint import CheckpointSigned, Entry, aggregate
from domain.log.merkle import Tree
from domain.log.record import AggregateId
from domain.log.verification import Verifier
from domain.server import erasure
from ops.checkpoint import checkpoints
from ops.identity import is_project_id, project_id
from ops.notary import FileNotary
from ops.progress import Progress
from ops.roles.plane import COMMAND_SECONDS, Plane, open_plane
from ops.settings import Settings
from ops.verify import verifier
from projections.queries import PostgresQueries


async def export(settings: Settings, directory: Path, suffix: str, cell: str | None, part: Part) -> None:
    """Write a file a cell, and say where. One that breaks off is gone on with. Raises LightcurveError."""
    wanted = await _resolved(settings, part)
    async with open_plane(settings, "export", COMMAND_SECONDS) as plane:
        _make(directory)
        stores = [store for store in plane.stores if cell in (None, store.cell)]
        if not stores:
            raise Invalid(f"There is no log of a cell {cell} here.")
        for store in stores:
            await _sign(plane, store)
            if str(wanted):
                await _export_part(store, directory / f"{store.cell}.part{suffix}", wanted)
            else:
                await _export_whole(store, directory / f"{store.cell}{suffix}")
    print("Others check it with: lightcurve verify --file … --key …, or with ops/verifier/verify_log.py.")
    print("Give them the keys (lightcurve checkpoint --key) on another way than the files.")


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Invalid(f"{directory} cannot be made: {error.strerror}") from None


async def _resolved(settings: Settings, part: Part) -> Part:
    """With ids instead of names."""
    server, project = part.server, part.project
    if server is not None:
        async with PostgresQueries(settings.database.url) as queries:
            found = await queries.servers_named(server)
            known = bool(found) or await queries.server(server) is not None
        if len(found) > 1:
            raise Invalid(f"{len(found)} servers were named {server}: give an id. See: lightcurve log {server}")
        if not known:
            raise Invalid(f"There is, and was, no server {server}.")
        server = found[0].id if found else server
    if project in settings.identity.projects:
        project = project_id(project)
    elif project is not None and not is_project_id(project):
        raise Invalid(f"There is no project {project}.")
    return Part(server=server, project=project, since=_moment(part.since), until=_moment(part.until))


def _moment(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"{text!r} is no time: 2026-11-23 10:00, UTC unless it says otherwise.") from None
    return found.isoformat(timespec="microseconds")[:26] + "Z"


async def _sign(plane: Plane, store: NatsEventStore) -> None:
    """So that what is exported is signed up to its end; who has no key exports what is signed."""
    if FileNotary(plane.settings).key_file.exists():
        try:
            await checkpoints(plane, store).sign()
        except LightcurveError as error:
            print(f"cell {store.cell} is not signed up to now: {error.message}")


async def _export_whole(store: NatsEventStore, file: Path) -> None:
    fresh = head_of(store, await store.last_position())
    head, found, at = await asyncio.to_thread(_left_off, file, fresh)
    events, output = found.events, LogWriter(file, at)
    try:
        if not at:
            output.head(head)
        with Progress(f"exporting {store.cell}") as progress:
            async with aclosing(up_to(store, found.last, head.last)) as batches:  # type: ignore[type-var]
                async for entries in batches:
                    for entry in entries:
                        output.line(line_of(entry))
                    found.take(entries)
                    events += len(entries)
                    progress.show(entries[-1].position, head.last, events)
        finding = found.finish(head.last)
        output.end(Tail(events=events, root=None if finding else found.root))
    finally:
        output.close()
    print(f"{file}: positions 1 to {head.last} of cell {store.cell}")
    if finding:
        print(
            f"It is exported as it is, but it is not what was recorded: position {finding.position} {finding.what}."
        )


def head_of(store: NatsEventStore, last: int, part: Part | None = None, note: str | None = None) -> Head:
    exported = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    missing = store.soundness.gaps.missing
    return Head(
        format=FORMAT, cell=store.cell, exported=exported, last=last, missing=missing, part=part, checkpoint=note
    )


def looked_at(head: Head, proven: list[bytes] | None = None) -> Verifier:
    """What is exported is looked at on the way; who signed it is for others to ask."""
    return verifier(head.cell, unchecked, head.missing, proven=proven)


def _left_off(file: Path, fresh: Head) -> tuple[Head, Verifier, int]:
    """Of a file that breaks off: what it says of itself, what it holds, where it goes on. Of none: its beginning."""
    if not file.exists() or not file.stat().st_size:
        return fresh, looked_at(fresh), 0
    log = LogFile(file)
    if log.head.cell != fresh.cell or log.head.part is not None:
        raise Invalid(f"{file} is of something else: remove it, or export to another directory.")
    found, at = looked_at(log.head), log.read
    try:
        for lines in log.batches():
            found.take([line.entry for line in lines])
            at = log.read
    except Torn as error:
        print(f"{file} goes on behind position {found.last}: {error.message}.")
    if log.end is not None:
        raise Invalid(f"{file} is complete. Remove it, or export to another directory.")
    if found.finding:
        raise Invalid(f"{file} is not good: position {found.finding.position} {found.finding.what}. Remove it.")
    return log.head, found, at


async def up_to(store: NatsEventStore, after: int, last: int) -> AsyncIterator[list[Entry]]:
    async with aclosing(store.entries(after, whole=False)) as batches:  # type: ignore[type-var]
        async for entries in batches:
            yield [entry for entry in entries if entry.position <= last]
            if entries[-1].position >= last:
                return


async def _export_part(store: NatsEventStore, file: Path, part: Part) -> None:
    recorded = await store.last_of(aggregate(store.cell))
    signed = recorded.event if recorded else None
    if recorded is None or not isinstance(signed, CheckpointSigned):
        raise Unavailable(f"Nothing of cell {store.cell} is signed yet: lightcurve checkpoint")
    head = head_of(store, signed.size, part, signed.note)
    leaves: list[bytes] = []
    found, belongs = looked_at(head, leaves), _Belongs(store.cell, part)
    with tempfile.TemporaryFile(dir=file.parent) as kept, Progress(f"exporting {store.cell}") as progress:
        async with aclosing(up_to(store, 0, recorded.position)) as batches:  # type: ignore[type-var]
            async for entries in batches:
                found.take(entries)
                kept.writelines(
                    line_of(entry) for entry in entries if belongs(entry) and entry.position <= signed.size
                )
                progress.show(entries[-1].position, recorded.position, found.events)
        if found.finding or found.signed != signed.size:
            raise Invalid(
                f"The log of cell {store.cell} is not as it was signed, so nothing can be proven of its parts. "
                "Export it as a whole, and see what is wrong: lightcurve verify"
            )
        kept.seek(0)
        count = _with_proofs(kept, LogWriter(file), head, Tree(leaves))
    print(f"{file}: {count:,} events of cell {store.cell} ({part}), each with the proof that it is in the log")


def _with_proofs(lines: IO[bytes], output: LogWriter, head: Head, tree: Tree) -> int:
    count = 0
    output.head(head)
    for each in lines:
        entry = decoded(each).entry
        output.line(line_of(entry, tuple(tree.inclusion(entry.position - 1, tree.size))))
        count += 1
    output.end(Tail(events=count))
    return count


class _Belongs:
    """Whether an entry is of a part. To a project belongs what it asked for, and what its events have begun."""

    def __init__(self, cell: str, part: Part) -> None:
        self._part = part
        names, server = Names(cell), part.server
        own = (AggregateId("server", server), erasure.aggregate(server)) if server else ()
        self._of_server = {names.event(aggregate) for aggregate in own}
        self._begun: set[str] = set()

    def __call__(self, entry: Entry) -> bool:
        part = self._part
        told = dict(line.partition(b": ")[::2] for line in entry.headers.split(b"\r\n"))
        time = told.get(b"ce-time", b"").decode()
        if part.project and told.get(b"ce-projectid") == escaped(part.project).encode():
            if told.get(b"ce-aggregateversion") == b"1":
                self._begun.add(entry.subject)
        elif part.project and entry.subject not in self._begun:
            return False
        if self._of_server and entry.subject not in self._of_server:
            return False
        return (part.since or "") <= time and (not part.until or time < part.until)
