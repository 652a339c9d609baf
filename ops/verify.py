"""``lightcurve verify``: whether a log, or a file of one, is what was recorded and signed; with public keys alone."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

import msgspec
import psycopg

from adapters.log_file import SUFFIXES, LogFile, Torn
from adapters.nats.names import Names
from adapters.nats.soundness import Gaps
from adapters.nats.store import NatsEventStore
from adapters.notes import PublicKey, notes_in, opened
from domain.errors import Invalid, Unavailable
from domain.log import checkpoint, recovery
from domain.log.checkpoint import Checkpoint
from domain.log.merkle import includes
from domain.log.recovery import Missing, RecoveryDecided
from domain.log.verification import Finding, Place, Verifier
from ops.notary import FileNotary, keys_of
from ops.progress import Progress
from ops.roles.plane import COMMAND_SECONDS, open_plane
from ops.settings import Settings, load
from projections.archive import Archive
from projections.postgres import connect

recovery_decoder = msgspec.json.Decoder(RecoveryDecided)
MOST_MISSING = 10_000_000
"""Positions that a file may call missing."""
KEEP = "Keep it as it is, and compare it with an earlier export or checkpoint."
LIVE = "Change nothing, make a copy of the log's directory, and compare with an earlier export or checkpoint."


class Verdict(NamedTuple):
    """What came out."""

    good: bool
    text: str
    finding: Finding | None = None


def verify(
    state_dir: Path, files: list[Path], keys: list[str], notes: list[Path], cell: str | None, *, archive: bool = False
) -> bool:
    """Verify files, or the logs of the stack that runs, or their archive; print a verdict each, and return whether
    all are good. Raises LightcurveError."""
    trusted = keys_of(keys)
    given = [note for file in notes for note in _notes(file)]
    if files:
        trusted = trusted or _own_keys(state_dir)
        logs = logs_in(files)
        _refuse_strangers(given, [LogFile(file).head.cell for file in logs])
        verdicts = [verify_file(file, trusted, given) for file in logs]
    else:
        look = _archived if archive else _live
        verdicts = asyncio.run(look(load(state_dir / "lightcurve.toml"), trusted, given, cell))
    for verdict in verdicts:
        print(verdict.text)
    return all(verdict.good for verdict in verdicts)


def _notes(file: Path) -> list[str]:
    """What is in a file that was given; raises Invalid for nothing, since it would hold nothing against a log."""
    try:
        found = notes_in(file.read_text(errors="replace"))
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error}") from None
    if not found:
        raise Invalid(f"{file} holds no checkpoint, as lightcurve checkpoint prints it.")
    return found


def _refuse_strangers(given: Iterable[str], cells: Iterable[str]) -> None:
    """Raises Invalid for a checkpoint that none of the logs could contain."""
    for note in given:
        if not any(checkpoint.of_cell(note, cell) for cell in cells):
            origin = note.partition("\n")[0]
            raise Invalid(f"A given checkpoint is of {origin}, and no log of that cell is looked at.")


def _own_keys(state_dir: Path) -> list[PublicKey]:
    config = state_dir / "lightcurve.toml"
    known = FileNotary(load(config)).known_keys() if config.exists() else []
    if not known:
        raise Invalid(
            "Whose signatures count? Give --key; lightcurve checkpoint --key prints it, where the log is from."
        )
    return known


def logs_in(files: list[Path]) -> list[Path]:
    """The files themselves, and what is in directories among them. Raises Invalid if there is nothing."""
    found: list[Path] = []
    for file in files:
        found += sorted(each for each in file.iterdir() if each.suffix in SUFFIXES) if file.is_dir() else [file]
    if not found:
        raise Invalid(f"There is no exported log in {files[0]}.")
    return found


def verifier(
    cell: str,
    opened: Callable[[str], Checkpoint],
    missing: tuple[Missing, ...],
    given: Iterable[str] = (),
    proven: list[bytes] | None = None,
) -> Verifier:
    """Of one cell's log. Raises Invalid; LightcurveError for a note that is given and counts for nothing."""
    names = Names(cell)
    if recovery.count(missing) > MOST_MISSING:
        raise Invalid(f"{recovery.count(missing)} events are said to be missing.")
    place = Place(cell, names.event(checkpoint.aggregate(cell)), names.event(recovery.aggregate(cell)))
    held = [opened(note) for note in given if checkpoint.of_cell(note, cell)]
    return Verifier(place, opened, Gaps(missing), held, proven)


def _signed_by(keys: list[PublicKey]) -> Callable[[str], Checkpoint]:
    return lambda note: opened(note, keys)


def verify_file(file: Path, keys: list[PublicKey], given: Iterable[str] = ()) -> Verdict:
    """Raises LightcurveError for what is no log, or cannot be looked at."""
    log = LogFile(file)
    if log.head.part is not None:
        return _verify_part(file, log, keys, given)
    found = verifier(log.head.cell, _signed_by(keys), log.head.missing, given)
    torn = ""
    with Progress(f"verifying {file.name}") as progress:
        try:
            for lines in log.batches():
                found.take([line.entry for line in lines])
                progress.show(log.read, log.size, found.events)
                if found.finding:
                    break
        except Torn as error:
            torn = f" The file is damaged or cut there: {error.message}."
    end = log.end
    finding = found.finish(log.head.last, end.root if end else None)
    if finding is None and end is None:
        finding = Finding(
            found.last + 1, "is where the file breaks off: the line that says that it is whole is missing"
        )
    return _verdict(f"{file}", found, finding, f"{torn} {KEEP}")


def _against(signed: Checkpoint, given: Iterable[str], cell: str, keys: list[PublicKey]) -> Finding | None:
    """The checkpoint of a part held against those that were given. Raises Invalid where that tells nothing."""
    for held in (opened(note, keys) for note in given if checkpoint.of_cell(note, cell)):
        if held.size != signed.size:
            raise Invalid(
                f"A part is proven by its own checkpoint, of {signed.size} positions. Whether the given one, of "
                f"{held.size}, is of the same log shows: lightcurve checkpoint --consistency "
                f"{min(held.size, signed.size)}"
            )
        if held.root != signed.root:
            return Finding(1, "or a later one is not what the given checkpoint was signed over")
    return None


def _verify_part(file: Path, log: LogFile, keys: list[PublicKey], given: Iterable[str]) -> Verdict:
    """Each event by itself: that it is in the tree that was signed."""
    signed = opened(log.head.checkpoint or "", keys)
    of_cell = checkpoint.of_cell(log.head.checkpoint or "", log.head.cell)
    last = events = 0
    finding = None if of_cell else Finding(1, f"and all others are of another log: {signed.origin}")
    finding = finding or _against(signed, given, log.head.cell, keys)
    try:
        for line in (line for lines in log.batches() for line in lines):
            if finding is None and not _is_in(signed, line.position, line.entry.leaf, line.proof or ()):
                finding = Finding(line.position, "is not in the log that was signed: it was altered, or put in")
            if finding is None and line.position <= last:
                finding = Finding(line.position, f"stands behind position {last}")
            last, events = line.position, events + 1
    except Torn as error:
        finding = finding or Finding(last + 1, f"or a later one is missing: {error.message}")
    if finding is None and (log.end is None or log.end.events != events):
        finding = Finding(last + 1, f"or a later one is missing: {events} events are there, and the end is not")
    title = f"{file}: a part of the log of cell {log.head.cell} ({log.head.part})"
    if finding:
        return Verdict(False, f"{title} is NOT good: position {finding.position} {finding.what}. {KEEP}")
    return Verdict(
        True,
        f"{title} is good: each of its {events} events is in the log that {signed.origin} signed up to position "
        f"{signed.size}. Being a part, it cannot show that nothing is left out.",
    )


def _is_in(signed: Checkpoint, position: int, leaf: bytes, proof: tuple[bytes, ...]) -> bool:
    return includes(signed.root, signed.size, position - 1, leaf, proof)


async def _live(settings: Settings, keys: list[PublicKey], given: list[str], cell: str | None) -> list[Verdict]:
    notary = FileNotary(settings)
    async with open_plane(settings, "verify", COMMAND_SECONDS) as plane:
        stores = [store for store in plane.stores if cell in (None, store.cell)]
        if not stores:
            raise Invalid(f"There is no log of a cell {cell} here.")
        _refuse_strangers(given, [store.cell for store in stores])
        known = keys or notary.known_keys()
        return [
            await verify_stream(store, known, [*given, *([] if keys else _kept(notary, store.cell))])
            for store in stores
        ]


def _kept(notary: FileNotary, cell: str) -> list[str]:
    """What this installation has signed last."""
    kept = notary.kept_note(cell) if notary.key_file.exists() else None
    return [kept] if kept else []


async def _archived(settings: Settings, keys: list[PublicKey], given: list[str], cell: str | None) -> list[Verdict]:
    """The second copies; the log need not be there."""
    notary = FileNotary(settings)
    cells = [each for each in dict.fromkeys((settings.cell, settings.api_cell)) if cell in (None, each)]
    if not cells:
        raise Invalid(f"There is no log of a cell {cell} here.")
    _refuse_strangers(given, cells)
    try:
        async with await connect(settings.database.url, "lightcurve-verify") as connection:
            archive = Archive(connection)
            await archive.open()
            known = keys or notary.known_keys()
            return [
                await verify_archive(archive, each, known, [*given, *([] if keys else _kept(notary, each))])
                for each in cells
            ]
    except (psycopg.Error, OSError) as error:
        raise Unavailable(f"The archive does not answer: {error}") from None


async def verify_archive(archive: Archive, cell: str, keys: list[PublicKey], given: list[str]) -> Verdict:
    """The archive of a cell's log. Raises LightcurveError."""
    end = archive.end(cell)
    recovered = await archive.last_on(cell, Names(cell).event(recovery.aggregate(cell)))
    missing = recovery_decoder.decode(recovered.body).missing if recovered else ()
    found = verifier(cell, _signed_by(keys), missing, given)
    with Progress(f"verifying the archive of {cell}") as progress:
        async with aclosing(archive.entries(cell, 0, end)) as batches:  # type: ignore[type-var]
            async for entries in batches:
                found.take(entries)
                progress.show(found.last, end, found.events)
                if found.finding:
                    break
    return _verdict(f"the archive of cell {cell}", found, found.finish(end), f" {KEEP}")


async def verify_stream(store: NatsEventStore, keys: list[PublicKey], given: list[str]) -> Verdict:
    """A log on the server. Raises LightcurveError."""
    found = verifier(store.cell, _signed_by(keys), store.soundness.gaps.missing, given)
    end = await store.last_position()
    with Progress(f"verifying the log of {store.cell}") as progress:
        async with aclosing(store.entries(0, whole=False)) as batches:  # type: ignore[type-var]
            async for entries in batches:
                found.take(entries)
                progress.show(found.last, end, found.events)
                if found.finding:
                    break
    damage = f" {store.soundness.damage}" if store.soundness.damage else ""
    return _verdict(f"cell {store.cell}", found, found.finish(end), f"{damage} {LIVE}")


def _verdict(title: str, found: Verifier, finding: Finding | None, advice: str) -> Verdict:
    if finding:
        when = f" (recorded {finding.time})" if finding.time else ""
        return Verdict(
            False,
            f"{title}: NOT what was recorded. The first bad position is {finding.position}{when}: position "
            f"{finding.position} {finding.what}.{advice}",
            finding,
        )
    whole = f"{found.events:,} events, positions 1 to {found.last}"
    if not found.signed:
        return Verdict(
            False,
            f"{title}: nothing is signed. {whole}: they follow each other, but nobody vouches for them. "
            "Sign the log: lightcurve checkpoint",
        )
    text = f"{title}: whole. {whole}; signed up to {found.signed} by {found.origin}"
    if found.last > found.signed:
        text += ". What is behind is held by its chains"
    if found.missing:
        missing = recovery.ranges(found.missing)
        text += f". Missing, as recoveries in the log say: {recovery.told(missing)}"
    return Verdict(True, f"{text}.")
