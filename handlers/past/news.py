"""Waiting for what comes next: for many, at the price of one."""

import asyncio

from domain.log.moment import Moment
from handlers.ports import Clock, Positions

SECONDS = 15.0
"""How long it is waited for one position at a time."""


class News:
    """Tells when a projection has read something behind a moment."""

    def __init__(self, positions: Positions, projection: str, clock: Clock) -> None:
        self._positions = positions
        self._projection = projection
        self._clock = clock
        self._waiting: dict[tuple[str, int], asyncio.Task[bool]] = {}
        """Who has seen everything waits for the same as all others who have."""

    async def after(self, moment: Moment, seconds: float) -> bool:
        """Wait until there is something behind a moment, but no longer than some seconds (and SECONDS); whether there
        is."""
        waiting = {self._next(cell, position + 1) for cell, position in moment.positions}
        timer = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            done, _ = await asyncio.wait({*waiting, timer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        return any(_reached(task) for task in waiting & done)

    def _next(self, cell: str, position: int) -> "asyncio.Task[bool]":
        key = cell, position
        task = self._waiting.get(key)
        if task is None:
            task = asyncio.create_task(self._positions.reached(self._projection, cell, position, SECONDS))
            self._waiting[key] = task
            task.add_done_callback(self._forget)
        return task

    def _forget(self, task: "asyncio.Task[bool]") -> None:
        _reached(task)
        self._waiting = {key: waiting for key, waiting in self._waiting.items() if waiting is not task}


def _reached(task: "asyncio.Task[bool]") -> bool:
    return not task.cancelled() and task.exception() is None and task.result()
