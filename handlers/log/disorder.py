"""What is out of order in this process: aggregates whose history it cannot read or fold. It serves all others."""

import logging

from domain.errors import LightcurveError, OutOfOrder
from domain.log.record import AggregateId

log = logging.getLogger(__name__)

MAX_TOLD = 20
"""Aggregates named in the signs of life; of the others only the number."""
FACT = "out_of_order"
"""The name of the fact in the signs of life: a list of sentences."""


def out_of_order(aggregate: AggregateId, error: Exception) -> OutOfOrder:
    """The error for those who need the aggregate, after ``error`` in reading or folding it."""
    if isinstance(error, OutOfOrder):
        return error
    reason = error.message if isinstance(error, LightcurveError) else f"{type(error).__name__}: {error}"
    return OutOfOrder(f"The history of {aggregate} is out of order, and nothing is decided on it: {reason}")


class Disorder:
    """Remembers what was found, each once; ``facts`` go into the process's signs of life."""

    def __init__(self) -> None:
        self.facts: dict[str, object] = {}
        self._found: dict[AggregateId, OutOfOrder] = {}

    def note(self, aggregate: AggregateId, error: Exception) -> OutOfOrder:
        """An aggregate cannot be read or folded; returns the error for those who need it."""
        known = self._found.get(aggregate)
        if known is None:
            known = self._found[aggregate] = out_of_order(aggregate, error)
            log.error("%s", known.message, exc_info=error)
            told = [found.message for found in list(self._found.values())[:MAX_TOLD]]
            more = len(self._found) - len(told)
            self.facts[FACT] = [*told, f"{more} more are in the log."] if more else told
        return known

    def of(self, aggregate: AggregateId) -> OutOfOrder | None:
        """Why an aggregate is out of order, if it is."""
        return self._found.get(aggregate)
