"""A connection that is closed leaves nothing behind that tries for ever, even if that has missed being told once."""

import asyncio

import pytest

from adapters.nats.hard_of_hearing import ended, within
from ops.embedded.nats import NatsProcess
from tests.aio import asynchronous
from tests.contract.worlds import NatsWorld

MISSED = 3


async def hard_of_hearing() -> None:
    """Loses its first cancellations."""
    for _ in range(MISSED):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
    await asyncio.Event().wait()


@asynchronous
async def test_it_is_told_until_it_has_heard():
    task = asyncio.ensure_future(hard_of_hearing())
    await asyncio.sleep(0)
    await ended(task)
    assert task.cancelled()
    with pytest.raises(TimeoutError):
        await within(0, hard_of_hearing())


@pytest.mark.nats
@asynchronous
async def test_a_closed_connection_tries_no_more(mortal: NatsProcess):
    async with NatsWorld(mortal.server) as world:
        connection = await world.connection()
        connection._reconnection_task = asyncio.ensure_future(hard_of_hearing())
        await asyncio.sleep(0)
        await connection.close()
        assert connection._reconnection_task.done()
