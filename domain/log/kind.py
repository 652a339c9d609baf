"""What every kind of aggregate has: its events, and how they fold into a state."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec.structs import replace

from domain.errors import Bug
from domain.log.record import Event, Metadata, Recorded, Unreadable

S = TypeVar("S")

EVERY = "every"
"""The list of all that there is of a kind."""


def of_project(project_id: str) -> str:
    """The list of what belongs to a project."""
    return f"project {project_id}"


def in_every(_state: Any) -> tuple[str, ...]:
    """The lists of a state of whose kind there is only the one."""
    return (EVERY,)


class Snapshots(NamedTuple, Generic[S]):
    """How states of a kind are kept as JSON, so that a long history need not be read from its beginning."""

    state: type[S]
    version: int
    """Of what the fold makes of events; raised when it changes. One of another version is not looked at."""
    weigh: Callable[[S], int]
    """About how many bytes a state takes in memory. Costs little."""


class Batching(NamedTuple):
    """How many decisions on an aggregate become one event."""

    envelope: Callable[[tuple[Any, ...]], Event]
    """The event that holds several changes."""
    initial: Callable[[], Any] | None = None
    """Its state before any event; None if it must be founded first."""


class Kind(NamedTuple, Generic[S]):
    """A kind of aggregate. ``evolve`` is pure, total over ``events``, and raises for any other event: what it passed
    over in silence would be missing in every state after it."""

    name: str
    events: tuple[type[Event], ...]
    evolve: Callable[[S | None, Event, Metadata], S]
    lists: Callable[[S], tuple[str, ...]] = in_every
    """The names of the lists that a state stands in, such as that of its project; none once it is gone. Whoever
    holds many in memory finds by them what belongs to one without a look at all the others."""
    snapshots: Snapshots[S] | None = None
    """For kinds of which one can have a long history that is not held in memory anyway."""
    batching: Batching | None = None
    """For kinds of which many want to change the same one."""


class Unfoldable(Bug):
    """An event that a fold does not know."""


def unfoldable(event: Event) -> Unfoldable:
    """The error for an event of another kind, or of a type that is forgotten in the fold."""
    if isinstance(event, Unreadable):
        return Unfoldable(f"{event.type_name} cannot be read: {event.reason}")
    return Unfoldable(f"{event.__struct_config__.tag} cannot be folded here.")


def fold(kind: Kind[S], history: list[Recorded], state: S | None = None) -> S | None:
    """The state after ``history``; None if nothing ever happened."""
    for recorded in history:
        state = advance(kind, state, recorded)
    return state


def advance(kind: Kind[S], state: S | None, recorded: Recorded) -> S | None:
    """The state after an event. Behind a hole of which the operator knows, what presupposes an event that is missing
    is passed over: of an event that holds several changes, only those that cannot be made."""
    event, meta = recorded.event, recorded.meta
    try:
        return kind.evolve(state, event, meta)
    except Exception:
        if not recorded.bridges:
            raise
    for change in getattr(event, "changes", ()):
        with suppress(Exception):
            state = kind.evolve(state, replace(event, changes=(change,)), meta)
    return state
