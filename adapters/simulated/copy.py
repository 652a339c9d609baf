"""A guest that is being sent from one simulated host to another.

As with a real one, the host itself does that: it goes on while its agent is started anew.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

from adapters.simulated.guest import Guest
from domain.errors import HostFailed
from domain.server.moves.orders import ABORT, FORCE_COMPLETE, Order, Orders
from handlers.messages import Progress
from handlers.ports import Clock

ABORTED = "The migration was aborted."
TICK_SECONDS = 0.5
FORCED_SECONDS = 0.2
"""How long a guest stands still that is made to come to its target."""
MIB = 1024 * 1024


class Copy:
    """One attempt. ``seconds`` is how long it takes, None for ever; ``arrive`` puts the guest there, and raises
    HostFailed if that cannot be."""

    def __init__(self, clock: Clock, guest: Guest, seconds: float | None, arrive: Callable[[], None]) -> None:
        self._clock = clock
        self._guest = guest
        self._seconds = seconds
        self._arrive = arrive
        self._since = clock.now()
        self._order: Order | None = None
        self._told = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def follow(self, orders: Callable[[], Orders]) -> None:
        """Wait for its end, and have done what is wanted meanwhile. Raises HostFailed if the guest stays."""
        while not self._task.done():
            if due := orders().due(self._clock.now()):
                self._order = due
                self._told.set()
            await self._first(self._task, asyncio.create_task(self._clock.sleep(TICK_SECONDS)))
        if (failure := self._task.result()) is not None:
            raise failure

    @property
    def has_ended(self) -> bool:
        return self._task.done()

    @property
    def downtime_ms(self) -> int:
        """How long the guest stood still."""
        return int(FORCED_SECONDS * 1000) if self._order == FORCE_COMPLETE else 1

    def progress(self) -> Progress:
        """As far as it has come."""
        total = self._guest.spec.ram_mb * MIB
        sent = 0.5 if not self._seconds else self._passed(self._clock.now()) / self._seconds
        done = int(total * min(sent, 1.0))
        return Progress(memory_total=total, memory_processed=done, memory_remaining=total - done)

    def _passed(self, now: datetime) -> float:
        return (now - self._since).total_seconds()

    async def _run(self) -> HostFailed | None:
        """Until it has come to its end, however that is."""
        try:
            waits = asyncio.create_task(self._told.wait())
            if self._seconds is None:
                await waits
            else:
                await self._first(waits, asyncio.create_task(self._clock.sleep(self._seconds)))
            if self._order == FORCE_COMPLETE:
                await self._clock.sleep(FORCED_SECONDS)
            if self._order == ABORT:
                return HostFailed(ABORTED)
            self._arrive()
        except HostFailed as error:
            return error
        return None

    async def _first(self, wanted: "asyncio.Task[object]", other: "asyncio.Task[object]") -> None:
        """Wait for either; the second is of no use then, nor is the first where it is no attempt."""
        try:
            await asyncio.wait({wanted, other}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            other.cancel()
            if wanted is not self._task:
                wanted.cancel()
