"""So many at once for each owner: fewer where others ask."""

import asyncio

from projections.shares import Shares
from tests.aio import asynchronous


class Users:
    def __init__(self, shares: Shares) -> None:
        self.shares = shares
        self.inside: list[str] = []
        self.end = asyncio.Event()

    async def use(self, owner: str) -> None:
        async with self.shares.one(owner):
            self.inside.append(owner)
            await self.end.wait()


@asynchronous
async def test_those_beyond_a_share_wait_behind_their_own():
    users = Users(Shares(alone=4, beside=2))
    async with asyncio.TaskGroup() as group:
        group.create_task(users.use("one"))
        await asyncio.sleep(0)
        given_up = [group.create_task(users.use("many")) for _ in range(5)][-1]
        await asyncio.sleep(0)
        assert sorted(users.inside) == ["many", "many", "one"]
        given_up.cancel()
        users.end.set()
    assert users.inside.count("many") == 4
    assert not users.shares._shares


@asynchronous
async def test_who_is_alone_has_more():
    users = Users(Shares(alone=4, beside=2))
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(users.use("many"))
        await asyncio.sleep(0)
        assert users.inside == ["many"] * 4
        users.end.set()
    assert users.inside == ["many"] * 5


@asynchronous
async def test_who_is_given_up_at_the_moment_of_his_turn_keeps_nothing():
    users = Users(Shares(alone=1, beside=1))
    async with asyncio.TaskGroup() as group:
        group.create_task(users.use("many"))
        await asyncio.sleep(0)
        waiting = group.create_task(users.use("many"))
        await asyncio.sleep(0)
        users.end.set()
        await asyncio.sleep(0)
        waiting.cancel()
    assert not users.shares._shares
    async with asyncio.timeout(5), users.shares.one("many"):
        pass
