"""Signing a log: when, what, and what is never signed."""

import asyncio
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import pytest

from domain.errors import Unavailable
from domain.log.checkpoint import MISSING, CheckpointSigned
from domain.log.merkle import Tree, split
from handlers.log.checkpoints import Checkpoints, Contradiction
from tests.paper_log import PaperLog, PaperNotary, signed, signer


def _sign(checkpoints: Checkpoints) -> CheckpointSigned:
    found = asyncio.run(checkpoints.sign())
    assert found is not None
    return found


def _tree(log: PaperLog, size: int) -> bytes:
    """From the whole log, as nobody else does it."""
    leaves = [log.kept[at].leaf if at in log.kept else MISSING for at in range(1, size + 1)]
    return Tree(leaves).root(size)


@dataclass
class Signed:
    log: PaperLog
    notary: PaperNotary

    def check(self) -> None:
        """Every checkpoint says what the log is."""
        before = 0
        for each in signed(self.log):
            told = self.notary.opened(each.note)
            assert (told.size, told.root) == (each.size, _tree(self.log, each.size))
            assert each.tree().root == told.root
            assert list(split(each.leaves)) == [self.log.kept[at].leaf for at in range(before + 1, each.size + 1)]
            before = each.size


@pytest.fixture
def known() -> Signed:
    return Signed(PaperLog(), PaperNotary())


def test_a_checkpoint_is_an_entry_of_the_next(known: Signed) -> None:
    log, notary = known.log, known.notary
    log.fill(25)
    assert _sign(signer(log, notary)).size == 25
    assert log.end == 26
    log.fill(3, first=25)
    assert _sign(signer(log, notary)).size == 29
    known.check()


def test_who_goes_on_does_not_read_what_is_signed(known: Signed, monkeypatch: pytest.MonkeyPatch) -> None:
    log, notary = known.log, known.notary
    log.fill(25)
    _sign(signer(log, notary))
    log.fill(3, first=25)
    asked: list[int] = []
    entries = log.entries

    def watched(after: int) -> Any:
        asked.append(after)
        return entries(after)

    monkeypatch.setattr(log, "entries", watched)
    _sign(signer(log, notary))
    assert asked == [25]


def test_an_old_log_is_signed_piece_by_piece(known: Signed) -> None:
    known.log.fill(95)
    _sign(signer(known.log, known.notary, events=20))
    assert [each.size for each in signed(known.log)] == [20, 40, 60, 80, 95]
    known.check()


def test_what_one_checkpoint_could_not_hold_is_signed_by_several(
    known: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlers.log.checkpoints.MOST_EVENTS", 10)
    known.log.fill(25)
    known.log.lose(*range(3, 24))
    known.log.recover()
    _sign(signer(known.log, known.notary))
    told = signed(known.log)
    assert [(each.size, len(list(split(each.leaves)))) for each in told] == [(10, 10), (20, 10), (26, 6)]
    for each in told:
        assert known.notary.opened(each.note).root == _tree(known.log, each.size)


def test_nothing_is_signed_for_checkpoints_alone(known: Signed) -> None:
    known.log.fill(5)
    checkpoints = signer(known.log, known.notary)
    _sign(checkpoints)
    assert _sign(checkpoints).size == _sign(signer(known.log, known.notary)).size == 5
    assert len(signed(known.log)) == 1
    assert asyncio.run(signer(PaperLog(), known.notary).sign()) is None


def test_is_due_by_number_and_by_time(known: Signed) -> None:
    log, checkpoints = known.log, signer(known.log, known.notary, events=10, seconds=60)
    log.fill(9)
    asyncio.run(checkpoints.look())
    assert signed(log) == []
    log.fill(1, first=9)
    asyncio.run(checkpoints.look())
    assert [each.size for each in signed(log)] == [10]
    log.fill(1, first=10)
    asyncio.run(checkpoints.look())
    assert len(signed(log)) == 1
    log.stamp.clock.advance(61)  # type: ignore[attr-defined]
    asyncio.run(checkpoints.look())
    assert [each.size for each in signed(log)] == [10, 12]
    log.stamp.clock.advance(61)  # type: ignore[attr-defined]
    asyncio.run(checkpoints.look())
    assert len(signed(log)) == 2
    known.check()


def test_two_who_sign_at_once_do_no_harm(known: Signed) -> None:
    log, one, other = known.log, signer(known.log, known.notary), signer(known.log, known.notary)
    log.fill(5)
    _sign(one)
    log.fill(5, first=5)
    _sign(other)
    log.fill(5, first=10)
    with pytest.raises(Unavailable, match="same moment"):
        asyncio.run(one.sign())
    log.fill(1, first=15)
    assert _sign(one).size == log.end - 1
    known.check()


def test_a_position_that_was_lost_before_it_was_signed_has_a_leaf_that_says_so(known: Signed) -> None:
    known.log.fill(12)
    known.log.lose(3, 7, 8)
    known.log.recover()
    told = _sign(signer(known.log, known.notary))
    assert told.tree().root == _tree(known.log, 13)
    assert list(split(told.leaves)).count(MISSING) == 3


def test_what_was_signed_is_kept_although_it_was_lost(known: Signed) -> None:
    log, notary = known.log, known.notary
    log.fill(12)
    leaves = [entry.leaf for entry in log.kept.values()]
    _sign(signer(log, notary))
    log.lose(3, 7)
    log.recover()
    told = _sign(signer(log, notary))
    assert told.tree().root == Tree([*leaves, log.kept[13].leaf, log.kept[14].leaf]).root(14)


def test_a_log_that_has_lost_what_was_signed_is_not_signed_on(known: Signed) -> None:
    log, notary = known.log, known.notary
    log.fill(12)
    _sign(signer(log, notary))
    before = PaperLog()
    before.fill(8)
    before.stamp = log.stamp
    with pytest.raises(Contradiction, match=r"Positions 1 to 12 are not what was signed.*--new-key"):
        asyncio.run(signer(before, notary).sign())
    before.fill(30, first=8)
    with pytest.raises(Contradiction, match="Positions 1 to 12"):
        asyncio.run(signer(before, notary, events=5).sign())
    assert signed(before) == []


def test_nobody_goes_on_from_what_another_has_signed(known: Signed) -> None:
    known.log.fill(5)
    _sign(signer(known.log, PaperNotary()))
    known.log.fill(5, first=5)
    with pytest.raises(Exception, match="none of the given keys"):
        asyncio.run(signer(known.log, known.notary).sign())


def test_a_frontier_that_is_not_what_was_signed_is_not_gone_on_from(known: Signed) -> None:
    log, notary = known.log, known.notary
    log.fill(5)
    told = _sign(signer(log, notary))
    altered = log.kept[6].body.replace(b64encode(told.frontier), b64encode(b"\0" * 64))
    log.kept[6] = log.kept[6]._replace(body=altered)
    with pytest.raises(Contradiction, match="position 6 does not say what was signed"):
        asyncio.run(signer(log, notary).sign())
