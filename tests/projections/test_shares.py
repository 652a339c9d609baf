"""So many at once for each owner."""

import asyncio

from projections.shares import Shares
from tests.aio import asynchronous


@asynchronous
async def test_those_beyond_a_share_wait_behind_their_own():
    shares, end, inside = Shares(2), asyncio.Event(), list[str]()

    async def use(owner: str) -> None:
        async with shares.one(owner):
            inside.append(owner)
            await end.wait()

    async with asyncio.TaskGroup() as group:
        given_up = [group.create_task(use("many")) for _ in range(5)][-1]
        group.create_task(use("one"))
        await asyncio.sleep(0)
        assert sorted(inside) == ["many", "many", "one"]
        given_up.cancel()
        end.set()
    assert inside.count("many") == 4
    assert not shares._shares
