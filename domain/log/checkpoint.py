"""Checkpoints: at some moments a log says, signed, what it is: one hash that stands for all of its messages so far.

One aggregate a cell, in that cell's own log. A checkpoint is an event, and so an entry of the next one. Its text is
that of https://c2sp.org/tlog-checkpoint; ``ops/docs/verification.md`` describes all of it for those who check it.
"""

from base64 import b64decode, b64encode
from typing import NamedTuple

import msgspec

from domain.errors import Invalid
from domain.log.kind import Kind, unfoldable
from domain.log.merkle import HASH_BYTES, Frontier, leaf_hash, split
from domain.log.record import AggregateId, Event, Metadata

TAG = "checkpoint.signed"


class Entry(NamedTuple):
    """A message as the log keeps it, to the byte. The entry at position 1 is the tree's first leaf."""

    position: int
    subject: str
    headers: bytes
    """As they go over the wire: from ``NATS/1.0`` to the empty line, which is among them."""
    body: bytes

    @property
    def content(self) -> bytes:
        """What the leaf is the hash of."""
        return b"%b\n%b%b" % (self.subject.encode(), self.headers, self.body)

    @property
    def leaf(self) -> bytes:
        """The hash that stands for it in the tree."""
        return leaf_hash(self.content)


MISSING = leaf_hash(b"missing")
"""Stands for a position of which a recovery had said, before any checkpoint covered it, that nothing is there."""


class Checkpoint(NamedTuple):
    """What is signed: the hash of the tree of the log's first ``size`` positions."""

    origin: str
    """Which log; nobody else's has this name."""
    size: int
    root: bytes

    def __str__(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"


def parsed(text: str) -> Checkpoint:
    """The inverse of ``str``; lines that others may have added are passed over. Raises Invalid."""
    try:
        origin, size, root = text.split("\n")[:3]
        found = Checkpoint(origin, int(size), b64decode(root, validate=True))
    except ValueError:
        found = Checkpoint("", 0, b"")
    if not found.origin or found.size < 0 or str(found.size) != size or len(found.root) != HASH_BYTES:
        raise Invalid(f"{text[:200]!r} is no checkpoint.")
    return found


def of_cell(note: str, cell: str) -> bool:
    """Whether a note is of a log of this cell, wherever."""
    return note.partition("\n")[0].rpartition("/")[2] == cell


class CheckpointSigned(Event, tag="checkpoint.signed", frozen=True, kw_only=True):
    """The log up to a position, by one hash, signed. What was signed can be neither changed nor taken out afterwards
    without it being seen, and where."""

    note: str
    """The checkpoint with its signatures: a signed note (https://c2sp.org/signed-note)."""
    size: int
    """Up to which position it speaks."""
    leaves: bytes
    """The hashes of the leaves since the checkpoint before, one behind the other: which of them is not what it was
    is told by them, and what stood where a message was lost."""
    frontier: bytes
    """The roots of the tree's perfect subtrees, one behind the other, the largest first: from here the tree grows
    on without the log being read again."""

    def tree(self) -> Frontier:
        """The tree that goes on from here. Raises ValueError for what is none."""
        return Frontier(self.size, split(self.frontier))


class LastCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How far a log is signed."""

    note: str
    size: int


def aggregate(cell: str) -> AggregateId:
    """The aggregate of a cell's checkpoints."""
    return AggregateId("checkpoint", cell)


def evolve(_state: LastCheckpoint | None, event: Event, _meta: Metadata) -> LastCheckpoint:
    """Fold one event."""
    if not isinstance(event, CheckpointSigned):
        raise unfoldable(event)
    return LastCheckpoint(note=event.note, size=event.size)


KIND = Kind("checkpoint", (CheckpointSigned,), evolve)
