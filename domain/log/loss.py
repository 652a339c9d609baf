"""What a log has lost, held against its archive, in words: which positions, how many, and whether they can be put
back."""

from collections.abc import Sequence
from typing import NamedTuple

from domain.log.recovery import Missing, count, told

NOT_ARCHIVED = ("The archive has not got it.", "The archive has none of them.")
"""How the words end where nothing can be put back: of one event, and of more."""


class Loss(NamedTuple):
    """What is wrong with the log of one cell. Nothing, if all of it is empty."""

    cell: str
    end: int
    """Where the log ends."""
    gone: tuple[Missing, ...] = ()
    """Behind its end: what was there before."""
    missing: tuple[Missing, ...] = ()
    """Before its end: what no recovery speaks of."""
    altered: tuple[Missing, ...] = ()
    """Where it has something else than the archive."""
    archived: tuple[Missing, ...] = ()
    """Of what is gone or missing, what the archive has."""
    archive_end: int = 0
    """Where the archive ends."""

    def __bool__(self) -> bool:
        return bool(self.gone or self.missing or self.altered)

    @property
    def forked(self) -> bool:
        """Whether the log went on in another way than the archive: both have something where the shorter ends."""
        return bool(self.altered) and self.altered[-1].last == min(self.end, self.archive_end)

    @property
    def mendable(self) -> bool:
        """Whether something of it can be put back from the archive."""
        return bool(self.archived or self.altered) and not self.forked

    @property
    def lost(self) -> int:
        """How many events are gone or missing."""
        return count(self.gone) + count(self.missing)

    def __str__(self) -> str:
        found = []
        if self.gone:
            events = _events(self.gone, "its last event", "its last {} events")
            found.append(f"it ends at position {self.end}, and {events}, {told(self.gone)}, {_are(self.gone)} gone")
        if self.missing:
            found.append(f"it lacks {_events(self.missing, 'an event', '{} events')}: {told(self.missing)}")
        if self.altered:
            found.append(
                f"it has something else than the archive in {_events(self.altered, 'an event', '{} events')}: "
                f"{told(self.altered)}"
            )
        return f"The log of cell {self.cell} is damaged: {'; '.join(found)}.{self._of_the_archive()}"

    def _of_the_archive(self) -> str:
        there, lost = count(self.archived), self.lost
        if not lost:
            return ""
        if there == lost:
            return " The archive has it." if lost == 1 else " The archive has all of them."
        if not there:
            return f" {NOT_ARCHIVED[0] if lost == 1 else NOT_ARCHIVED[1]}"
        return f" The archive has {there} of them: {told(self.archived)}."


def cure(damage: str) -> str:
    """What the operator can do, by what a Loss, or who has come upon it, says."""
    if damage.endswith(NOT_ARCHIVED):
        return "Nothing is recorded in it until you have run: lightcurve recover"
    return (
        "Nothing is recorded in it until you have run: lightcurve log restore, "
        "or, without what the archive lacks, lightcurve recover"
    )


def _events(positions: Sequence[Missing], one: str, many: str) -> str:
    number = count(positions)
    return one if number == 1 else many.format(number)


def _are(positions: Sequence[Missing]) -> str:
    return "is" if count(positions) == 1 else "are"
