"""Events that an operator has given up: projections pass over them, now and whenever they are built anew.

Kept in the API cell. The event that is given up stays in its log, and in the state of its aggregate.
"""

import msgspec

from domain.errors import Invalid
from domain.log.kind import Kind, unfoldable
from domain.log.record import AggregateId, Event, Metadata, Recorded

MAX_REASON = 255


class EventSkipped(Event, tag="skip.decided", frozen=True, kw_only=True):
    """An event that the read database cannot take in is given up by the projections in which it is parked."""

    cell: str
    position: int
    reason: str
    event_id: str = ""
    """Of the event that stands there: after the loss of a log's end its position may be given to another."""


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is given up."""

    cell: str
    position: int
    reason: str
    event_id: str


def aggregate(cell: str, position: int) -> AggregateId:
    return AggregateId("skip", f"{cell}.{position}")


def decide(skip: Skip | None, skipped: Recorded, reason: str) -> EventSkipped | None:
    """Give an event up; None if it is. Raises Invalid for a reason that says nothing, or too much."""
    if not reason.strip() or len(reason) > MAX_REASON or not reason.isprintable():
        raise Invalid(f"The reason has to be 1 to {MAX_REASON} printable characters.")
    event_id = skipped.meta.event_id
    if skip and skip.event_id == event_id:
        return None
    return EventSkipped(cell=skipped.cell, position=skipped.position, reason=reason, event_id=event_id)


def evolve(_state: Skip | None, event: Event, _meta: Metadata) -> Skip:
    if not isinstance(event, EventSkipped):
        raise unfoldable(event)
    return Skip(cell=event.cell, position=event.position, reason=event.reason, event_id=event.event_id)


KIND = Kind("skip", (EventSkipped,), evolve)
