"""Each tampering is found, and where it begins; what was lost and told is none."""

import asyncio
from collections.abc import Iterable

import pytest

from adapters.nats.names import Names
from adapters.notes import opened
from domain.log.checkpoint import Checkpoint, Entry, aggregate
from domain.log.merkle import Tree
from domain.log.recovery import aggregate as recoveries
from domain.log.verification import Finding, Place, Verifier
from tests.paper_log import PaperLog, PaperNotary, signer
from tests.tampering import (
    CHECKPOINT,
    KEY,
    LAST,
    SIGNED,
    TAMPERINGS,
    chained,
    flipped,
    honest,
    renumbered,
    rewritten,
    with_forged_checkpoints,
)

KEYS = [KEY.public(cell) for cell in ("cell1", "api")]


def verifier(cell: str = "cell1", missing: Iterable[int] = (), given: Iterable[Checkpoint] = ()) -> Verifier:
    names = Names(cell)
    place = Place(cell, names.event(aggregate(cell)), names.event(recoveries(cell)))
    return Verifier(place, lambda note: opened(note, KEYS), frozenset(missing), given)


def _finding(entries: list[Entry], given: Iterable[Checkpoint] = (), promised: int | None = None) -> Finding | None:
    found = verifier(given=given)
    for start in range(0, len(entries), 7):
        found.take(entries[start : start + 7])
    return found.finish(promised)


@pytest.fixture(scope="module")
def log() -> PaperLog:
    return honest()


def test_an_honest_log_is_whole(log: PaperLog) -> None:
    found = verifier()
    found.take(log.kept.values())
    assert found.finish(LAST) is None
    assert (found.events, found.last, found.checkpoints, found.signed) == (LAST, LAST, 2, SIGNED[1])
    assert found.origin == "lightcurve/test/cell1"


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found_where_it_begins(log: PaperLog, name: str) -> None:
    tampering = TAMPERINGS[name]
    finding = _finding(tampering.done(list(log.kept.values())), promised=LAST)
    assert finding is not None
    assert (finding.position, tampering.words in finding.what) == (tampering.first, True), finding


def test_what_is_wrong_has_a_time(log: PaperLog) -> None:
    finding = _finding(TAMPERINGS["a bit in a body"].done(list(log.kept.values())))
    assert finding
    assert finding.time == "2030-01-01T00:00:00.000000Z"


def test_who_rewrites_everything_and_takes_the_checkpoints_out_is_found_by_one_that_was_given_away(
    log: PaperLog,
) -> None:
    given = [opened(PaperNotary(KEY).sign("cell1", SIGNED[0], _root(log, SIGNED[0])), KEYS)]
    assert _finding(list(log.kept.values()), given) is None
    bare = [entry for entry in log.kept.values() if CHECKPOINT not in entry.subject]
    forged = chained(renumbered(rewritten(renumbered(bare), 10)))
    assert _finding(forged) is None
    finding = _finding(forged, given)
    assert finding == (
        1,
        "or another up to 20 is not what was signed in the given checkpoint",
        finding and finding.time,
    )


def test_who_signs_a_rewritten_history_with_the_true_key_is_found_by_a_checkpoint_that_was_given_away(
    log: PaperLog,
) -> None:
    given = [opened(PaperNotary(KEY).sign("cell1", 30, _root(log, 30)), KEYS)]
    forged = with_forged_checkpoints(rewritten(list(log.kept.values()), 25), KEY)
    assert _finding(forged) is None
    finding = _finding(forged, given)
    assert finding
    assert (finding.position, "up to 30" in finding.what) == (21, True)


def test_an_end_that_was_signed_and_is_gone_is_found_by_a_checkpoint_that_was_given_away(log: PaperLog) -> None:
    given = [opened(PaperNotary(KEY).sign("cell1", 50, _root(log, 50)), KEYS)]
    cut = list(log.kept.values())[:40]
    assert _finding(cut) is None
    finding = _finding(cut, given)
    assert finding
    assert (finding.position, finding.what) == (
        41,
        "is missing, and so is all behind it: there were 50 positions before",
    )


def _root(log: PaperLog, size: int) -> bytes:
    return Tree(entry.leaf for entry in log.kept.values()).root(size)


def test_what_was_lost_and_told_is_no_tampering() -> None:
    log, notary = PaperLog(), PaperNotary(KEY)
    log.fill(20)
    asyncio.run(signer(log, notary).sign())
    log.fill(10, 20)
    log.lose(3, 11, 12, 25)
    log.recover()
    log.fill(10, 30)
    asyncio.run(signer(log, notary).sign())
    log.fill(10, 40)
    asyncio.run(signer(log, notary).sign())
    lost = {3, 11, 12, 25}
    found = verifier(missing=lost)
    found.take(log.kept.values())
    assert found.finish(log.end) is None
    assert (found.missing, found.checkpoints) == (sorted(lost), 3)


def test_a_chain_that_was_broken_when_it_was_signed_is_found_whatever_is_wrong_behind_it() -> None:
    log, notary = PaperLog(), PaperNotary(KEY)
    log.fill(20)
    log.kept[3] = log.kept[3]._replace(body=log.kept[3].body + b" ")
    asyncio.run(signer(log, notary).sign())
    log.fill(20, 20)
    asyncio.run(signer(log, notary).sign())
    entries = list(log.kept.values())
    for found in (entries, flipped(entries, 30, b'"name":"k')):
        finding = _finding(found)
        assert finding
        assert (finding.position, "should continue it" in finding.what) == (3, True)


def test_what_is_missing_and_never_told_is_found_whatever_a_file_claims() -> None:
    log = PaperLog()
    log.fill(20)
    log.lose(5)
    found = verifier(missing={5})
    found.take(log.kept.values())
    assert found.finish(20) == (5, "is missing, and no recovery in the log says so", "")


def test_a_hash_of_all_holds_what_nobody_has_signed() -> None:
    log = PaperLog()
    log.fill(20)
    entries = list(log.kept.values())
    root = _root(log, 20)
    altered = [*entries[:19], entries[19]._replace(body=entries[19].body + b" ")]
    for found, expected in ((entries, None), (altered, 1)):
        looked = verifier()
        looked.take(found)
        finding = looked.finish(20, root)
        assert (finding and finding.position) == expected
