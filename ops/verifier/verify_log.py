#!/usr/bin/env python3
"""Checks an exported log of Lightcurve, or a part of one, without Lightcurve: one file, Python and ``cryptography``.

    python3 verify_log.py cell1.jsonl.zst 'lightcurve/…/cell1+…+…' [more keys]
    python3 verify_log.py one.tlog-proof KEYS          what lightcurve checkpoint --inclusion has printed
    python3 verify_log.py proof.txt earlier.note KEYS  what lightcurve checkpoint --consistency has printed

Reads ``.jsonl``, ``.gz``, and ``.zst`` where the program ``zstd`` is there. Ends with one sentence; the exit status
is 0 if the log is what was signed, 1 if it is not, 2 if nobody can tell. ``verification.md`` describes the format.
"""

import base64
import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Frontier = list[tuple[int, bytes]]
Keys = dict[tuple[str, bytes], Ed25519PublicKey]
Range = tuple[int, int]
MISSING = hashlib.sha256(b"\0missing").digest()


class Bad(Exception):
    """The first position that is wrong, and what is wrong there."""

    def __init__(self, position: int, what: str) -> None:
        super().__init__(f"position {position} {what}")
        self.position = position


def unbase64(text: str) -> bytes:
    """Bytes, or nothing for what is none."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def node(left: bytes, right: bytes) -> bytes:
    """RFC 6962: the hash over two subtrees."""
    return hashlib.sha256(b"\1" + left + right).digest()


def grow(frontier: Frontier, leaves: Iterable[bytes]) -> None:
    """Append leaves to a list of (size, hash) of perfect subtrees, the largest first."""
    for leaf in leaves:
        size, found = 1, leaf
        while frontier and frontier[-1][0] == size:
            found = node(frontier.pop()[1], found)
            size *= 2
        frontier.append((size, found))


def root_of(frontier: Frontier) -> bytes:
    """The hash of the whole tree."""
    found: bytes | None = None
    for _, each in reversed(frontier):
        found = each if found is None else node(each, found)
    return found if found is not None else hashlib.sha256(b"").digest()


def sides(at: int, last: int, count: int) -> list[bool] | None:
    """RFC 9162, 2.1.3.2: of each hash of a proof, whether it stands on the left; None if so many cannot be one."""
    found = []
    for _ in range(count):
        if last == 0:
            return None
        found.append(at % 2 == 1 or at == last)
        if found[-1]:
            while at % 2 == 0 and at:
                at, last = at // 2, last // 2
        at, last = at // 2, last // 2
    return found if last == 0 else None


def root_by_proof(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes | None:
    """The root that an inclusion proof leads to; None if it cannot be one."""
    found, lefts = leaf, sides(index, size - 1, len(proof))
    for left, each in zip(lefts or [], proof, strict=False):
        found = node(each, found) if left else node(found, each)
    return None if lefts is None else found


def continues(old: int, old_root: bytes, size: int, root: bytes, proof: list[bytes]) -> bool:
    """RFC 9162, 2.1.4.2: whether a tree is the beginning of another one."""
    if not 0 < old < size:
        return old == size and not proof and old_root == root
    path = [old_root, *proof] if old & (old - 1) == 0 else proof
    at, last = old - 1, size - 1
    while at % 2:
        at, last = at // 2, last // 2
    lefts = sides(at, last, len(path) - 1)
    if not path or lefts is None:
        return False
    before = after = path[0]
    for left, each in zip(lefts, path[1:], strict=True):
        before = node(each, before) if left else before
        after = node(each, after) if left else node(after, each)
    return before == old_root and after == root


def keys_of(texts: list[str]) -> Keys:
    """Public keys by (name, id), from ``name+id+base64``."""
    found: Keys = {}
    for text in texts:
        name, _, rest = text.partition("+")
        id_, _, packed = rest.partition("+")
        key = unbase64(packed)
        expected = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex()
        if len(key) != 33 or key[0] != 1 or id_ != expected:
            raise SystemExit(f"{text!r} is no verifier's key.")
        found[name, bytes.fromhex(id_)] = Ed25519PublicKey.from_public_bytes(key[1:])
    return found


def opened(note: str, cell: str, keys: Keys) -> tuple[int, bytes]:
    """Size and root of a signed checkpoint of this cell's log. Raises ValueError."""
    text, _, signatures = note.rpartition("\n\n")
    lines = text.split("\n")
    if len(lines) < 3:
        raise ValueError("it is no checkpoint")
    origin, size, root = lines[0], lines[1], unbase64(lines[2])
    signed = False
    for line in signatures.splitlines():
        words = line.split(" ")
        blob = unbase64(words[2]) if len(words) == 3 and words[0] == "\u2014" else b""
        key = keys.get((words[1], blob[:4])) if blob and words[1] == origin else None
        if key is not None:
            try:
                key.verify(blob[4:], (text + "\n").encode())
            except InvalidSignature:
                raise ValueError("its signature does not fit it") from None
            signed = True
    if not signed:
        raise ValueError(f"it is of {origin}, and none of the given keys has signed it")
    if origin.rpartition("/")[2] != cell:
        raise ValueError(f"it is of another log, {origin}")
    if not size.isdigit() or str(int(size)) != size or len(root) != 32:
        raise ValueError("it is no checkpoint")
    return int(size), root


class Log:
    """The log of a cell, event by event."""

    def __init__(self, cell: str, keys: Keys, missing: list[Range]) -> None:
        self.cell, self.keys, self.known_missing = cell, keys, missing
        self.position = self.events = self.signed = 0
        self.frontier: Frontier = []
        self.leaves: list[bytes | None] = []
        self.tails: dict[str, tuple[int, int, bytes]] = {}
        self.missing: list[int] = []
        self.declared: list[tuple[int, int, int]] = []  # where a recovery stands, and a range that it calls missing
        self.suspect: Bad | None = None

    def suspected(self, position: int, what: str) -> None:
        """Perhaps wrong, unless a checkpoint says otherwise."""
        if self.suspect is None or position < self.suspect.position:
            self.suspect = Bad(position, what)

    def wrong(self, position: int, what: str) -> NoReturn:
        """Certainly wrong. Raises Bad, for what is suspected before it, too."""
        self.suspected(position, what)
        raise self.suspect or Bad(position, what)

    def take(self, position: int, subject: str, headers: bytes, body: bytes) -> None:
        """One more event. Raises Bad."""
        if position <= self.position:
            self.wrong(position, f"stands behind position {self.position}")
        for absent in range(self.position + 1, position):
            if not any(first <= absent <= last for first, last in self.known_missing):
                self.wrong(absent, f"is missing: position {position} follows position {self.position}")
            self.missing.append(absent)
            self.leaves.append(None)
        self.position, self.events = position, self.events + 1
        self.leaves.append(hashlib.sha256(b"\0" + subject.encode() + b"\n" + headers + body).digest())
        self.follow(position, subject, headers, body)
        if subject == f"cell.{self.cell}.event.checkpoint.{self.cell}":
            self.check(position, body)
        elif subject == f"cell.{self.cell}.event.recovery.{self.cell}":
            self.declared += [(position, each["first"], each["last"]) for each in json.loads(body)["missing"]]

    def follow(self, position: int, subject: str, headers: bytes, body: bytes) -> None:
        """The chain of the subject."""
        lines = headers.split(b"\r\n")
        fields = dict(line.partition(b": ")[::2] for line in lines[1:])
        before, version, digest = self.tails.get(subject, (0, 0, b"0" * 64))
        stated = fields.get(b"ce-aggregateversion", b"")
        found = int(stated) if stated.isdigit() and len(stated) < 19 else 0
        told = sorted(line.replace(b": ", b":", 1) for line in lines if line.startswith(b"ce-"))
        joined = b"".join(line + b"\n" for line in told) + body
        self.tails[subject] = position, found, hashlib.sha256(joined).hexdigest().encode()
        if fields.get(b"ce-previousdigest") == digest and found == version + 1:
            if (
                fields.get(b"Nats-Msg-Id") != fields.get(b"ce-id")
                or fields.get(b"Nats-Expected-Last-Subject-Sequence") != str(before).encode()
                or lines[0] != b"NATS/1.0"
                or lines[-2:] != [b"", b""]
            ):
                self.suspected(position, "has headers that do not fit each other")
        elif not (found > version and self.missing and self.missing[-1] > before):
            both = found == version + 1 and before > self.signed
            self.suspected(before if both else position, f"and position {before} of the same subject do not fit")

    def check(self, position: int, body: bytes) -> None:
        """A checkpoint: what it was signed over against what is there."""
        try:
            event = json.loads(body)
            size, root = opened(event["note"], self.cell, self.keys)
            raw, frontier = unbase64(event["leaves"]), unbase64(event["frontier"])
        except (ValueError, KeyError, TypeError) as error:
            self.wrong(position, f"is a checkpoint that counts for nothing: {error}")
        count = size - self.signed
        if count <= 0 or event.get("size") != size or len(raw) != 32 * count:
            self.wrong(position, f"is a checkpoint of {size} positions, which cannot stand there")
        stated = [raw[at : at + 32] for at in range(0, len(raw), 32)]
        grown = list(self.frontier)
        grow(grown, stated)
        authentic = root_of(grown) == root
        if not authentic:
            own = list(self.frontier)
            grow(own, [leaf or MISSING for leaf in self.leaves[:count]])
            if root_of(own) == root:
                self.wrong(position, "is a checkpoint whose list of leaves was altered")
            self.wrong(
                self.signed + 1, f"or a later one up to {size} was rewritten (see the checkpoint at {position})"
            )
        for at, (found, signed) in enumerate(zip(self.leaves, stated, strict=False)):
            if found not in (None, signed):
                self.suspect = None
                self.wrong(self.signed + at + 1, f"is not what was signed there (checkpoint at position {position})")
        if frontier != b"".join(each for _, each in grown):
            self.wrong(position, "is a checkpoint whose frontier is not that of its tree")
        if self.suspect and self.suspect.position <= size:
            raise self.suspect
        self.frontier, self.signed, self.leaves = grown, size, self.leaves[count:]

    def finish(self, last: int, end: dict[str, Any] | None) -> None:
        """The end. Raises Bad."""
        if self.position < last:
            self.suspected(self.position + 1, "is missing, and so is all behind it")
        for absent in self.missing:
            told = next((at for at, first, last in self.declared if first <= absent <= last), None)
            if told is None:
                self.suspected(absent, "is missing, and no recovery in the log says so")
                break
            if absent <= self.signed < told:  # anybody can put one behind the last checkpoint
                self.suspected(absent, f"is missing, and nobody has signed the recovery at {told} that says so")
                break
        tree = list(self.frontier)
        grow(tree, [leaf or MISSING for leaf in self.leaves])
        if self.suspect is None and end and "root" in end and unbase64(end["root"]) != root_of(tree):
            self.suspected(self.signed + 1, "or a later one was altered: the hash of all does not come out")
        if self.suspect is None and end is None:
            self.suspected(self.position + 1, "is where the file breaks off")
        if self.suspect:
            raise self.suspect


def lines_of(name: str) -> Iterator[bytes]:
    """The lines of a file; it may break off."""
    if name.endswith(".zst"):
        with subprocess.Popen(["zstd", "-dcq", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            yield from process.stdout or ()
        return
    with gzip.open(name) if name.endswith(".gz") else Path(name).open("rb") as source:
        try:
            yield from source
        except (OSError, EOFError):
            return


def message(line: dict[str, Any]) -> tuple[str, bytes, bytes]:
    """Subject, headers and body of a line."""
    headers = line["headers"].encode() if "headers" in line else unbase64(line.get("headers64", ""))
    body = line["body"].encode() if "body" in line else unbase64(line.get("body64", ""))
    return line["subject"], headers, body


def decoded(lines: Iterable[bytes]) -> Iterator[Any]:
    """What the lines say, up to one that cannot be read."""
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            return


def whole(head: dict[str, Any], lines: Iterable[Any], keys: Keys) -> str:
    """A whole log. Raises Bad; returns the sentence."""
    log = Log(head["cell"], keys, [(each["first"], each["last"]) for each in head.get("missing", [])])
    end = None
    for line in lines:
        if end is not None:
            raise Bad(log.position + 1, "stands behind the end of the file")
        if "end" in line:
            end = line["end"]
        else:
            log.take(line["position"], *message(line))
    log.finish(head["last"], end)
    if not log.signed:
        raise Bad(1, "and all others are signed by nobody")
    lost = f"; {len(log.missing)} are missing, as recoveries in the log say" if log.missing else ""
    return f"whole: {log.events} events, positions 1 to {log.position}, signed up to {log.signed}{lost}"


def part(head: dict[str, Any], lines: Iterable[Any], keys: Keys) -> str:
    """Some events with their proofs. Raises Bad; returns the sentence."""
    try:
        size, root = opened(head["checkpoint"], head["cell"], keys)
    except ValueError as error:
        raise Bad(1, f"and all others have no good checkpoint: {error}") from None
    position, events, end = 0, 0, None
    for line in lines:
        if "end" in line:
            end = line["end"]
            continue
        subject, headers, body = message(line)
        leaf = hashlib.sha256(b"\0" + subject.encode() + b"\n" + headers + body).digest()
        proof = [unbase64(each) for each in line.get("proof", [])]
        if not 0 < line["position"] <= size or root_by_proof(leaf, line["position"] - 1, size, proof) != root:
            raise Bad(line["position"], "is not in the log that was signed")
        if line["position"] <= position:
            raise Bad(line["position"], f"stands behind position {position}")
        position, events = line["position"], events + 1
    if end is None or end["events"] != events:
        raise Bad(position + 1, "or a later one is missing")
    return f"a part, and good: each of its {events} events is in the log that was signed up to {size}"


def included(text: str, keys: Keys) -> str:
    """A tlog-proof of one message. Raises Bad and ValueError; returns the sentence."""
    proof, _, note = text.partition("\n\n")
    _, extra, index, *hashes = proof.split("\n")
    content, position = unbase64(extra.removeprefix("extra ")), int(index.removeprefix("index ")) + 1
    size, root = opened(note, note.partition("\n")[0].rpartition("/")[2], keys)
    leaf = hashlib.sha256(b"\0" + content).digest()
    path = [unbase64(each) for each in hashes]
    if not 0 < position <= size or root_by_proof(leaf, position - 1, size, path) != root:
        raise Bad(position, "is not what was signed there")
    subject = content.partition(b"\n")[0].decode()
    body = content.partition(b"\r\n\r\n")[2].decode(errors="replace")
    return f"good: position {position} of the log that was signed up to {size} is {subject}: {body}"


def consistent(text: str, earlier: str, keys: Keys) -> str:
    """A consistency proof, and the earlier checkpoint. Raises Bad and ValueError; returns the sentence."""
    proof, _, note = text.partition("\n\n")
    old, *hashes = proof.split("\n")
    cell = note.partition("\n")[0].rpartition("/")[2]
    (size, root), (before, old_root) = opened(note, cell, keys), opened(earlier, cell, keys)
    if before != int(old.removeprefix("old ")):
        raise ValueError(f"the proof is of {old.removeprefix('old ')} positions, and the checkpoint of {before}")
    if not continues(before, old_root, size, root, [unbase64(each) for each in hashes]):
        raise Bad(1, f"or a later one up to {before} is not what was signed then")
    return f"good: the log that was signed up to {size} begins with the one that was signed up to {before}"


def main(arguments: list[str]) -> int:
    """Exit status 0, 1 or 2."""
    if len(arguments) < 2:
        print(__doc__)
        return 2
    name, *more = arguments
    try:
        first = next(lines_of(name), b"")
        if first.startswith(b"old "):
            told = consistent(Path(name).read_text(), Path(more[0]).read_text(), keys_of(more[1:]))
        elif first.startswith(b"c2sp.org/tlog-proof@v1\n"):
            told = included(Path(name).read_text(), keys_of(more))
        else:
            keys, lines = keys_of(more), decoded(lines_of(name))
            head = next(lines, None)
            if not isinstance(head, dict) or head.get("format") != "lightcurve-log/1":
                print(f"{name} is no exported log of a format that is known here.")
                return 2
            told = (part if "part" in head else whole)(head, lines, keys)
    except Bad as bad:
        print(f"{name}: NOT what was signed. The first bad position is {bad.position}: {bad}.")
        return 1
    except OSError as error:
        print(f"{error.filename} cannot be read: {error.strerror}.")
        return 2
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        print(f"{name}: NOT what was signed. It has a line that is none of the format: {error!r}.")
        return 1
    print(f"{name}: {told}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
