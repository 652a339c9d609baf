"""What every kind of aggregate has: its events, and how they fold into a state."""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from domain.record import Event, Metadata, Recorded

S = TypeVar("S")


class Kind(NamedTuple, Generic[S]):
    """A kind of aggregate. ``evolve`` is total over ``events`` and pure."""

    name: str
    events: tuple[type[Event], ...]
    evolve: Callable[[S | None, Event, Metadata], S]


def fold(kind: Kind[S], history: list[Recorded], state: S | None = None) -> S | None:
    """The state after ``history``; None if nothing ever happened."""
    for recorded in history:
        state = kind.evolve(state, recorded.event, recorded.meta)
    return state
