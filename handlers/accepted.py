"""What a command has come to."""

from typing import NamedTuple

from domain.log.record import AggregateId, Recorded


class Accepted(NamedTuple):
    """Where the event stands that a command has led to: whoever answers waits for that cell's readers to pass it."""

    cell: str
    aggregate: AggregateId
    position: int
    """0: nothing had to be changed."""


def accepted(cell: str, aggregate: AggregateId, recorded: Recorded | None) -> Accepted:
    return Accepted(cell, aggregate, recorded.position if recorded else 0)
