"""An event and everything the log says about it beside its body.

The vocabulary is the ``eventsourcing`` library's: an aggregate has versions 1, 2, 3, …; a
stream has positions 1, 2, 3, … (there called notification ids).
"""

from datetime import datetime
from typing import ClassVar, NamedTuple

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """The base of every event body.

    The tag is the stable type name (``server.requested``), never an import path. Fields are only
    ever added, with defaults; any other change raises ``schema_version`` and needs an upcaster.
    """

    schema_version: ClassVar[int] = 1


class Unreadable(Event, tag="unreadable", frozen=True, kw_only=True):
    """Stands for an event that this program cannot read: of a newer type or version, or damaged. It is never
    stored, and no fold takes it."""

    type_name: str
    reason: str


class AggregateId(NamedTuple):
    """Names one consistency boundary: one subject of a cell's stream."""

    kind: str
    id: str

    def __str__(self) -> str:
        return f"{self.kind}.{self.id}"


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """Who caused an event, when, and on which request. Required for every event."""

    event_id: str
    time: datetime
    request_id: str
    user_id: str | None = None
    project_id: str | None = None
    global_request_id: str | None = None
    causation_id: str | None = None


class Tail(NamedTuple):
    """Where an aggregate ends: the guard for the next append, and what its hash chain continues from."""

    version: int
    position: int
    digest: str


GENESIS = Tail(version=0, position=0, digest="0" * 64)
"""The tail of an aggregate of which nothing has been recorded."""


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it stands in the log of one cell."""

    cell: str
    aggregate: AggregateId
    version: int
    position: int
    event: Event
    meta: Metadata
    digest: str
    """SHA-256, in hex, over this event's headers and body; its successor on the subject carries it."""
    previous: str
    """The digest of its predecessor on the subject."""
    bridges: int = 0
    """The last position before this one of which it is known that its event is missing; 0 if there is none."""

    @property
    def tail(self) -> Tail:
        """The tail of the aggregate right after this event."""
        return Tail(self.version, self.position, self.digest)

    def follows(self, tail: Tail) -> bool:
        """Whether it is the direct successor of ``tail`` on its aggregate, as far as that is left."""
        if self.version == tail.version + 1 and self.previous == tail.digest:
            return True
        return self.version > tail.version and tail.position < self.bridges
