"""Reading a log as far as it goes, once."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any


async def catch_up(reading: Coroutine[Any, Any, None], ready: Awaitable[None]) -> None:
    """Let ``reading``, which never ends by itself, go on until ``ready`` does. Raises what it raises, as it is."""
    reader, waiter = asyncio.ensure_future(reading), asyncio.ensure_future(ready)
    try:
        await asyncio.wait((reader, waiter), return_when=asyncio.FIRST_COMPLETED)
        if reader.done():
            reader.result()
    finally:
        for task in (reader, waiter):
            task.cancel()
        await asyncio.wait((reader, waiter))
