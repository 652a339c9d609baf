"""Asynchronous tests without a plugin."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` on an event loop of its own."""
    return asyncio.run(_to_the_end(work))


async def _to_the_end(work: Coroutine[Any, Any, T]) -> T:
    try:
        return await work
    finally:
        # What was closed last is closed in the loop's next rounds: both ends of a connection, one after the other.
        for _ in range(5):
            await asyncio.sleep(0)


def asynchronous(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Let an ``async def`` test, with its fixtures, run on an event loop of its own."""

    @functools.wraps(test)
    def call(*args: Any, **kwargs: Any) -> None:
        run(test(*args, **kwargs))

    return call
