"""Signing a log: at intervals its last checkpoint is continued up to its end."""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

from domain.errors import Invalid, LightcurveError, OutOfOrder, Stale, Unavailable
from domain.log.checkpoint import MISSING, Checkpoint, CheckpointSigned, Entry, aggregate
from domain.log.merkle import EMPTY_ROOT, Frontier
from domain.log.record import GENESIS, AggregateId, Event, Metadata, Recorded, Tail
from handlers.context import Stamp

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""Between two looks whether a checkpoint is due."""
REFUSED_SECONDS = 60.0
"""Until the next try, where the log cannot be signed as it is."""
MOST_EVENTS = 20_000
"""Of one checkpoint: with the hashes of so many it is still less than NATS takes in one message by default."""
EVENTS_PER_SECOND = 20_000
"""With which a process reads that has other work to do."""


class Contradiction(OutOfOrder):
    """A log is not what was signed of it before."""

    code = "contradiction"


class SignedLog(Protocol):
    """The log of a cell, as those need it who sign it."""

    @property
    def cell(self) -> str:
        """The name of the cell."""
        ...

    async def append(self, aggregate: AggregateId, event: Event, meta: Metadata, tail: Tail) -> Recorded:
        """See handlers.ports.EventStore."""
        ...

    async def last_of(self, aggregate: AggregateId) -> Recorded | None:
        """The last event of an aggregate."""
        ...

    async def last_position(self) -> int:
        """See handlers.ports.EventStore."""
        ...

    def entries(self, after: int) -> AsyncIterator[list[Entry]]:
        """The messages after a position, as they are kept, up to the end of the log. Raises OutOfOrder where one is
        missing of which no recovery has said so."""
        ...


class Notary(Protocol):
    """Who signs, and remembers outside the log what was signed last."""

    def sign(self, cell: str, size: int, root: bytes) -> str:
        """A checkpoint of the cell's log, as a signed note."""
        ...

    def opened(self, note: str) -> Checkpoint:
        """What a note says that is signed with a key of which this installation knows. Raises LightcurveError."""
        ...

    def kept(self, cell: str) -> Checkpoint | None:
        """The last checkpoint that this installation has signed with its present key."""
        ...

    async def keep(self, cell: str, note: str) -> None:
        """Remember it."""
        ...


NOTHING = Checkpoint("", 0, EMPTY_ROOT)


class Interval(NamedTuple):
    """When a checkpoint is due: whichever comes first, and never for checkpoints alone."""

    events: int
    seconds: float


class Checkpoints:
    """Signs the log of one cell. Of two who do so at once, one finds that the other was quicker."""

    def __init__(self, store: SignedLog, notary: Notary, stamp: Stamp, interval: Interval) -> None:
        self._store = store
        self._notary = notary
        self._stamp = stamp
        self._interval = interval
        self._place = aggregate(store.cell)
        self._signed: _Signed | None = None
        """None: it has to be looked up."""
        self._leaves: list[bytes] = []
        """Read since the last checkpoint."""
        self._worth = False
        """Whether there are others than checkpoints among them."""
        self._since = stamp.clock.now()
        """When the last checkpoint was recorded, or this process began to wait for the first."""

    async def run(self) -> None:
        """Sign whenever it is due, until cancelled. What stands in the way is told, and tried again."""
        told = ""
        while True:
            try:
                await self.look()
                pause, told = LOOK_SECONDS, ""
            except LightcurveError as error:
                pause = LOOK_SECONDS
                if isinstance(error, OutOfOrder) or not isinstance(error, Unavailable):
                    pause = REFUSED_SECONDS
                    if error.message != told:
                        log.error("no checkpoint of cell %s: %s", self._store.cell, error.message)
                    told = error.message
            await self._stamp.clock.sleep(pause)

    async def look(self) -> None:
        """Sign if it is due. Raises LightcurveError."""
        signed = await self._resumed()
        end = await self._store.last_position()
        waited = self._stamp.clock.now() - self._since
        late = waited >= timedelta(seconds=self._interval.seconds) and end > self._read
        if late or end - signed.tree.size >= self._interval.events:
            await self.sign(EVENTS_PER_SECOND)

    async def sign(self, events_per_second: int | None = None) -> CheckpointSigned | None:
        """Sign the log up to its present end; returns the last checkpoint, None if there is nothing to be signed.

        Raises Contradiction, and other LightcurveErrors.
        """
        kept = self._notary.kept(self._store.cell) or NOTHING
        signed = await self._resumed()
        async with aclosing(self._store.entries(self._read)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                self._take(batch)
                if len(self._leaves) >= min(self._interval.events, MOST_EVENTS) and self._read >= kept.size:
                    signed = await self._record(signed, kept)
                if events_per_second:
                    await self._stamp.clock.sleep(len(batch) / events_per_second)
        if self._worth:
            signed = await self._record(signed, kept)
        return signed.event

    @property
    def _read(self) -> int:
        """The last position whose leaf is known."""
        assert self._signed is not None
        return self._signed.tree.size + len(self._leaves)

    def _take(self, batch: list[Entry]) -> None:
        subject = f".event.{self._place.kind}."
        for entry in batch:
            self._leaves.extend([MISSING] * (entry.position - self._read - 1))
            self._leaves.append(entry.leaf)
            self._worth = self._worth or subject not in entry.subject

    async def _record(self, signed: "_Signed", kept: Checkpoint) -> "_Signed":
        """Sign what was read: by several checkpoints, one behind the other, if one could not hold it."""
        self._check(signed, kept)
        leaves = self._leaves
        while len(leaves) > MOST_EVENTS:
            signed = await self._append(signed, leaves[:MOST_EVENTS], kept)
            leaves = leaves[MOST_EVENTS:]
        return await self._append(signed, leaves, kept)

    async def _append(self, signed: "_Signed", leaves: list[bytes], kept: Checkpoint) -> "_Signed":
        tree = signed.tree.copy()
        tree.extend(leaves)
        note = self._notary.sign(self._store.cell, tree.size, tree.root)
        event = CheckpointSigned(note=note, size=tree.size, leaves=b"".join(leaves), frontier=b"".join(tree.hashes))
        meta = self._stamp(self._stamp.own_context())
        try:
            recorded = await self._store.append(self._place, event, meta, signed.tail)
        except Stale:
            self._forget()
            raise Unavailable("Somebody else has signed the log at the same moment.") from None
        if tree.size >= kept.size:
            await self._notary.keep(self._store.cell, note)
        return self._remember(_Signed(event, tree, recorded.tail), meta.time)

    def _check(self, signed: "_Signed", kept: Checkpoint) -> None:
        """Raise Contradiction if what was read is not what was signed before."""
        tree = signed.tree.copy()
        if kept.size > tree.size:
            tree.extend(self._leaves[: kept.size - tree.size])
            if (tree.size, tree.root) != (kept.size, kept.root):
                self._forget()
                raise Contradiction(
                    f"Positions 1 to {kept.size} are not what was signed before. If the log has lost its end, and "
                    "that is recorded, sign on under a new name: lightcurve checkpoint --new-key"
                )

    async def _resumed(self) -> "_Signed":
        """Where the last checkpoint left off. Raises LightcurveError for one that is not good."""
        if self._signed is not None:
            return self._signed
        recorded = await self._store.last_of(self._place)
        if recorded is None:
            return self._remember(_Signed(None, Frontier(), GENESIS), self._since)
        event = recorded.event
        if not isinstance(event, CheckpointSigned):
            raise OutOfOrder(f"The checkpoint at position {recorded.position} cannot be read.")
        checkpoint = self._notary.opened(event.note)
        try:
            tree = event.tree()
        except ValueError as error:
            raise Invalid(f"The checkpoint at position {recorded.position}: {error}.") from None
        if (tree.size, tree.root) != (checkpoint.size, checkpoint.root):
            raise Contradiction(f"The checkpoint at position {recorded.position} does not say what was signed.")
        return self._remember(_Signed(event, tree, recorded.tail), recorded.meta.time)

    def _remember(self, signed: "_Signed", time: datetime) -> "_Signed":
        self._signed, self._since = signed, time
        self._leaves, self._worth = [], False
        return signed

    def _forget(self) -> None:
        self._signed, self._leaves, self._worth = None, [], False


class _Signed(NamedTuple):
    event: CheckpointSigned | None
    tree: Frontier
    tail: Tail
