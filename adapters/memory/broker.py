"""What several processes share when the log is in memory: NATS's part, on somebody else's clock.

Nothing here reads a wall clock or draws a random number: the same calls in the same order do the same.
"""

import asyncio
import contextvars
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, Protocol, TypeVar

from adapters.mapper import Envelope
from domain.log.record import AggregateId
from handlers.ports import Beat, Clock, Snapshot

T = TypeVar("T")

ACK_WAIT = 10.0
"""Seconds after which a command that nobody calls done is delivered again."""
DUPLICATE_WINDOW = 120.0
"""Seconds in which a command id is stored once."""


class Faults(Protocol):
    """What may go wrong. Operations are ``append``, ``load``, ``follow``, ``last_position``, ``save_snapshot``,
    ``load_snapshot``, ``send``, ``command``, ``report``, ``ask``, ``beat``, ``announce``, ``reached``, ``seal``,
    ``unseal``, ``destroy`` and ``owners``."""

    async def before(self, operation: str) -> None:
        """Awaited before the effect; may raise Unavailable (nothing happened) or take its time."""
        ...

    async def after(self, operation: str) -> None:
        """Awaited after the effect; may raise Unavailable (it happened, but the answer is lost)."""
        ...

    def copies(self, operation: str) -> int:
        """How often a ``command``, ``report``, ``beat`` or ``announce`` arrives: 0 loses it, 2 repeats it."""
        ...


class NoFaults:
    """Everything goes well."""

    async def before(self, operation: str) -> None:
        pass

    async def after(self, operation: str) -> None:
        pass

    def copies(self, operation: str) -> int:
        return 1


class Signal:
    """Wakes everybody who waits at the moment it is given."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def give(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self) -> None:
        """Wait for the next time."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future


class Entry(NamedTuple):
    """An event as the log keeps it."""

    aggregate: AggregateId
    envelope: Envelope


class Command:
    """A command in a host's queue, or in somebody's hands."""

    def __init__(self, host: str, number: int, body: bytes) -> None:
        self.host = host
        self.number = number
        self.deliveries = 0
        self.body = body
        self.deadline: asyncio.Task[None] | None = None


class Responder:
    """A process that answers: its requests run as its own tasks, and end with it."""

    def __init__(self, handle: Callable[[str, bytes], Awaitable[bytes]]) -> None:
        self._handle = handle
        self._context = contextvars.copy_context()
        self._tasks: set[asyncio.Task[bytes]] = set()

    def start(self, host: str, body: bytes) -> asyncio.Task[bytes]:
        """Begin to handle one request."""
        task: asyncio.Task[bytes] = asyncio.get_running_loop().create_task(
            self._run(host, body), context=self._context.copy()
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, host: str, body: bytes) -> bytes:
        return await self._handle(host, body)

    def end(self) -> None:
        """The process is gone."""
        for task in list(self._tasks):
            task.cancel()


class Cell:
    """Everything of one cell."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        """Position ``n`` is entry ``n - 1``."""
        self.positions: dict[AggregateId, list[int]] = {}
        self.event_ids: set[str] = set()
        self.appended = Signal()
        self.snapshots: dict[AggregateId, Snapshot] = {}
        self.queues: dict[str, deque[Command]] = {}
        self.sent: dict[str, float] = {}
        """When each command id was sent."""
        self.queued = Signal()
        self.conductors: list[Responder] = []
        self.hosts: dict[str, Responder] = {}
        self.turn = itertools.count()
        self.conductor_came = Signal()
        self.beats: dict[str, tuple[int, Beat]] = {}
        self.beaten = Signal()
        self.reached: dict[str, int] = {}
        self.announced = Signal()
        self.keys: dict[str, bytes] = {}


class Broker:
    """What the processes share. ``close`` it at the end: it has timers of its own."""

    def __init__(self, clock: Clock, *, ack_wait: float = ACK_WAIT) -> None:
        self.clock = clock
        self.ack_wait = ack_wait
        self._cells: dict[str, Cell] = {}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def cell(self, name: str) -> Cell:
        """The cell of that name; it is there as soon as somebody asks for it."""
        return self._cells.setdefault(name, Cell())

    def number(self) -> int:
        """A number that was never given before."""
        return next(self._numbers)

    def now(self) -> float:
        """Seconds since the epoch, by the clock given."""
        return self.clock.now().timestamp()

    def later(self, seconds: float, act: Callable[[], None]) -> asyncio.Task[None]:
        """Have ``act`` called after a while, whatever becomes of the caller; cancel the task to prevent it."""

        async def run() -> None:
            await self.clock.sleep(seconds)
            act()

        task = asyncio.get_running_loop().create_task(run(), context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def within(self, seconds: float, work: Coroutine[Any, Any, T] | asyncio.Task[T]) -> T:
        """The result of ``work``; raises TimeoutError if the clock says it took too long."""
        loop = asyncio.get_running_loop()
        task = work if isinstance(work, asyncio.Task) else loop.create_task(work)
        timer = loop.create_task(self.clock.sleep(seconds))
        try:
            await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise TimeoutError
        finally:
            timer.cancel()
            if not isinstance(work, asyncio.Task):
                task.cancel()

    async def close(self) -> None:
        """End the timers."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
