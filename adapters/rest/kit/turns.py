"""The processor of one process, fairly: who asks for more than it can do waits behind himself, not before the others.

All requests share one event loop, and the work on each is done in steps: from one wait to the next. Where more steps
are ready than a round of the loop should do, the owners come in turn, however many requests one of them has. Nobody
waits where nobody has to, so that one alone has all there is; and who has had little of late does not wait at all.
"""

import asyncio
import math
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
SHARED_ROUND_SECONDS = 0.0002
"""The same while others have requests, too: each step brings work beside it (reading, answering, what its events lead
to), so that a round takes several times as long as its steps."""
MOST = 64
"""Steps of a round, however short they are."""
WEIGHT = 0.05
"""Of the last step in what a step is believed to take."""
WINDOW_SECONDS = 0.5
LITTLE_SECONDS = 0.05
"""What an owner may have had in this window and the one before, and still goes first: of a request with six steps
each would wait for a round otherwise."""


REST = 1.0
"""While somebody is there who has had little, the others wait after a round of theirs for so many times as long as it
took: so he finds the event loop, the processors and the read database idle for as much of the time."""


class Turns:
    """The turns of the requests of one process."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """By owner, the next one in turn first."""
        self._begun = 0
        """Steps of this round of the event loop; if there are any, it ends with ``_end``."""
        self._of_round = 0
        """How many there may be in this round, once it has begun."""
        self._round_began = 0.0
        self._resting = False
        """Whether all wait but those who have had little."""
        self._seconds = ROUND_SECONDS
        """What a step takes."""
        self._modest = ("", -math.inf)
        """Who has had little and was served last, and when."""
        self._greedy = ""
        """Who has had much, and a step of this round; empty if nobody."""
        self._spent: dict[str, float] = {}
        self._spent_before: dict[str, float] = {}
        self._window_ends = 0.0

    @coroutine
    def run(self, owner: str, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """What ``work`` returns or raises, each of its steps in the owner's turn."""
        error: BaseException | None = None
        while True:
            if error is None and not self._take(owner):
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
                self._note(owner, began, perf_counter())
            error = None
            try:
                yield awaited
            except BaseException as caught:  # noqa: BLE001 - the same
                error = caught

    def _most(self) -> int:
        """How many steps a round may have now."""
        seconds = ROUND_SECONDS if self._alone() else SHARED_ROUND_SECONDS
        return min(MOST, max(1, int(seconds / self._seconds)))

    def _alone(self) -> bool:
        """Whether one owner only had anything of late."""
        return len(self._spent) <= 1 and len(self._spent_before) <= 1

    def _note(self, owner: str, began: float, ended: float) -> None:
        self._seconds += WEIGHT * (ended - began - self._seconds)
        if ended > self._window_ends:
            just_ended = ended < self._window_ends + WINDOW_SECONDS
            self._spent_before = self._spent if just_ended else {}
            self._spent = {}
            self._window_ends = ended + WINDOW_SECONDS
        self._spent[owner] = self._spent.get(owner, 0.0) + ended - began
        if not self._alone():
            if self._had_little(owner):
                self._modest = owner, ended
            else:
                self._greedy = owner

    def _had_little(self, owner: str) -> bool:
        return self._spent.get(owner, 0.0) + self._spent_before.get(owner, 0.0) < LITTLE_SECONDS

    def _take(self, owner: str) -> bool:
        """Begin a step at once, if it does not have to wait."""
        full = self._resting or self._waiting or (self._begun and self._begun >= self._of_round)
        if full and not self._had_little(owner):
            return False
        self._begin()
        return True

    def _begin(self) -> None:
        if not self._begun:
            self._begin_round()
            asyncio.get_running_loop().call_soon(self._end)
        self._begun += 1

    def _begin_round(self) -> None:
        self._of_round = self._most()
        self._round_began = perf_counter()

    def _wait(self, owner: str) -> "asyncio.Future[None]":
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        return turn

    def _end(self) -> None:
        """The round is over, with all that it brought with it in this round of the event loop."""
        greedy, self._greedy = self._greedy, ""
        self._begun = 0
        if self._resting:
            return
        if greedy:
            now = perf_counter()
            modest, seen = self._modest
            if now < seen + WINDOW_SECONDS and self._had_little(modest):
                self._resting = True
                asyncio.get_running_loop().call_later(REST * (now - self._round_began), self._rested)
                return
        if self._waiting:
            self._next()

    def _rested(self) -> None:
        self._resting = False
        if not self._begun:
            self._next()

    def _next(self) -> None:
        """Begin a round with those who wait, if there are any."""
        while self._waiting and not (self._begun and self._begun >= self._of_round):
            owner, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[owner] = turns
            if not turn.done():  # else its request was given up meanwhile
                if not self._begun:
                    self._begin_round()
                self._begun += 1
                turn.set_result(None)
        if self._begun:
            # Behind the steps themselves, so that they belong to the round.
            asyncio.get_running_loop().call_soon(self._end)
