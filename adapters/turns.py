"""Turns on a guest, and the changes in between that nobody here asked for, each told once.

What a hypervisor's event says is only that something happened; what is told is how the guest then is. While an
operation of ours is under way on a guest its changes are not told: the operation's answer tells how it ended, and
at its end the guest is looked at once more.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from domain.errors import HostFailed
from domain.guest import GuestState


class Turns:
    """One operation at a time on a guest, and the changes in between."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._told: dict[str, GuestState] = {}
        self._queues: set[asyncio.Queue[str | None]] = set()

    @asynccontextmanager
    async def turn(self, server_id: str) -> AsyncIterator[None]:
        """Have the guest for oneself."""
        lock = self._locks.setdefault(server_id, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            self.changed(server_id)

    def tell(self, state: GuestState) -> GuestState:
        """Note what an operation answers, so that it is not told again as news."""
        self._told[state.server_id] = state
        return state

    def forget(self, server_id: str) -> None:
        """The guest is gone."""
        self._told.pop(server_id, None)

    def changed(self, server_id: str | None) -> None:
        """Something happened to a guest; None: nothing more will be heard."""
        for queue in self._queues:
            queue.put_nowait(server_id)

    async def changes(self, look: Callable[[str], Awaitable[GuestState | None]]) -> AsyncIterator[GuestState]:
        """Every state that was not told before, as ``look`` finds it. Raises HostFailed when no more is heard."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._queues.add(queue)
        # What happened while nobody watched.
        for known in self._told:
            queue.put_nowait(known)
        try:
            while True:
                server_id = await queue.get()
                if server_id is None:
                    raise HostFailed("The connection to the hypervisor was lost.")
                lock = self._locks.setdefault(server_id, asyncio.Lock())
                if lock.locked():
                    continue
                async with lock:
                    state = await look(server_id)
                if state is None:
                    self.forget(server_id)
                elif self._told.get(server_id) != state:
                    yield self.tell(state)
        finally:
            self._queues.discard(queue)
