"""An event loop whose time is virtual: when nobody has anything to do, it jumps to the next timer."""

import asyncio
import selectors
from collections import Counter
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar
from uuid import UUID

T = TypeVar("T")

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
MOST_WAITING = 10
"""Lines that an error names."""


LONGEST = 7 * 24 * 3600.0
"""Seconds that a simulation may last. One that waits for what never comes would be kept going by signs of life; and
from 2 ** 24 seconds on asyncio's clock (1e-9 s) is finer than a float: a timer that is due is never called."""
GRACE = 3600.0
"""Seconds for what is cancelled then to end in order."""


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting, moves the loop's time."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError(f"nothing will ever happen again: the simulation is deadlocked; {self.loop.waiting()}")
        self.loop.passed += max(0.0, timeout)
        if self.loop.passed > self.loop.end:
            words = f"the simulation has not ended in {self.loop.end:.0f} seconds; {self.loop.waiting()}"
            self.loop.end = self.loop.passed + GRACE
            raise RuntimeError(words)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """``time()`` is the seconds that have passed in the simulation."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.end = LONGEST
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.passed

    def waiting(self) -> str:
        """What is awaited, in words: each line at which some task stands, the most frequent first."""
        lines = Counter(_stands_at(task) for task in asyncio.all_tasks(self))
        return "waiting: " + ", ".join(f"{line} ({count})" for line, count in lines.most_common(MOST_WAITING))


def _stands_at(task: "asyncio.Task[Any]") -> str:
    """The innermost line of ours at which a task waits."""
    at, awaited = "somewhere", task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
        if frame and Path(frame.f_code.co_filename).is_relative_to(ROOT):
            at = f"{Path(frame.f_code.co_filename).relative_to(ROOT)}:{frame.f_lineno}"
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
    return at


class VirtualClock:
    """The Clock port on the loop's time."""

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SeededIds:
    """The Ids port, from a seed."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def uuid(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on a fresh virtual loop; everything left over is cancelled."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
