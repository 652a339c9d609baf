"""What somebody may do to a log, or to a copy of it; each keeps as much as can be kept in order."""

import asyncio
import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from adapters.notes import SigningKey
from domain.log.checkpoint import Entry
from domain.log.merkle import Frontier
from tests.paper_log import PaperLog, PaperNotary, signer

Entries = list[Entry]
KEY = SigningKey("lightcurve/test", bytes(range(32)))
OTHER = SigningKey("lightcurve/other", bytes(32))
SIGNED = (20, 44)
"""The sizes of the two checkpoints; each stands right behind."""
LAST = 58
CHECKPOINT = ".event.checkpoint."


def honest() -> PaperLog:
    """Chains of keypairs, signed twice, and some events behind."""
    log, notary = PaperLog(), PaperNotary(KEY)
    for first, count in ((0, 20), (20, 23)):
        log.fill(count, first)
        asyncio.run(signer(log, notary).sign())
    log.fill(13, 43)
    assert log.end == LAST
    return log


def fields(entry: Entry) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in entry.headers.decode().split("\r\n")[1:-2])


def with_fields(entry: Entry, **changed: str) -> Entry:
    lines = "".join(
        f"{name}: {changed.get(name.replace('-', '_'), value)}\r\n" for name, value in fields(entry).items()
    )
    return entry._replace(headers=f"NATS/1.0\r\n{lines}\r\n".encode())


def renumbered(entries: Entries) -> Entries:
    return [entry._replace(position=at) for at, entry in enumerate(entries, 1)]


def chained(entries: Entries) -> Entries:
    """With all versions, digests and guards as they have to be."""
    tails: dict[str, tuple[int, int, str]] = {}
    found = []
    for entry in entries:
        position, version, digest = tails.get(entry.subject, (0, 0, "0" * 64))
        made = with_fields(
            entry,
            ce_aggregateversion=str(version + 1),
            ce_previousdigest=digest,
            Nats_Expected_Last_Subject_Sequence=str(position),
        )
        lines = sorted(f"{name}:{value}\n" for name, value in fields(made).items() if name.startswith("ce-"))
        digest = sha256("".join(lines).encode() + made.body).hexdigest()
        tails[entry.subject] = entry.position, version + 1, digest
        found.append(made)
    return found


def flipped(entries: Entries, position: int, where: bytes, part: str = "body", bit: int = 1) -> Entries:
    """One bit, at the end of ``where``."""
    found = list(entries)
    entry = found[position - 1]
    raw = bytearray(getattr(entry, part))
    at = raw.index(where) + len(where) - 1
    raw[at] ^= bit
    found[position - 1] = entry._replace(**{part: bytes(raw)})
    return found


def dropped(entries: Entries, position: int) -> Entries:
    return [entry for entry in entries if entry.position != position]


def swapped(entries: Entries, one: int, other: int) -> Entries:
    found = list(entries)
    found[one - 1], found[other - 1] = found[other - 1], found[one - 1]
    return renumbered(found)


def inserted(entries: Entries, position: int, like: int) -> Entries:
    """A forged event; its neighbours move up."""
    event_id = "00000000-0000-4000-8000-00000000f04e"
    forged = with_fields(entries[like - 1], ce_id=event_id, Nats_Msg_Id=event_id)
    return renumbered([*entries[: position - 1], forged, *entries[position - 1 :]])


def rewritten(entries: Entries, position: int) -> Entries:
    """As if something else had happened at a position, with all hashes of all that follows."""
    return chained(flipped(entries, position, b"ce-requestid: req-1", "headers"))


def with_body(entries: Entries, position: int, change: Callable[[dict[str, object]], dict[str, object]]) -> Entries:
    found = list(entries)
    body = change(json.loads(found[position - 1].body))
    found[position - 1] = found[position - 1]._replace(body=json.dumps(body, separators=(",", ":")).encode())
    return found


def with_forged_checkpoints(entries: Entries, key: SigningKey | None = None) -> Entries:
    """With lists and frontiers that fit what stands there now; the notes as they were, or signed anew with a key."""
    found, tree, before = list(entries), Frontier(), 0
    for at, entry in enumerate(found):
        if CHECKPOINT not in entry.subject:
            continue
        body = json.loads(entry.body)
        leaves = [each.leaf for each in found[before : body["size"]]]
        tree.extend(leaves)
        before = body["size"]
        body |= {"leaves": _base64(b"".join(leaves)), "frontier": _base64(b"".join(tree.hashes))}
        if key:
            body["note"] = key.sign("cell1", tree.size, tree.root)
        found[at] = entry._replace(body=json.dumps(body, separators=(",", ":")).encode())
        found = chained(found)
    return found


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode()


class Tampering(NamedTuple):
    done: Callable[[Entries], Entries]
    first: int
    """The first position that is wrong."""
    words: str


def _resigned(
    size: int, cell: str = "cell1", key: SigningKey = KEY
) -> Callable[[dict[str, object]], dict[str, object]]:
    def change(body: dict[str, object]) -> dict[str, object]:
        root = b64decode(str(body["note"]).split("\n")[2])
        return body | {"note": key.sign(cell, size, root)}

    return change


def _headers() -> dict[str, Tampering]:
    """A bit in each header, where there is a successor on the subject, and where nothing is signed."""
    found = {}
    names = list(fields(honest().kept[10]))
    for region, position in (("signed", 10), ("not signed", 47)):
        for name in names:
            for what, where in (("value of", f"\r\n{name}: ".encode() + b"?"), ("name of", f"\r\n{name}".encode())):
                found[f"a bit in the {what} {name}, {region}"] = _header(position, name, where)
    return found


def _header(position: int, name: str, where: bytes) -> Tampering:
    def done(entries: Entries) -> Entries:
        place = where
        if place.endswith(b"?"):
            at = entries[position - 1].headers.index(place[:-1]) + len(place) - 1
            place = entries[position - 1].headers[: at + 1]
        return flipped(entries, position, place, "headers")

    return Tampering(done, position, "")


TAMPERINGS: dict[str, Tampering] = {
    "a bit in a body": Tampering(lambda log: flipped(log, 10, b'"name":"k'), 10, "headers or its body"),
    "a bit in a body that nobody continues": Tampering(lambda log: flipped(log, 20, b'"name":"k'), 20, "headers or"),
    "a bit in a body, not signed": Tampering(lambda log: flipped(log, 47, b'"name":"k'), 47, "was altered"),
    "a bit that makes a body no JSON": Tampering(
        lambda log: flipped(log, 10, b"{", bit=2), 10, "headers or its body"
    ),
    "a bit in a checkpoint's body": Tampering(lambda log: flipped(log, 21, b'"size":20', bit=1), 21, "cannot"),
    "another subject": Tampering(
        lambda log: [each._replace(subject=each.subject + "x") if each.position == 10 else each for each in log],
        10,
        "",
    ),
    "another subject, not signed": Tampering(
        lambda log: [*log[:46], log[46]._replace(subject=log[46].subject + "x"), *log[47:]], 47, "none before it"
    ),
    "a bit in the line before the headers": Tampering(
        lambda log: flipped(log, 47, b"NATS/1", "headers"), 47, "headers that do not fit"
    ),
    "a bit in the line behind the headers": Tampering(
        lambda log: flipped(log, 47, b"\r\n\r\n", "headers"), 47, "headers that do not fit"
    ),
    "a bit in a header that nobody continues": Tampering(
        lambda log: flipped(log[:50], 47, b"ce-previousdigest: ", "headers"), 47, ""
    ),
    "an event dropped": Tampering(lambda log: dropped(log, 10), 10, "is missing"),
    "an event dropped, not signed": Tampering(lambda log: dropped(log, 47), 47, "is missing"),
    "an event dropped, positions closed": Tampering(lambda log: renumbered(dropped(log, 10)), 10, "was taken out"),
    "an event dropped, positions closed, not signed": Tampering(
        lambda log: renumbered(dropped(log, 47)), 53, "was taken out"
    ),
    "an event dropped, with all hashes": Tampering(
        lambda log: chained(renumbered(dropped(log, 10))), 10, "was taken out"
    ),
    "neighbours swapped": Tampering(lambda log: swapped(log, 10, 11), 10, "changed places"),
    "neighbours swapped, with all hashes": Tampering(lambda log: chained(swapped(log, 10, 11)), 10, ""),
    "two of one subject swapped": Tampering(lambda log: swapped(log, 10, 17), 10, "altered"),
    "two of one subject swapped, not signed": Tampering(lambda log: swapped(log, 46, 53), 46, ""),
    "a line before the one that it follows": Tampering(
        lambda log: [*log[:9], log[10], log[9], *log[11:]], 10, "is missing: position 11 follows position 9"
    ),
    "a line twice": Tampering(lambda log: [*log[:10], log[9], *log[10:]], 10, "stands behind position 10"),
    "the end cut": Tampering(lambda log: log[:50], 51, "and so is all behind it"),
    "the end cut, checkpoints and all": Tampering(lambda log: log[:15], 16, "and so is all behind it"),
    "a forged event": Tampering(lambda log: inserted(log, 10, 5), 10, "was put in"),
    "a forged event, with all hashes": Tampering(lambda log: chained(inserted(log, 10, 5)), 10, "was put in"),
    "a forged event, not signed": Tampering(lambda log: inserted(log, 47, 5), 47, ""),
    "a history rewritten": Tampering(lambda log: rewritten(log, 10), 10, "headers or its body"),
    "a history rewritten, with the lists of the checkpoints": Tampering(
        lambda log: with_forged_checkpoints(rewritten(log, 30)), 21, "up to 44 was rewritten"
    ),
    "a history rewritten, and signed by somebody else": Tampering(
        lambda log: with_forged_checkpoints(rewritten(log, 30), OTHER),
        21,
        "of lightcurve/other/cell1, and none of the given keys has signed it",
    ),
    "a checkpoint of another log of the same key": Tampering(
        lambda log: with_body(log, 45, _resigned(44, "api")), 45, "of another log: lightcurve/test/api"
    ),
    "a checkpoint of another installation": Tampering(
        lambda log: with_body(log, 45, _resigned(44, key=SigningKey("lightcurve/other", bytes(32)))),
        45,
        "none of the",
    ),
    "an older checkpoint once more": Tampering(
        lambda log: with_body(log, 45, lambda _: json.loads(log[20].body)), 45, "cannot stand there"
    ),
    "an older checkpoint once more, without a list": Tampering(
        lambda log: with_body(log, 45, lambda _: json.loads(log[20].body) | {"leaves": ""}), 45, "cannot stand there"
    ),
    "a checkpoint that is none": Tampering(lambda log: flipped(log, 45, b"{", bit=2), 45, "is a checkpoint that"),
    "a history rewritten, with a list of something else": Tampering(
        lambda log: with_body(rewritten(log, 30), 45, lambda body: body | {"leaves": _base64(bytes(32 * 24))}),
        21,
        "up to 44 was rewritten",
    ),
    "a list of leaves altered": Tampering(
        lambda log: with_body(log, 45, lambda body: body | {"leaves": _base64(bytes(32 * 24))}), 45, "list of leaves"
    ),
    "a frontier altered": Tampering(
        lambda log: with_body(log, 45, lambda body: body | {"frontier": _base64(bytes(96))}), 45, "frontier"
    ),
    **_headers(),
}
