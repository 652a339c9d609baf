"""An event loop in a thread of its own, for callers that are synchronous."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from domain.errors import Unavailable

T = TypeVar("T")


class LoopThread:
    """Runs coroutines for other threads until it is closed; then nobody waits any longer."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin ``work``; the future's ``cancel`` cancels it. Raises Unavailable once it is closed."""
        with self._lock:
            if self._closed:
                work.close()
                raise Unavailable("It is closed.")
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` and wait for it. Raises what it raises, and Unavailable if it is closed meanwhile."""
        try:
            return self.start(work).result()
        except CancelledError:
            raise Unavailable("It was closed.") from None

    def close(self, last: Coroutine[Any, Any, None] | None = None) -> None:
        """Cancel everything, do ``last``, and end the thread."""
        with self._lock:
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(last), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self, last: Coroutine[Any, Any, None] | None) -> None:
        if last is not None:
            await last
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
