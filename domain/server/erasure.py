"""What was sealed for a server is to be unreadable for ever: its key, which lies outside the log, is destroyed.

An aggregate of its own in the cell's log: the server's history has ended by then.
"""

import msgspec

from domain.log.kind import Kind, unfoldable
from domain.log.record import AggregateId, Event, Metadata


class ErasureDecided(Event, tag="erasure.decided", frozen=True, kw_only=True):
    """The key of what was sealed for a deleted server is destroyed, as soon as this is recorded. Its events stay as
    they are; nobody can read any more what they have sealed."""

    server_id: str


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """That of one server, which is decided."""


def aggregate(server_id: str) -> AggregateId:
    return AggregateId("erasure", server_id)


def decide(erasure: Erasure | None, server_id: str) -> ErasureDecided | None:
    """None if it is decided."""
    return None if erasure else ErasureDecided(server_id=server_id)


def evolve(_state: Erasure | None, event: Event, _meta: Metadata) -> Erasure:
    if not isinstance(event, ErasureDecided):
        raise unfoldable(event)
    return Erasure()


KIND = Kind("erasure", (ErasureDecided,), evolve)
