"""What is read once ends with what it has read, and fails as what reads it does."""

import asyncio

import pytest

from domain.errors import Unavailable
from handlers.log.catching_up import catch_up
from tests.aio import asynchronous


class Reader:
    def __init__(self, error: Exception | None = None) -> None:
        self.ready = asyncio.Event()
        self.ended = False
        self._error = error

    async def run(self) -> None:
        try:
            if self._error:
                raise self._error
            self.ready.set()
            await asyncio.Event().wait()
        finally:
            self.ended = True

    async def wait(self) -> None:
        await self.ready.wait()


@asynchronous
async def test_it_ends_when_all_is_read() -> None:
    reader = Reader()
    await catch_up(reader.run(), reader.wait())
    assert reader.ended


@asynchronous
async def test_a_failure_comes_as_it_is() -> None:
    reader = Reader(Unavailable("The log does not answer."))
    with pytest.raises(Unavailable, match="does not answer"):
        await catch_up(reader.run(), reader.wait())


@asynchronous
async def test_who_is_cancelled_leaves_nothing_behind() -> None:
    reader = Reader()
    reader.ready.wait = asyncio.Event().wait  # type: ignore[method-assign]
    task = asyncio.create_task(catch_up(reader.run(), reader.wait()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert reader.ended
