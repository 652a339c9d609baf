"""A cell's log without a server: messages as NATS keeps them, to the byte, and what a server would do with them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from adapters.mapper import EventMapper
from adapters.nats.connection import header_block
from adapters.nats.names import Names
from adapters.notes import SigningKey, opened
from adapters.system import SystemIds
from domain.catalogue.keypair import KeypairCreated, KeypairDeleted
from domain.errors import Stale
from domain.kinds import EVENTS
from domain.log import recovery
from domain.log.checkpoint import Checkpoint, CheckpointSigned, Entry, aggregate
from domain.log.record import GENESIS, AggregateId, Event, Metadata, Recorded, Tail
from domain.log.recovery import RecoveryDecided, ranges
from handlers.context import Stamp
from handlers.log.checkpoints import Checkpoints, Interval
from tests.clocks import InstantClock

MAPPER = EventMapper(EVENTS)
CREATED = KeypairCreated(name="k", key_type="ssh", public_key="ssh-ed25519 A", fingerprint="f")


class PaperLog:
    """Promises what ``handlers.log.checkpoints.SignedLog`` does."""

    def __init__(self, cell: str = "cell1") -> None:
        self.cell = cell
        self.kept: dict[int, Entry] = {}
        self.end = 0
        self._names = Names(cell)
        self._tails: dict[AggregateId, Tail] = {}
        self.missing: set[int] = set()
        """Of which a recovery has said so."""
        self.stamp = Stamp(InstantClock(), SystemIds())

    async def append(self, place: AggregateId, event: Event, meta: Metadata, tail: Tail) -> Recorded:
        if self._tails.get(place, GENESIS) != tail:
            raise Stale("somebody else was quicker")
        envelope = MAPPER.encode(self.cell, place, event, meta, tail)
        guards = {"Nats-Msg-Id": envelope.headers["ce-id"], "Nats-Expected-Last-Subject-Sequence": str(tail.position)}
        self.end += 1
        headers = header_block(envelope.headers | guards)
        self.kept[self.end] = Entry(self.end, self._names.event(place), headers, envelope.body)
        recorded = MAPPER.decode(envelope.headers, envelope.body, self.end)
        self._tails[place] = recorded.tail
        return recorded

    def write(self, place: AggregateId, event: Event, project: str | None = "p") -> Recorded:
        meta = Metadata(
            event_id=self.stamp.ids.uuid(), time=self.stamp.clock.now(), request_id="req-1", project_id=project
        )
        return asyncio.run(self.append(place, event, meta, self._tails.get(place, GENESIS)))

    def fill(self, count: int, first: int = 0, names: int = 7) -> None:
        """Keypairs that come and go: chains of several events each."""
        for number in range(first, first + count):
            gone = KeypairDeleted(name="k")
            self.write(AggregateId("keypair", f"k{number % names}"), CREATED if number // names % 2 == 0 else gone)

    def lose(self, *positions: int) -> None:
        """And nobody has said so."""
        for position in positions:
            del self.kept[position]

    def recover(self) -> None:
        """The operator says what is missing."""
        self.missing = set(range(1, self.end + 1)) - set(self.kept)
        event = RecoveryDecided(missing=ranges(sorted(self.missing)), end=self.end, known_end=self.end)
        self.write(recovery.aggregate(self.cell), event)

    async def last_of(self, place: AggregateId) -> Recorded | None:
        subject = self._names.event(place)
        found = [entry for entry in self.kept.values() if entry.subject == subject]
        if not found:
            return None
        lines = found[-1].headers.decode().split("\r\n")[1:-2]
        return MAPPER.decode(dict(line.split(": ", 1) for line in lines), found[-1].body, found[-1].position)

    async def last_position(self) -> int:
        return self.end

    async def entries(self, after: int) -> AsyncIterator[list[Entry]]:
        found = [entry for entry in self.kept.values() if entry.position > after]
        for start in range(0, len(found), 10):
            yield found[start : start + 10]


class PaperNotary:
    """Promises what ``handlers.log.checkpoints.Notary`` does."""

    def __init__(self, key: SigningKey | None = None) -> None:
        self.key = key or SigningKey.new()
        self.notes: dict[str, str] = {}
        self.cells = ("cell1", "api")

    def sign(self, cell: str, size: int, root: bytes) -> str:
        return self.key.sign(cell, size, root)

    def opened(self, note: str) -> Checkpoint:
        return opened(note, [self.key.public(cell) for cell in self.cells])

    def kept(self, cell: str) -> Checkpoint | None:
        return self.opened(self.notes[cell]) if cell in self.notes else None

    async def keep(self, cell: str, note: str) -> None:
        self.notes[cell] = note


def signer(log: PaperLog, notary: PaperNotary, events: int = 1000, seconds: float = 300.0) -> Checkpoints:
    return Checkpoints(log, notary, log.stamp, Interval(events, seconds))


def signed(log: PaperLog) -> list[CheckpointSigned]:
    """Every checkpoint of a log."""
    subject = Names(log.cell).event(aggregate(log.cell))
    decode: Any = MAPPER._by_class[CheckpointSigned].decode
    return [decode(entry.body) for entry in log.kept.values() if entry.subject == subject]
