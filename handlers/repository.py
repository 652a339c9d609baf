"""Load, decide, append; and again, if somebody was quicker."""

from collections.abc import Callable
from typing import Generic, TypeVar

from domain.errors import Stale
from domain.kind import Kind, fold
from domain.record import GENESIS, AggregateId, Event, Recorded, Tail
from handlers.context import Context, Stamp
from handlers.disorder import out_of_order
from handlers.ports import EventStore

S = TypeVar("S")

MAX_CONFLICTS = 20
"""How often one command is decided again before its caller is told that too many want the same."""

NEVER_WAS: tuple[None, Tail] = (None, GENESIS)
"""What is known of an aggregate that is about to be founded."""


class Repository(Generic[S]):
    """The aggregates of one kind in one cell."""

    def __init__(self, kind: Kind[S], store: EventStore, stamp: Stamp) -> None:
        self._kind = kind
        self._store = store
        self._stamp = stamp

    async def load(self, aggregate: AggregateId) -> tuple[S | None, Tail]:
        """The present state, and where it ends; (None, GENESIS) if nothing ever happened. Raises Unavailable, and
        OutOfOrder for a history that cannot be read or folded."""
        history = await self._store.load(aggregate)
        try:
            return fold(self._kind, history), history[-1].tail if history else GENESIS
        except Exception as error:
            raise out_of_order(aggregate, error) from error

    async def execute(
        self,
        context: Context,
        aggregate: AggregateId,
        decide: Callable[[S | None], Event | None],
        known: tuple[S | None, Tail] | None = None,
    ) -> tuple[S | None, Recorded | None]:
        """Append what ``decide`` decides on the present state; nothing if it returns None.

        ``known`` is a state that may be stale: it saves the loading, and the log's guard finds out if it was.
        Returns the state after, and the event. Raises what ``decide`` raises; Stale after MAX_CONFLICTS.
        """
        state, tail = known or await self.load(aggregate)
        meta = self._stamp(context)
        for _ in range(MAX_CONFLICTS):
            event = decide(state)
            if event is None:
                return state, None
            try:
                recorded = await self._store.append(aggregate, event, meta, tail)
            except Stale:
                state, tail = await self.load(aggregate)
                continue
            return self._kind.evolve(state, event, meta), recorded
        raise Stale(f"Too many changes of {aggregate} at once.")
