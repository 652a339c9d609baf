"""Read-your-writes, paid by who reads: an answer waits until its events are in the log, a question for the own ones.

So many writes of few clients are under way together, and go to the read database together: had each answer to wait
for it, eight clients could never have more than eight there. Who writes and does not read waits only where the
projection falls too far behind.
"""

import logging
from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)

AHEAD = 1_000
"""Positions of a cell's log by which an answer may be ahead of the projection: some 300 new servers."""
_MANY = 1_000

Reached = Callable[[str, int], Awaitable[bool]]
"""Waits, but not for ever, until the projection has a cell's position; False if it has not come to it."""


class OwnWrites:
    """What was answered and may not be readable yet: the newest position of each owner in each cell."""

    def __init__(self, reached: Reached, owner: Callable[[], str], sees_all: Callable[[], bool]) -> None:
        """``owner`` tells for whom the task at work writes or asks, ``sees_all`` whether it sees others' things."""
        self._reached = reached
        self._owner = owner
        self._sees_all = sees_all
        self._newest: dict[tuple[str, str], int] = {}
        """By owner and cell."""

    async def wrote(self, cell: str, position: int) -> None:
        """The task's owner has written up to a position; returns once the projection is near."""
        place = self._owner(), cell
        self._newest[place] = max(position, self._newest.get(place, 0))
        await self._wait(cell, position - AHEAD)
        if len(self._newest) > _MANY:
            self._forget(cell, position - AHEAD)

    def unread(self) -> Awaitable[None] | None:
        """What the task at work has to wait for before it asks; None: it may ask at once."""
        if not self._newest:
            return None
        owner = None if self._sees_all() else self._owner()
        newest: dict[str, int] = {}
        for (writer, cell), position in self._newest.items():
            if owner is None or writer == owner:
                newest[cell] = max(position, newest.get(cell, 0))
        return self._read(newest) if newest else None

    async def _read(self, newest: dict[str, int]) -> None:
        for cell, position in newest.items():
            if await self._wait(cell, position):
                self._forget(cell, position)

    async def _wait(self, cell: str, position: int) -> bool:
        read = position <= 0 or await self._reached(cell, position)
        if not read:
            _log.warning("position %d of %s cannot be read in time", position, cell)
        return read

    def _forget(self, cell: str, position: int) -> None:
        """All up to a position is readable."""
        for place in [place for place, newest in self._newest.items() if place[1] == cell and newest <= position]:
            del self._newest[place]
