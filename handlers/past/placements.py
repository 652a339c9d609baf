"""Placement as it was."""

import asyncio
from collections.abc import Callable

from domain.errors import Bug
from domain.log.moment import Moment
from handlers.past import NotRead
from handlers.past.ledgers import PastLedgers
from handlers.past.moments import Moments
from handlers.placement import Placement


class PastPlacements:
    """Reads a cell's ledger for its API, as of any moment."""

    def __init__(self, moments: Moments, ledgers: PastLedgers, cell: str, max_candidates: int | None) -> None:
        self._moments = moments
        self._ledgers = ledgers
        self._cell = cell
        self._max_candidates = max_candidates
        self._reading = asyncio.Lock()
        """Who asks the past takes no more of the processor than one."""

    async def find(self, asked: str) -> Moment:
        """The moment that is meant. Raises Invalid and Unavailable."""
        return await self._moments.find(asked)

    async def at(self, moment: Moment) -> Callable[[], Placement]:
        """What Placement was then. Raises Unavailable."""
        async with self._reading:
            feed = await self._ledgers.at(moment[self._cell])
        placement = Placement(feed, _nobody_waits, self._max_candidates)
        return lambda: placement

    async def read(self, missing: NotRead) -> None:
        """Raises Bug: there is nothing left to read."""
        raise Bug("A ledger was read, and something of it was not.") from missing


async def _nobody_waits(_position: int) -> None:
    return
