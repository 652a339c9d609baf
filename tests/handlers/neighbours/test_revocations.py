"""A revoked token is known to whoever follows the log, until it would have ended anyway."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec
import pytest

from domain.errors import Refused
from domain.log.record import Recorded
from domain.neighbours.token import KIND, TokenRevoked
from handlers.context import Context
from handlers.neighbours.revocations import AT_ONCE, RETRY_AFTER, Revocations
from tests.aio import asynchronous
from tests.cell import Cell
from tests.clocks import InstantClock
from tests.waiting import until

USER = Context(request_id="req-user", user_id="root", project_id="p")
HOUR = timedelta(hours=1)


@asynccontextmanager
async def process(cell: Cell) -> AsyncIterator[Revocations]:
    """One that judges by tokens."""
    known = Revocations(cell.store, cell.stamp)
    following = asyncio.create_task(known.run())
    await known.ready()
    yield known
    following.cancel()


async def story(cell: Cell) -> list[Recorded]:
    async for batch in cell.store.follow(0, KIND.name):
        return batch
    raise AssertionError


@asynchronous
async def test_every_process_knows() -> None:
    cell = Cell(InstantClock())
    ends = cell.clock.now() + HOUR
    async with process(cell) as asked, process(cell) as other:
        await asked.revoke(USER, "token-1", "amy", ends)
        assert asked.revoked("token-1")
        await until(lambda: other.revoked("token-1"))
        assert not other.revoked("token-2")
    async with process(cell) as started_later:
        assert started_later.revoked("token-1")
    (recorded,) = await story(cell)
    assert recorded.event == TokenRevoked(user_id="amy", expires_at=ends)
    assert recorded.meta.user_id == "root"


@asynchronous
async def test_a_token_is_revoked_once() -> None:
    cell = Cell(InstantClock())
    ends = cell.clock.now() + HOUR
    async with process(cell) as one, process(cell) as two:
        await asyncio.gather(*(known.revoke(USER, "token-1", "amy", ends) for known in (one, two, one)))
        assert one.revoked("token-1")
        assert two.revoked("token-1")
    assert len(await story(cell)) == 1


@asynchronous
async def test_what_has_ended_is_forgotten() -> None:
    cell = Cell(InstantClock())
    ends = cell.clock.now() + HOUR
    async with process(cell) as known:
        await known.revoke(USER, "token-1", "amy", ends)
        await cell.clock.sleep(HOUR.total_seconds())
        await known.revoke(USER, "token-2", "amy", ends + HOUR)
        assert list(known._until) == ["token-2"]
    async with process(cell) as started_later:
        assert list(started_later._until) == ["token-2"]
    await cell.clock.sleep(HOUR.total_seconds())
    async with process(cell) as last:
        assert not last._until


@asynchronous
async def test_nobody_decides_alone_how_many_are_kept_for_ever() -> None:
    cell = Cell(InstantClock())
    ends = cell.clock.now() + 1000 * HOUR
    async with process(cell) as known:
        for number in range(AT_ONCE):
            await known.revoke(USER, f"token-{number}", "amy", ends)
        with pytest.raises(Refused) as refused:
            await known.revoke(USER, "one-more", "amy", ends)
        assert (refused.value.status, refused.value.retry_after) == (429, RETRY_AFTER)
        assert not known.revoked("one-more")
        await known.revoke(msgspec.structs.replace(USER, user_id="amy"), "hers", "amy", ends)
        cell.clock.advance(RETRY_AFTER)
        await known.revoke(USER, "one-more", "amy", ends)
