"""Which servers a conductor looks at, and when: the work costs what is due, not what is open.

An event wakes its server. Whoever was looked at and is still under way is looked at again when it is due: when a
command should have had an outcome, when a failed attempt is worth another, and in any case from time to time. So
nothing stays where it is for ever, and a backlog takes no time from those that can be brought forward.
"""

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection

from handlers.conducting.fair_queue import FairQueue
from handlers.ports import Clock

log = logging.getLogger(__name__)

MAX_AT_ONCE = 500
"""Servers being advanced at the same time."""
TICK_SECONDS = 1.0
LOOK_AGAIN_SECONDS = 60.0
"""Longest time until another look at what is under way."""
MAX_TOLD = 50
"""Projects whose share of the open servers is told."""
SMOOTHING = 0.2
"""How much of the measured rate the last second is."""

Advance = Callable[[str], Awaitable[float | None]]
"""Bring a server forward as far as it goes now. Returns the seconds until it is worth another look, None if nothing
is under way any more."""


class Attention:
    """The servers with an action under way, as far as they are known. ``load`` goes into the signs of life."""

    def __init__(self, advance: Advance, clock: Clock) -> None:
        self._advance = advance
        self._clock = clock
        self._open: dict[str, str] = {}
        """Their projects; empty where it is not known yet."""
        self._of_project: Counter[str] = Counter()
        self._queue = FairQueue()
        self._busy: dict[str, bool] = {}
        """Those being advanced now; True if they were woken again meanwhile."""
        self._due: dict[str, float] = {}
        self._by_due: list[tuple[float, str]] = []
        """A heap; an entry that ``_due`` does not confirm is void."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = 0
        """Since the last tick."""
        self._rate = 0.0
        self.load: dict[str, object] = {}

    def __len__(self) -> int:
        return len(self._open)

    async def run(self) -> None:
        """Look at what is due until cancelled."""
        try:
            while True:
                await self._clock.sleep(TICK_SECONDS)
                self._wake_due()
                self._measure()
        finally:
            for task in self._tasks:
                task.cancel()

    def open(self, server_id: str, project_id: str = "", *, urgent: bool = False) -> None:
        """Something is under way: look at it soon. ``urgent`` ones go before the others, which come in turn by
        project."""
        known = self._open.get(server_id)
        if known is None or (project_id and known != project_id):
            self._leave_project(known)
            self._open[server_id] = project_id
            self._of_project[project_id] += 1
        self.wake(server_id, urgent=urgent)

    def wake(self, server_id: str, *, urgent: bool = True) -> None:
        """Look at an open server soon."""
        if server_id in self._busy:
            self._busy[server_id] = True
        else:
            self._queue.put(server_id, self._open.get(server_id, ""), urgent=urgent)
            self._dispatch()

    def waiting(self) -> Collection[str]:
        """Those that will be looked at some time, or are looked at now: nobody knows what these have seen."""
        return [*self._due, *self._busy]

    def close(self, server_id: str) -> None:
        """Nothing is under way any more."""
        if server_id in self._open:
            self._leave_project(self._open.pop(server_id))
            self._closed += 1
        self._due.pop(server_id, None)

    def leave(self, server_id: str) -> None:
        """It only waits: it is looked at again, and is no work until then."""
        if server_id in self._open:
            self._leave_project(self._open.pop(server_id))

    def _leave_project(self, project_id: str | None) -> None:
        if project_id is not None:
            self._of_project[project_id] -= 1
            if not self._of_project[project_id]:
                del self._of_project[project_id]

    def _dispatch(self) -> None:
        while len(self._busy) < MAX_AT_ONCE and (server_id := self._queue.take()) is not None:
            self._busy[server_id] = False
            self._due.pop(server_id, None)
            task = asyncio.create_task(self._attend(server_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _attend(self, server_id: str) -> None:
        """Advance a server, again as long as it is woken meanwhile."""
        seconds: float | None = LOOK_AGAIN_SECONDS
        try:
            again = True
            while again:
                self._busy[server_id] = False
                seconds = await self._try(server_id)
                again = self._busy[server_id]
        finally:
            del self._busy[server_id]
        if seconds is None:
            self.close(server_id)
        else:
            self._look_again(server_id, min(seconds, LOOK_AGAIN_SECONDS))
        self._dispatch()

    async def _try(self, server_id: str) -> float | None:
        try:
            return await self._advance(server_id)
        except Exception:  # a bug about one server must not keep it from ever being looked at again
            log.exception("server %s cannot be advanced", server_id)
            return LOOK_AGAIN_SECONDS

    def _look_again(self, server_id: str, seconds: float) -> None:
        due = asyncio.get_running_loop().time() + seconds
        self._due[server_id] = due
        heapq.heappush(self._by_due, (due, server_id))

    def _wake_due(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._by_due and self._by_due[0][0] <= now:
            due, server_id = heapq.heappop(self._by_due)
            if self._due.get(server_id) == due:
                del self._due[server_id]
                self.wake(server_id, urgent=False)

    def _measure(self) -> None:
        if self._closed or self._open:
            self._rate += SMOOTHING * (self._closed / TICK_SECONDS - self._rate)
        self._closed = 0
        self.load |= {
            "open": len(self._open),
            "rate": round(self._rate, 1),
            "open_by_project": dict(self._of_project.most_common(MAX_TOLD)),
        }
