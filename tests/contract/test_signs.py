"""What signs of life, positions and vaults promise, wherever they are kept."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import Invalid
from tests.aio import asynchronous
from tests.contract.worlds import World
from tests.waiting import until


class TestLiveness:
    @asynchronous
    async def test_the_last_of_each_and_then_the_news(self, world: World) -> None:
        async with world:
            sender, watcher = await world.liveness(), await world.liveness()
            for number in range(3):
                await sender.beat("compute/node1.example.com", {"free": number})
            await sender.beat("projector/b", {})
            seen = []
            async with aclosing(watcher.watch()) as beats:
                first = await anext(beats)
                while (first.name, first.facts) != ("projector/b", {}):
                    seen.append((first.name, first.facts))
                    first = await anext(beats)
                assert seen[-1] == ("compute/node1.example.com", {"free": 2})
                assert abs(first.time - datetime.now(UTC)) < timedelta(seconds=5)
                await sender.beat("projector/b", {"lag": 1})
                news = await anext(beats)
                assert (news.name, news.facts) == ("projector/b", {"lag": 1})
                assert news.time >= first.time

    @asynchronous
    async def test_a_later_watcher_sees_one_beat_of_each(self, world: World) -> None:
        async with world:
            sender = await world.liveness()
            for number in range(5):
                await sender.beat("api/a", {"n": number})
            async with aclosing(sender.watch()) as beats:
                while (await anext(beats)).facts != {"n": 4}:
                    pass
            await sender.beat("api/z", {})
            async with aclosing(sender.watch()) as beats:
                assert (await anext(beats)).facts == {"n": 4}
                assert (await anext(beats)).name == "api/z"


class TestPositions:
    @asynchronous
    async def test_what_was_announced_is_reached(self, world: World) -> None:
        async with world:
            projector, api = await world.positions(), await world.positions()
            await projector.announce("servers", world.cell, 7)

            async def newcomer_knows() -> bool:
                return await (await world.positions()).reached("servers", world.cell, 7, 0.05)

            await until(newcomer_knows)
            assert await api.reached("servers", world.cell, 7, 0)
            assert not await api.reached("servers", world.cell, 8, 0.05)
            assert not await api.reached("hosts", world.cell, 1, 0.05)
            assert not await api.reached("servers", "another", 1, 0.05)

    @asynchronous
    async def test_waiters_wake_when_it_is_announced(self, world: World) -> None:
        async with world:
            projector, api = await world.positions(), await world.positions()
            waiting = [asyncio.ensure_future(api.reached("p", world.cell, n, 5.0)) for n in (3, 1, 2, 3)]
            assert not await api.reached("p", world.cell, 1, 0.05)
            await projector.announce("p", world.cell, 2)
            await until(lambda: sum(task.done() for task in waiting) == 2)
            assert not waiting[0].done()
            await projector.announce("p", world.cell, 1)
            await projector.announce("p", world.cell, 3)
            assert await asyncio.gather(*waiting) == [True] * 4


class TestVault:
    @asynchronous
    async def test_what_is_sealed_is_unsealed_by_every_process(self, world: World) -> None:
        async with world:
            sealed = await (await world.vault()).seal("server.1", b"hunter2")
            assert "hunter2" not in sealed
            assert await (await world.vault()).unseal("server.1", sealed) == b"hunter2"

    @asynchronous
    async def test_the_same_text_seals_differently(self, world: World) -> None:
        async with world:
            vault = await world.vault()
            assert await vault.seal("a", b"x") != await vault.seal("a", b"x")

    @asynchronous
    async def test_processes_at_once_agree_on_the_key(self, world: World) -> None:
        async with world:
            vaults = [await world.vault() for _ in range(4)]
            sealed = await asyncio.gather(*(vault.seal("a", b"x") for vault in vaults))
            assert [await vaults[0].unseal("a", text) for text in sealed] == [b"x"] * 4

    @asynchronous
    async def test_destroyed_is_destroyed(self, world: World) -> None:
        async with world:
            vault = await world.vault()
            sealed, others = await vault.seal("a", b"x"), await vault.seal("b", b"y")
            await vault.destroy("a")
            await vault.destroy("a")
            assert await vault.unseal("a", sealed) is None
            assert await vault.unseal("b", others) == b"y"
            assert await (await world.vault()).owners() == ["b"]
            again = await vault.seal("a", b"z")
            assert await vault.unseal("a", sealed) is None
            assert await vault.unseal("a", again) == b"z"

    @asynchronous
    async def test_altered_or_moved_text_is_refused(self, world: World) -> None:
        async with world:
            vault = await world.vault()
            sealed = await vault.seal("a", b"secret")
            flipped = sealed[:-5] + ("A" if sealed[-5] != "A" else "B") + sealed[-4:]
            for text in (flipped, "v1.x", "not sealed"):
                with pytest.raises(Invalid):
                    await vault.unseal("a", text)
            await vault.seal("b", b"")
            assert await vault.unseal("b", sealed) is None
