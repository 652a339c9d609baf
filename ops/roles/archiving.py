"""What the projector does for the archive: it fills it, and holds the logs against it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple

from adapters.mapper import BrokenChain
from adapters.nats.soundness import ARCHIVE
from adapters.nats.store import NatsEventStore
from domain.errors import Unavailable
from domain.log.checkpoint import Entry
from domain.log.loss import Loss
from domain.log.recovery import ranges
from handlers.ports import Positions
from ops.roles.troubles import Troubles
from projections.archive import PAGE, Archive

log = logging.getLogger(__name__)

TAIL = 2 * PAGE
"""Messages before the end that are held against the archive at each start: what a power cut may have harmed."""
FILL_PER_SECOND = 20_000
EVENTS_PER_SECOND = 5_000
"""With which a log is held against the archive, beside everything else."""
ROUND_SECONDS = 3600.0
"""From the end of a round through the whole log to the begin of the next."""
LOOK_SECONDS = 1.0

Projected = Callable[[str], int]
"""How far the projections of a cell are."""


class Compared(NamedTuple):
    """Some consecutive positions of a log, held against the archive."""

    last: int
    entries: list[Entry]
    missing: list[int]
    """What the log has not, and no recovery speaks of."""
    altered: list[int]
    unarchived: list[Entry]
    """What the archive has not, though it had something behind it already."""


async def compared(
    store: NatsEventStore, archive: Archive, lock: asyncio.Lock, after: int = 0
) -> AsyncIterator[Compared]:
    """The log behind a position, up to its end. Raises Unavailable."""
    gaps, before = store.soundness.gaps, after
    async with aclosing(store.entries(after, whole=False)) as batches:  # type: ignore[type-var]
        async for entries in batches:
            last = entries[-1].position
            async with lock:
                known, end = await archive.leaves(store.cell, before + 1, last), archive.end(store.cell)
            there = {entry.position for entry in entries}
            yield Compared(
                last,
                entries,
                [each for each in range(before + 1, last) if each not in there and each not in gaps],
                [each.position for each in entries if known.get(each.position, each.leaf) != each.leaf],
                [each for each in entries if each.position not in known and each.position <= end],
            )
            before = last


async def survey(
    store: NatsEventStore,
    archive: Archive,
    lock: asyncio.Lock,
    known_end: int = 0,
    part: tuple[int, int] | None = None,
) -> Loss:
    """What is wrong with a log, to the position: with all of it, or with those in ``part``. ``known_end`` is how far
    it is known to have gone. Raises Unavailable."""
    missing: list[int] = []
    altered: list[int] = []
    end = await store.last_position()
    first, last = part or (1, end)
    before = min(first - 1, end)
    async with aclosing(compared(store, archive, lock, before)) as batches:  # type: ignore[type-var]
        async for each in batches:
            missing += each.missing
            altered += each.altered
            before = each.last
            if before >= last:
                break
    gaps = store.soundness.gaps
    missing += [position for position in range(before + 1, min(last, end) + 1) if position not in gaps]
    archive_end = archive.end(store.cell)
    gone = range(end + 1, max(known_end, archive_end) + 1)
    loss = Loss(store.cell, end, ranges(gone), ranges(missing), ranges(altered), archive_end=archive_end)
    async with lock:
        return loss._replace(archived=await archive.has(store.cell, (*loss.missing, *loss.gone)))


class Archiving:
    """Looks after the archive of all cells, for the one writer of the database. ``lock`` is held by whoever uses its
    connection."""

    def __init__(self, archive: Archive, positions: Positions, lock: asyncio.Lock, troubles: Troubles) -> None:
        self._archive = archive
        self._positions = positions
        self._lock = lock
        self._troubles = troubles
        self._broken: set[str] = set()

    def breaks_off(self, cell: str) -> bool:
        """Whether the log's end is not the archive's: what comes behind it continues something else."""
        return cell in self._broken

    async def begin(self, store: NatsEventStore, projected: int) -> None:
        """Hold the log's end against the archive, before anybody records anything, and say that it was done.
        ``projected`` is how far the projections are. Raises Unavailable."""
        await self._follow_recovery(store)
        end = self._archive.end(store.cell)
        loss = await survey(store, self._archive, self._lock, projected, (max(1, end - TAIL), end))
        if loss:
            store.soundness.surveyed(str(loss))
        if loss.altered or loss.gone:
            self._broken.add(store.cell)
        await self._positions.announce(ARCHIVE, store.cell, end)

    def join(self, cell: str, projected: int) -> None:
        """The projections go on from here, and the archive with them, unless it has to be filled before."""
        if self._archive.end(cell) >= projected and not self.breaks_off(cell):
            self._archive.follow(cell)

    async def _follow_recovery(self, store: NatsEventStore) -> None:
        """If the log goes on after a damage: what it has not any more is kept apart."""
        recovery, cell = store.soundness.recovery_id, store.cell
        if recovery is None or await self._archive.honoured(recovery):
            return
        kept: set[int] = set()
        altered: list[Entry] = []
        async with aclosing(compared(store, self._archive, self._lock)) as batches:  # type: ignore[type-var]
            async for each in batches:
                kept.update(entry.position for entry in each.entries)
                altered += [entry for entry in each.entries if entry.position in each.altered]
        beyond = await self._archive.positions(cell)
        replaced = {entry.position for entry in altered}
        lost = [position for position in beyond if position not in kept or position in replaced]
        async with self._lock, self._archive.transaction():
            await self._archive.set_aside(recovery, cell, lost)
            await self._archive.put(cell, altered)
            await self._archive.honour(recovery)
        await self._archive.open()
        if lost:
            log.warning(
                "%d archived events of cell %s are kept apart, since the log goes on without them", len(lost), cell
            )

    async def hold(self, store: NatsEventStore, entries: Sequence[Entry]) -> None:
        """See that messages which the archive has already are those that it has. Raises BrokenChain: the log has two
        histories."""
        end = self._archive.end(store.cell)
        if not entries or entries[0].position > end:
            return
        known = [entry for entry in entries if entry.position <= end]
        differing = await self._archive.differing(store.cell, known)
        if differing:
            reason = f"it has something else than the archive at position {differing[0]}."
            store.soundness.found(reason)
            raise BrokenChain(f"The log of cell {store.cell} is damaged: {reason}")

    async def care(self, store: NatsEventStore, projected: Projected) -> None:
        """Fill the archive, and hold the log against it, again and again, until cancelled."""
        if self.breaks_off(store.cell):
            return
        try:
            await self._fill(store, projected)
        except BrokenChain:
            self._tell(f"that of cell {store.cell} cannot be filled beyond what its log lacks")
        while True:
            try:
                await self._round(store)
            except Unavailable as error:
                self._tell(f"the log of cell {store.cell} could not be held against it: {error.message}")
            await asyncio.sleep(ROUND_SECONDS)

    def _tell(self, words: str) -> None:
        log.warning("archive: %s", words)
        self._troubles.note("archive", words)

    async def _fill(self, store: NatsEventStore, projected: Projected) -> None:
        """Bring the archive to where the projections are; from there on it goes with them."""
        cell, archive = store.cell, self._archive
        if archive.follows(cell):
            return
        log.info("the archive of cell %s is filled, from position %d on", cell, archive.end(cell) + 1)
        while not archive.follows(cell):
            async with aclosing(store.entries(archive.end(cell))) as batches:  # type: ignore[type-var]
                async for entries in batches:
                    async with self._lock:
                        await archive.put(cell, entries)
                        archive.passed(cell, entries)
                    await asyncio.sleep(len(entries) / FILL_PER_SECOND)
            async with self._lock:
                # What is missing of the end, as a recovery says, does not come.
                if archive.end(cell) >= projected(cell) or archive.end(cell) >= await store.last_position():
                    archive.follow(cell)
        log.info("the archive of cell %s has everything", cell)

    async def _round(self, store: NatsEventStore) -> None:
        """Hold the whole log against the archive, without haste, and fill what the archive lacks."""
        cell = store.cell
        async with aclosing(compared(store, self._archive, self._lock)) as batches:  # type: ignore[type-var]
            async for each in batches:
                if each.missing or each.altered:
                    store.soundness.found(f"position {min(each.missing + each.altered)} is not as it is archived.")
                    return
                async with self._lock:
                    await self._archive.put(cell, each.unarchived)
                await asyncio.sleep(len(each.entries) / EVENTS_PER_SECOND)

    async def survey_damage(self, store: NatsEventStore, projected: Projected) -> None:
        """Whenever the log is found to be damaged, say exactly what is wrong; until cancelled."""
        told: str | None = None
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            damage = store.soundness.damage
            if damage is None or damage == told:
                continue
            try:
                loss = await survey(store, self._archive, self._lock, projected(store.cell))
            except Unavailable as error:
                log.warning("the log of %s could not be looked through: %s", store.cell, error)
                continue
            if loss:
                store.soundness.surveyed(str(loss))
            told = store.soundness.damage
