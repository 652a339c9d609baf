"""Ending what the client does. It tries for ever, and waits in ways that lose a cancellation which comes at the
moment that they end (``asyncio.wait_for`` before Python 3.12): so it is told until it has heard."""

import asyncio
from collections.abc import Coroutine
from typing import Any

RETRY = 0.1
"""Seconds between two cancellations."""


async def ended(task: "asyncio.Future[None]") -> None:
    """Cancel a task, until it is over."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=RETRY)


async def within(timeout: float, work: Coroutine[Any, Any, None]) -> None:
    """Do some work, or give it up. Raises TimeoutError."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=timeout)
        late = not task.done()
    finally:
        await ended(task)
    if late:
        raise TimeoutError
    task.result()
