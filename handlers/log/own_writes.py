"""Read-your-writes, paid by who reads: an answer waits until its events are in the log, a question for the own ones.

So many writes of few clients are under way together, and go to the read database together: had each answer to wait
for it, eight clients could never have more than eight there. Who writes and does not read waits only where the
projection falls too far behind.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable

_log = logging.getLogger(__name__)

AHEAD = 1_000
"""Positions of a cell's log by which an answer may be ahead of the projection: some 300 new servers."""
_MANY = 4 * AHEAD

Reached = Callable[[str, int], Awaitable[bool]]
"""Waits, but not for ever, until the projection has a cell's position; False if it has not come to it."""


class OwnWrites:
    """What was answered and may not be readable yet: the newest position in each cell, of all, of each owner and
    about each thing that was written."""

    def __init__(self, reached: Reached, owner: Callable[[], str], sees_all: Callable[[], bool]) -> None:
        """``owner`` tells for whom the task at work writes or asks, ``sees_all`` whether it sees others' things."""
        self._reached = reached
        self._owner = owner
        self._sees_all = sees_all
        self._of_all: dict[str, int] = {}
        """By cell."""
        self._of: dict[str, dict[str, int]] = {}
        """By owner, or by what was written; then by cell."""
        self._readable: dict[str, int] = {}
        """What was waited for with success, by cell."""
        self._of_any: dict[str, int] = {}
        """By cell, what every question waits for: of whom it was, or about what, is not remembered."""

    async def wrote(self, cell: str, position: int, about: Iterable[str] = ()) -> None:
        """The task's owner has written up to a position, about the things of these ids; returns once the projection
        is near."""
        _note(self._of_all, cell, position)
        for name in (self._owner(), *about):
            _note(self._of.setdefault(name, {}), cell, position)
        await self._wait(cell, position - AHEAD)
        if len(self._of) > _MANY:
            self._forget()

    def unread(self, about: tuple[str, ...] | None) -> Awaitable[None] | None:
        """What the task at work has to wait for before it asks about the things of these ids or owners, or about
        whatever it may see; None: it may ask at once."""
        if about is None and self._sees_all():
            newest = self._of_all
        else:
            newest = dict(self._of_any)
            for name in (self._owner(),) if about is None else about:
                for cell, position in self._of.get(name, {}).items():
                    _note(newest, cell, position)
        waits = {cell: position for cell, position in newest.items() if position > self._readable.get(cell, 0)}
        return self._read(waits) if waits else None

    async def _read(self, newest: dict[str, int]) -> None:
        for cell, position in newest.items():
            await self._wait(cell, position)

    async def _wait(self, cell: str, position: int) -> None:
        if position <= self._readable.get(cell, 0):
            return
        if await self._reached(cell, position):
            _note(self._readable, cell, position)
        else:
            _log.warning("position %d of %s cannot be read in time", position, cell)

    def _forget(self) -> None:
        """All that is readable; and where the projection stands still, who wrote what."""
        for name, newest in list(self._of.items()):
            if all(position <= self._readable.get(cell, 0) for cell, position in newest.items()):
                del self._of[name]
        if len(self._of) > _MANY:
            self._of_any = dict(self._of_all)
            self._of.clear()


def _note(newest: dict[str, int], cell: str, position: int) -> None:
    newest[cell] = max(position, newest.get(cell, 0))
