"""Waiting for a condition instead of for time to pass."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_POLL, _SLOW_POLL = 0.01, 0.1


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


def wait_until(condition: Callable[[], T], seconds: float, what: str = "") -> T:
    """For tests without an event loop, whose conditions cost something: the first true value of ``condition()``.

    Raises AssertionError after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain until {what or inspect.getsource(condition).strip()}")
        time.sleep(_SLOW_POLL)
    return value
