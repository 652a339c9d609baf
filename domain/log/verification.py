"""Whether a log is what was signed, and what was ever recorded; if not, which position is the first that is wrong.

Two things are looked at. Each event continues its predecessor on its subject: that holds for all of them, and is all
that holds what came after the last checkpoint. And checkpoints bring the hashes of the leaves that were signed: what
differs from them is named exactly. So what looks wrong is only suspected until the next checkpoint has spoken.
"""

from collections.abc import Callable, Container, Iterable
from hashlib import sha256
from typing import NamedTuple

import msgspec

from domain.errors import LightcurveError
from domain.log.checkpoint import MISSING, Checkpoint, CheckpointSigned, Entry, of_cell
from domain.log.merkle import HASH_BYTES, Frontier
from domain.log.record import GENESIS
from domain.log.recovery import RecoveryDecided

_NOBODY = (0, 0, GENESIS.digest.encode())
_UNKNOWN = bytes(HASH_BYTES)
"""Stands for the leaf of a position where nothing is."""
_TIME, _VERSION, _PREVIOUS, _ID, _MESSAGE, _GUARD = (
    b"\r\n%b: " % name
    for name in (
        b"ce-time",
        b"ce-aggregateversion",
        b"ce-previousdigest",
        b"ce-id",
        b"Nats-Msg-Id",
        b"Nats-Expected-Last-Subject-Sequence",
    )
)
_checkpoint = msgspec.json.Decoder(CheckpointSigned)
_recovery = msgspec.json.Decoder(RecoveryDecided)


class Finding(NamedTuple):
    """The first position that is wrong, and what is wrong there, as the end of a sentence."""

    position: int
    what: str
    time: str = ""
    """Of the event that stands there, as it says itself."""


class Place(NamedTuple):
    """Which log is looked at."""

    cell: str
    checkpoints: str
    """The subject of its checkpoints."""
    recoveries: str
    """The subject of its recoveries."""


class Verifier:
    """Takes the messages of one cell's log, all of them, in their order."""

    def __init__(
        self,
        place: Place,
        opened: Callable[[str], Checkpoint],
        known_missing: Container[int] = (),
        given: Iterable[Checkpoint] = (),
        proven: list[bytes] | None = None,
    ) -> None:
        """``opened`` says what a note says; it raises LightcurveError if nobody who is believed has signed it. The
        log has to say itself, in recoveries, what is ``known_missing``, and to contain the checkpoints ``given``. The
        hashes of all leaves that are found to be signed are gathered in ``proven``."""
        self.finding: Finding | None = None
        """Once there is one there is no use in going on."""
        self.events = self.checkpoints = 0
        self.last = 0
        """The last position that was taken."""
        self.origin = ""
        """Of the last checkpoint."""
        self.missing: list[int] = []
        """Positions where nothing is, as a recovery has said."""
        self._place, self._opened, self._known_missing = place, opened, known_missing
        self._proven = proven
        self._given = sorted(given, key=lambda each: each.size)
        self._tree = Frontier()
        self._leaves: list[bytes] = []
        self._times: list[bytes] = []
        self._tails: dict[str, tuple[int, int, bytes]] = {}
        """Position, version and digest of the last event, by subject."""
        self._declared: dict[int, int] = {}
        """Positions that recoveries call missing, and where the first one that does stands."""
        self._suspect: Finding | None = None

    @property
    def signed(self) -> int:
        """Up to which position it is signed."""
        return self._tree.size

    def take(self, entries: Iterable[Entry]) -> None:
        """What follows. After a finding it is ignored."""
        leaves, times, hashed = self._leaves, self._times, sha256
        for entry in entries:
            position, subject, headers, body = entry
            if position != self.last + 1 and not self._jump(position):
                return
            self.last = position
            self.events += 1
            leaves.append(hashed(b"\0%b\n%b%b" % (subject.encode(), headers, body)).digest())
            times.append(_value(headers, _TIME))
            self._follow(entry)
            if subject == self._place.checkpoints:
                self._check(position, body)
                leaves, times = self._leaves, self._times
                if self.finding:
                    return
            elif subject == self._place.recoveries:
                self._recovered(position, body)

    def finish(self, promised: int | None = None, root: bytes | None = None) -> Finding | None:
        """The end. It was ``promised`` at which position it is, and which ``root`` the whole tree has. Returns the
        finding, if there is one."""
        if self.finding is None:
            self._hold_against(self._tree, self._read)
            ends = [*([promised] if promised else []), *(each.size for each in self._given)]
            if max(ends, default=0) > self.last:
                self._suspected(
                    self.last + 1, f"is missing, and so is all behind it: there were {max(ends)} positions before"
                )
            self._look_for_excuses()
            if self._suspect is None and root is not None and root != self.root:
                self._suspected(
                    self.signed + 1, f"or another up to {self.last} was altered: the sum of all does not fit"
                )
            self.finding = self._suspect
        return self.finding

    def _look_for_excuses(self) -> None:
        """What was signed and is missing is excused only by a recovery that is signed, too: anybody can put another
        one behind the last checkpoint."""
        for position in self.missing:
            told = self._declared.get(position)
            if told is None:
                return self._suspected(position, "is missing, and no recovery in the log says so")
            if position <= self.signed < told:
                return self._suspected(
                    position, f"is missing, and nobody has signed the recovery at {told} that says so"
                )
        return None

    @property
    def _read(self) -> list[bytes]:
        """The leaves that no checkpoint has spoken of."""
        return [MISSING if leaf == _UNKNOWN else leaf for leaf in self._leaves]

    @property
    def root(self) -> bytes:
        """The hash of the tree of everything that was taken."""
        tree = self._tree.copy()
        tree.extend(self._read)
        return tree.root

    def _jump(self, position: int) -> bool:
        """Over positions where nothing is; False if there is no going on."""
        if position <= self.last:
            self._wrong(position, f"stands behind position {self.last}")
            return False
        for absent in range(self.last + 1, position):
            if absent not in self._known_missing:
                self._wrong(absent, f"is missing: position {position} follows position {self.last}")
                return False
            self.missing.append(absent)
            self._leaves.append(_UNKNOWN)
            self._times.append(b"")
        return True

    def _follow(self, entry: Entry) -> None:
        """See whether it continues what is before it on its subject."""
        position, subject, headers, body = entry
        before, version, digest = self._tails.get(subject, _NOBODY)
        stated = _value(headers, _VERSION)
        found = int(stated) if stated.isdigit() and len(stated) < 19 else 0
        self._tails[subject] = position, found, _digest(headers, body)
        if _value(headers, _PREVIOUS) == digest and found == version + 1:
            if (
                _value(headers, _MESSAGE) != _value(headers, _ID)
                or _value(headers, _GUARD) != b"%d" % before
                or headers[:10] != b"NATS/1.0\r\n"
                or headers[-4:] != b"\r\n\r\n"
            ):
                self._suspected(position, "has headers that do not fit each other")
        elif found <= version or not self.missing or self.missing[-1] <= before:
            self._broken(position, before, found - version)

    def _broken(self, position: int, before: int, step: int) -> None:
        if not before:
            self._suspected(position, "is not the first event of its subject, but there is none before it")
        elif step == 1 and before > self.signed:
            self._suspected(before, f"or {position}, which should continue it, was altered")
        elif step > 1:
            self._suspected(position, f"does not continue position {before}: what stood between was taken out")
        elif step == 1:
            self._suspected(position, f"does not continue position {before}: it was altered")
        else:
            self._suspected(position, f"does not continue position {before}: it was put in, or has changed places")

    def _suspected(self, position: int, what: str) -> None:
        if self._suspect is None or position < self._suspect.position:
            self._suspect = Finding(position, what, self._time(position))

    def _time(self, position: int) -> str:
        at = position - self._tree.size - 1
        return self._times[at].decode(errors="replace") if 0 <= at < len(self._times) else ""

    def _check(self, position: int, body: bytes) -> None:
        """Hold what was read against a checkpoint."""
        try:
            event = _checkpoint.decode(body)
            checkpoint = self._opened(event.note)
        except msgspec.MsgspecError:
            return self._wrong(position, "is a checkpoint that cannot be read")
        except LightcurveError as error:
            return self._wrong(position, f"is a checkpoint that counts for nothing: {error.message}")
        if not of_cell(event.note, self._place.cell):
            return self._wrong(position, f"is a checkpoint of another log: {checkpoint.origin}")
        count = checkpoint.size - self._tree.size
        if count <= 0 or event.size != checkpoint.size or len(event.leaves) != count * HASH_BYTES:
            return self._wrong(position, f"is a checkpoint of {checkpoint.size} positions, which cannot stand there")
        stated = [event.leaves[at : at + HASH_BYTES] for at in range(0, len(event.leaves), HASH_BYTES)]
        tree = self._tree.copy()
        tree.extend(stated)
        if tree.root != checkpoint.root:
            return self._forged(position, checkpoint, stated)
        self._compare(stated, position)
        if self.finding is None and event.frontier != b"".join(tree.hashes):
            self._wrong(position, "is a checkpoint whose frontier is not that of its tree")
        if self.finding is None and self._suspect and self._suspect.position <= checkpoint.size:
            self.finding = self._suspect
        if self.finding is None:
            self._hold_against(self._tree, stated)
            self._tree, self._leaves, self._times = tree, self._leaves[count:], self._times[count:]
            self.checkpoints += 1
            if self._proven is not None:
                self._proven += stated
            self.origin = checkpoint.origin
        return None

    def _compare(self, stated: list[bytes], position: int) -> None:
        found = self._leaves
        for at, leaf in enumerate(stated[: len(found)]):
            if found[at] != leaf and found[at] != _UNKNOWN:
                # What was suspected before it is as it was signed.
                self._suspect, first = None, self._tree.size + at + 1
                return self._wrong(first, f"{_difference(found, stated, at)} (checkpoint at position {position})")
        return None

    def _forged(self, position: int, checkpoint: Checkpoint, stated: list[bytes]) -> None:
        """A checkpoint is signed, but not what stands beside it."""
        tree, first = self._tree.copy(), self._tree.size + 1
        tree.extend(self._leaves[: len(stated)])
        if tree.root == checkpoint.root:
            return self._wrong(position, "is a checkpoint whose list of leaves was altered")
        return self._wrong(
            first,
            f"or a later one up to {checkpoint.size} was rewritten, with all hashes: the checkpoint at position "
            f"{position} was signed over something else",
        )

    def _hold_against(self, tree: Frontier, leaves: list[bytes]) -> None:
        """See whether the log contains the checkpoints that were given, as far as ``leaves`` reach."""
        while self._given and self._given[0].size <= tree.size + len(leaves):
            given = self._given.pop(0)
            grown = tree.copy()
            grown.extend(leaves[: given.size - tree.size])
            if grown.root != given.root:
                self._wrong(
                    tree.size + 1, f"or another up to {given.size} is not what was signed in the given checkpoint"
                )

    def _wrong(self, position: int, what: str) -> None:
        self._suspected(position, what)
        self.finding = self._suspect

    def _recovered(self, position: int, body: bytes) -> None:
        try:
            event = _recovery.decode(body)
        except msgspec.MsgspecError:
            return
        for each in event.missing:
            for missing in self._within(each.first, each.last):
                self._declared.setdefault(missing, position)

    def _within(self, first: int, last: int) -> list[int]:
        return [position for position in self.missing if first <= position <= last]


def _value(headers: bytes, name: bytes) -> bytes:
    """What a header says; ``name`` is with all that stands around it. Nothing, if it is not there."""
    at = headers.find(name)
    return headers[at + len(name) : headers.find(b"\r\n", at + len(name))] if at >= 0 else b""


def _digest(headers: bytes, body: bytes) -> bytes:
    """What the next event of the subject has to name: SHA-256 over the sorted ``ce-`` headers, and the body."""
    lines = [line.replace(b": ", b":", 1) for line in headers.split(b"\r\n") if line[:3] == b"ce-"]
    lines.sort()
    lines.append(body)
    return sha256(b"\n".join(lines)).hexdigest().encode()


def _difference(found: list[bytes], signed: list[bytes], at: int) -> str:
    """What was done to the log where it first differs from what was signed."""
    here, there = found[at : at + 3], signed[at : at + 3]
    if len(here) > 1 and len(there) > 1:
        if here[:2] == [there[1], there[0]]:
            return "has changed places with the next"
        if here[:2] == there[1:3]:
            return "is not what was signed there: that was taken out, and what follows has moved up"
        if here[1:3] == there[:2]:
            return "was put in: what was signed there comes behind it"
    return "is not what was signed there: its headers or its body were altered"
