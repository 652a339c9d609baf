"""Waiting for a condition instead of for time to pass."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

_POLL = 0.01


async def until(condition: Callable[[], object | Awaitable[object]], timeout: float = 10.0) -> None:
    """Return once ``condition()`` holds; raises AssertionError after ``timeout`` seconds."""
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        holds = condition()
        if inspect.isawaitable(holds):
            holds = await holds
        if holds:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"waited {timeout} s in vain for {inspect.getsource(condition).strip()}")
        await asyncio.sleep(_POLL)
