"""What the operator knows of a damaged log: which events are missing for good, and that the cloud goes on without
them.

One aggregate a cell, in that cell's own log, recorded behind what is missing: whoever reads on reads it, too.
"""

from collections.abc import Iterable, Sequence

import msgspec

from domain.log.kind import Kind, unfoldable
from domain.log.record import AggregateId, Event, Metadata


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """Positions where there is no event any more, both ends included."""

    first: int
    last: int


class RecoveryDecided(Event, tag="recovery.decided", frozen=True, kw_only=True):
    """The operator knows that the log is damaged, and wants it to go on with what is left. Everything that was made
    of it (projections, snapshots, what processes remember) is made anew."""

    missing: tuple[Missing, ...]
    """All that is missing up to ``end``, also what earlier recoveries named."""
    end: int
    """Where the log ended."""
    known_end: int
    """The last position that was ever read. If it is beyond ``end``, the events in between are gone, and their
    positions are given out again."""


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What is missing of one cell's log."""

    missing: tuple[Missing, ...] = ()


def aggregate(cell: str) -> AggregateId:
    return AggregateId("recovery", cell)


def evolve(_state: Recovery | None, event: Event, _meta: Metadata) -> Recovery:
    if not isinstance(event, RecoveryDecided):
        raise unfoldable(event)
    return Recovery(missing=event.missing)


KIND = Kind("recovery", (RecoveryDecided,), evolve)


def ranges(positions: Iterable[int]) -> tuple[Missing, ...]:
    """Ascending positions as ranges."""
    found: list[Missing] = []
    for position in positions:
        if found and found[-1].last == position - 1:
            found[-1] = Missing(first=found[-1].first, last=position)
        else:
            found.append(Missing(first=position, last=position))
    return tuple(found)


def count(missing: Iterable[Missing]) -> int:
    """How many positions."""
    return sum(each.last - each.first + 1 for each in missing)


MAX_TOLD = 5


def told(missing: Sequence[Missing]) -> str:
    """The positions in words: ``positions 3, 7 to 9 and 2 more ranges``."""
    words = [str(each.first) if each.first == each.last else f"{each.first} to {each.last}" for each in missing]
    more = len(words) - MAX_TOLD
    text = ", ".join(words[:MAX_TOLD]) + (f" and {more} more ranges" if more > 0 else "")
    return f"position {text}" if text.isdecimal() else f"positions {text}"
