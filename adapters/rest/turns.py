"""The processor of one process, fairly: who asks for more than it can do waits behind himself, not before the others.

All requests share one event loop, and the work on each is done in steps: from one wait to the next. Where more steps
are ready than a round of the loop should do, the owners come in turn, however many requests one of them has. Nobody
waits where nobody has to, so that one alone has all there is.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Coroutine, Generator
from time import perf_counter
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")

ROUND_SECONDS = 0.002
"""What the steps of one round may take together, as far as is known: so long, about, who comes new waits.
What many do in one round goes to the log in one batch: with a step a round, 32 clients would make half as many
servers."""
MOST = 64
"""Steps of a round, however short they are."""
WEIGHT = 0.05
"""Of the last step in what a step is believed to take."""


class Turns:
    """Of the requests of one process."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """By owner, the next one in turn first."""
        self._begun = 0
        """Steps of this round of the event loop; if there are any, the next round begins with ``_next``."""
        self._seconds = ROUND_SECONDS
        """What a step takes."""

    @coroutine
    def run(self, owner: str, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """What ``work`` returns or raises, each of its steps in the owner's turn."""
        error: BaseException | None = None
        while True:
            if error is None and not self._take():
                try:
                    yield from self._wait(owner)
                except BaseException as caught:  # noqa: BLE001 - the work's to answer, as if it had waited itself
                    error = caught
            began = perf_counter()
            try:
                awaited = work.send(None) if error is None else work.throw(error)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                self._seconds += WEIGHT * (perf_counter() - began - self._seconds)
            error = None
            try:
                yield awaited
            except BaseException as caught:  # noqa: BLE001 - the same
                error = caught

    def _room(self) -> int:
        """How many more steps this round may have."""
        return min(MOST, max(1, int(ROUND_SECONDS / self._seconds))) - self._begun

    def _take(self) -> bool:
        """Begin a step at once, if nobody has to wait."""
        if self._waiting or self._room() <= 0:
            return False
        self._begin()
        return True

    def _begin(self) -> None:
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._next)
        self._begun += 1

    def _wait(self, owner: str) -> "asyncio.Future[None]":
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        return turn

    def _next(self) -> None:
        self._begun = 0
        while self._waiting and self._room() > 0:
            owner, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[owner] = turns
            if not turn.done():  # else its request was given up meanwhile
                turn.set_result(None)
                self._begin()
