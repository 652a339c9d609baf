"""Several things at once."""

import asyncio

import pytest

from domain.errors import Unavailable
from handlers.together import together
from tests.aio import asynchronous


async def fail(begun: asyncio.Event) -> None:
    await begun.wait()
    raise Unavailable("the weather is bad")


@asynchronous
async def test_returns_all_in_order_and_raises_the_first_failure() -> None:
    assert await together(asyncio.sleep(0, "a"), asyncio.sleep(0, "b")) == ["a", "b"]
    begun = asyncio.Event()
    begun.set()
    with pytest.raises(Unavailable):
        await together(asyncio.sleep(0), fail(begun))


@asynchronous
async def test_who_is_cancelled_just_as_one_has_failed_is_cancelled() -> None:
    begun, tries = asyncio.Event(), 0

    async def try_again_and_again() -> None:
        nonlocal tries
        while True:
            tries += 1
            try:
                await together(fail(begun), asyncio.sleep(3600))
            except Unavailable:
                await asyncio.sleep(3600)

    trying = asyncio.create_task(try_again_and_again())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    begun.set()
    await asyncio.sleep(0)  # now it has failed, and nobody has been told yet
    trying.cancel()
    await asyncio.wait({trying}, timeout=5)
    assert trying.cancelled()
    assert tries == 1
