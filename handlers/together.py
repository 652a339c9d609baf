"""Several things at once, without losing what is said to the one who waits."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


async def together(*work: Awaitable[Any]) -> list[Any]:
    """What all return, in order; raises what the first raises.

    As ``asyncio.gather``, but who is cancelled hears of it: where one of them has just failed, ``gather`` raises that
    instead, and a loop that tries again after a failure would never end. One alone needs no task of its own.
    """
    if len(work) == 1:
        return [await work[0]]
    try:
        return await asyncio.gather(*work)
    except Exception:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from None
        raise


async def outcomes(*work: Awaitable[T]) -> list[T | BaseException]:
    """What each has come to, in order: what it returned, or what it raised. Who is cancelled hears of it."""
    if len(work) == 1:
        try:
            return [await work[0]]
        except Exception as error:  # noqa: BLE001 - the caller's to judge
            return [error]
    return await asyncio.gather(*work, return_exceptions=True)
