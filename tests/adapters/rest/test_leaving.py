"""How servers leave a host that is drained, or dead."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from domain.server.moves.orders import ABORT
from handlers.cells import Cell, Cells
from handlers.servers.leaving import Leaving, Watched
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_evacuate import declare, stricken
from tests.adapters.rest.test_moves import HOST, act, steps
from tests.adapters.rest.test_servers import SERVERS, boot, shown
from tests.adapters.rest.world import World
from tests.aio import asynchronous

T = TypeVar("T")


@asynccontextmanager
async def leaving(world: World, host: str) -> AsyncIterator[Leaving]:
    watched = Watched(Cells(Cell(world.store, world.bus, world.vault, world.stamp)))
    async with watched.following(world.store):
        yield Leaving(host, world.services.servers, watched, world.stamp, ABORT, 1800.0)


async def end(world: World, work: Awaitable[T]) -> T:
    """What comes of it, while the others work."""
    task = asyncio.ensure_future(work)

    async def is_over() -> bool:
        return task.done()

    await world.advance_until(is_over)
    return await task


@asynchronous
async def test_what_runs_leaves_alive_and_what_is_off_leaves_cold(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root = await world.client("root")
        for state, how in (("os-start", "live"), ("os-stop", "cold")):
            server_id = await boot(world, root)
            await act(root, server_id, **{state: None})
            await world.advance()
            before = await shown(root, server_id)
            async with leaving(world, before[HOST]) as hand:
                left = await end(world, hand.drain(server_id))
                assert left
                assert (left.how, left.to, left.reason) == (how, (await shown(root, server_id))[HOST], "")
                assert left.to != before[HOST]
                # Whoever begins again has nothing to do with it.
                assert await hand.drain(server_id) is None
            after = await shown(root, server_id)
            assert (after["status"], after["OS-EXT-STS:task_state"]) == (before["status"], None)


@asynchronous
async def test_what_cannot_leave_alive_leaves_cold(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root = await world.client("root")
        server_id = await boot(world, root)
        host = (await shown(root, server_id))[HOST]
        world.hypervisors[host].behaviour["leave"].fail_next = 1
        async with leaving(world, host) as hand:
            left = await end(world, hand.drain(server_id))
        assert left
        assert left.how == "cold"
        assert left.to not in (None, host)


@asynchronous
async def test_what_stays_stays_for_a_reason(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root = await world.client("root")
        server_id = await boot(world, root)
        host = (await shown(root, server_id))[HOST]
        other = "node2" if host == "node1" else "node1"
        await declare(root, other, dead=True)
        async with leaving(world, host) as hand:
            left = await end(world, hand.drain(server_id))
            assert left
            assert left.to is None
            assert "No valid host" in left.reason
            # It would find none powered off, either.
            actions = (await root.get(f"{SERVERS}/{server_id}/os-instance-actions")).body["instanceActions"]
            assert [action["action"] for action in actions] == ["live-migration", "create"]
            await act(root, server_id, suspend=None)
            await world.advance()
            left = await end(world, hand.drain(server_id))
            assert left
            assert left.reason == "A server that is suspended is not moved."


@asynchronous
async def test_a_dead_hosts_servers_are_made_anew_and_who_begins_again_waits_for_them(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root, server_id, source, other = await stricken(world)
        async with leaving(world, source) as hand, leaving(world, source) as again:
            first = asyncio.create_task(hand.evacuate(server_id))
            await world.advance_until(lambda: asked(world, server_id))
            second = await end(world, again.evacuate(server_id))
            assert second == await first
            assert second
            assert second.to == other
            assert await again.evacuate(server_id) is None
        assert len((await steps(root, server_id, "evacuate"))[1]) == 2


async def asked(world: World, server_id: str) -> bool:
    server = await world.queries.server(server_id)
    return server is not None and server.move is not None


@asynchronous
async def test_what_cannot_be_evacuated_is_told(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root = await world.client("root")
        server_id = await boot(world, root)
        await act(root, server_id, suspend=None)
        await world.advance()
        host = (await shown(root, server_id))[HOST]
        async with leaving(world, host) as hand:
            left = await hand.evacuate(server_id)
        assert left
        assert "vm_state suspended" in left.reason
