"""The commands on a cell's ledger that come from outside: each is one decision, in one event, answered when every
process that may be asked next knows of it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from msgspec.structs import replace

from domain.placement.ledger import Ledger, LedgerChange
from handlers.context import Context
from handlers.log.ledger_feed import LedgerFeed

Settle = Callable[[int], Awaitable[None]]
"""Wait (within a bound) until the other processes that answer have read a position of the cell."""


class Placement:
    """Reads and writes the ledger for its API."""

    def __init__(self, feed: LedgerFeed, settle: Settle, max_candidates: int | None = None) -> None:
        """``max_candidates`` is how many candidates the operator lets anybody have at once; None is no maximum."""
        self.max_candidates = max_candidates
        self._feed = feed
        self._settle = settle

    @property
    def state(self) -> Ledger:
        """The ledger with changes that are about to be recorded: right for a suggestion, such as candidates."""
        return self._feed.writer.state

    @asynccontextmanager
    async def recorded(self) -> AsyncIterator[Ledger]:
        """The ledger with exactly what is in the log, as long as the context lasts; nothing may be awaited in it."""
        async with self._feed.writer.settled() as state:
            yield state

    async def refreshed(self) -> Ledger:
        """The ledger, certainly as new as this call. Raises Unavailable."""
        return await self._feed.writer.refresh()

    async def write(
        self, context: Context, decide: Callable[[Ledger], Sequence[LedgerChange]]
    ) -> tuple[LedgerChange, ...]:
        """Record what ``decide`` decides on the present ledger; it may be called several times.

        Returns the changes, none if there was nothing to do. Raises what ``decide`` refuses, and Unavailable.
        """

        def attributed(state: Ledger) -> list[LedgerChange]:
            return [replace(change, request_id=context.request_id) for change in decide(state)]

        changes, position = await self._feed.writer.submit(context, attributed)
        if position:
            self._feed.tell()
            await self._settle(position)
        return changes  # type: ignore[return-value]
