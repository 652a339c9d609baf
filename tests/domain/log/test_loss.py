import pytest

from domain.log.loss import Loss, cure
from domain.log.recovery import Missing, ranges

CELL = "cell1"


def _at(*positions: int) -> tuple[Missing, ...]:
    return ranges(positions)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (
            Loss(CELL, 7, gone=_at(8), archived=_at(8)),
            "it ends at position 7, and its last event, position 8, is gone. The archive has it.",
        ),
        (
            Loss(CELL, 7, gone=_at(8, 9), archived=_at(8, 9)),
            "it ends at position 7, and its last 2 events, positions 8 to 9, are gone. The archive has all of them.",
        ),
        (Loss(CELL, 7, missing=_at(3)), "it lacks an event: position 3. The archive has not got it."),
        (
            Loss(CELL, 7, missing=_at(3, 5), altered=_at(1), archived=_at(5)),
            (
                "it lacks 2 events: positions 3, 5; it has something else than the archive in an event: position 1. "
                "The archive has 1 of them: position 5."
            ),
        ),
        (Loss(CELL, 7, missing=_at(3, 5)), "it lacks 2 events: positions 3, 5. The archive has none of them."),
        (
            Loss(CELL, 7, altered=_at(3, 4)),
            "it has something else than the archive in 2 events: positions 3 to 4.",
        ),
    ],
)
def test_a_loss_in_words(loss: Loss, words: str) -> None:
    assert str(loss) == f"The log of cell cell1 is damaged: {words}"
    assert loss


def test_nothing_lost() -> None:
    assert not Loss(CELL, 7)


@pytest.mark.parametrize(
    ("loss", "restores"),
    [
        (Loss(CELL, 7, missing=_at(3)), False),
        (Loss(CELL, 7, missing=_at(3, 5)), False),
        (Loss(CELL, 7, missing=_at(3, 5), archived=_at(3)), True),
        (Loss(CELL, 7, altered=_at(3)), True),
    ],
)
def test_a_restore_is_advised_where_there_is_something_to_restore_from(loss: Loss, restores: bool) -> None:
    assert ("log restore" in cure(str(loss))) == restores
    assert cure(str(loss)).endswith("lightcurve recover")
