"""Servers on their way when a host that they need is declared dead: nobody waits for that host."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from domain.errors import Unavailable
from handlers.conducting import remains
from tests.adapters.rest.client import Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_evacuate import declare, evacuated, guest_on
from tests.adapters.rest.test_moves import HOST, act, claims, leave_only, resized
from tests.adapters.rest.test_servers import SERVERS, boot, shown
from tests.adapters.rest.world import World, new_server
from tests.aio import asynchronous

AT_ONCE = 30.0
"""Seconds: the life of a host's signs, and no deadline of an action."""


@asynccontextmanager
async def at_once(world: World, root: Client, server_id: str) -> AsyncIterator[None]:
    """What happens in the block ends what is under way, and no time passes."""
    before = world.clock.now()
    yield

    async def is_over() -> bool:
        return (await shown(root, server_id))["OS-EXT-STS:task_state"] is None

    await world.advance_until(is_over)
    assert (world.clock.now() - before).total_seconds() < AT_ONCE


async def task_is(world: World, root: Client, server_id: str, task: str) -> None:
    """Until it is, and the conductor only waits for the host that was told: nothing else makes it look again."""
    attention, due = world._conducting._conductor.attention, deque([0.0], maxlen=50)

    async def holds() -> bool:
        due.append(attention._due.get(server_id, 0.0))
        there = (await shown(root, server_id))["OS-EXT-STS:task_state"] == task
        return there and set(due) == {due[-1]} != {0.0} and len(due) == due.maxlen

    await world.advance_until(holds)


def other_than(host: str) -> str:
    return "node2" if host == "node1" else "node1"


@asynchronous
async def test_a_move_from_a_dead_host_ends_and_the_server_is_evacuated(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root = await world.client("root")
        server_id = await boot(world, root)
        source = (await shown(root, server_id))[HOST]
        await world.stop(source)
        assert (await act(root, server_id, migrate=None)).status == 202
        await task_is(world, root, server_id, "resize_migrating")
        async with at_once(world, root, server_id):
            await declare(root, source, dead=True)
        server = await shown(root, server_id)
        assert (server["status"], server[HOST]) == ("ERROR", source)
        assert server["fault"]["message"] == "The server's host was declared dead."
        assert claims(world) == {source: 64}
        assert (await evacuated(world, root, server_id))[HOST] == other_than(source)


@asynchronous
async def test_a_revert_does_not_wait_for_a_dead_target_and_what_is_left_there_is_claimed_until_it_is_back(
    cloud: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remains, "LOOK_SECONDS", 0.0)
    async with cloud() as world:
        root = await world.client("root")
        server_id = await resized(world, root)
        target = (await shown(root, server_id))[HOST]
        source = other_than(target)
        await world.stop(target)
        async with at_once(world, root, server_id):
            assert (await act(root, server_id, revertResize=None)).status == 202
            await task_is(world, root, server_id, "resize_reverting")
            await declare(root, target, dead=True)
        server = await shown(root, server_id)
        assert (server["status"], server[HOST]) == ("ACTIVE", source)
        assert claims(world) == {source: 64, target: 2048}
        assert guest_on(world, target, server_id)
        await declare(root, target, dead=False)
        await world.start_agent(target)

        async def is_cleared() -> bool:
            return claims(world) == {source: 64}

        await world.advance_until(is_cleared)
        assert guest_on(world, target, server_id) is None
        assert guest_on(world, source, server_id)


@asynchronous
async def test_who_was_to_arrive_at_a_dead_host_is_back(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root = await world.client("root")
        server_id = await boot(world, root)
        source = (await shown(root, server_id))[HOST]
        target = other_than(source)
        await world.stop(target)
        assert (await act(root, server_id, migrate=None)).status == 202
        await task_is(world, root, server_id, "resize_finish")
        async with at_once(world, root, server_id):
            await declare(root, target, dead=True)
        server = await shown(root, server_id)
        assert (server["status"], server[HOST]) == ("ACTIVE", source)
        assert server["OS-EXT-STS:power_state"] == 1


@asynchronous
async def test_nothing_moves_from_a_host_that_is_dead(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root = await world.client("root")
        server_id = await boot(world, root)
        source = (await shown(root, server_id))[HOST]
        await declare(root, source, dead=True)
        async with at_once(world, root, server_id):
            assert (await act(root, server_id, migrate=None)).status == 202
        server = await shown(root, server_id)
        assert (server["status"], server[HOST]) == ("ACTIVE", source)
        assert claims(world) == {source: 64}


@asynchronous
async def test_a_new_server_is_built_elsewhere(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root = await world.client("root")
        await world.stop("node1")
        await leave_only(world, "node1")
        server_id = (await root.post(SERVERS, new_server())).body["server"]["id"]
        await task_is(world, root, server_id, "spawning")
        for service in (await root.get("/compute/v2.1/os-services?binary=nova-compute")).body["services"]:
            await root.put(f"/compute/v2.1/os-services/{service['id']}", {"status": "enabled"})
        async with at_once(world, root, server_id):
            await declare(root, "node1", dead=True)
        server = await shown(root, server_id)
        assert (server["status"], server[HOST]) == ("ACTIVE", "node2")
        assert claims(world) == {"node2": 64}


@asynchronous
async def test_a_live_migration_whose_target_dies_before_its_source_is_told_comes_to_nothing(
    cloud: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cloud() as world:
        root = await world.client("root")
        server_id = await boot(world, root)
        source = (await shown(root, server_id))[HOST]
        target = other_than(source)

        async def silent(host: str, _question: bytes, *_seconds: float) -> bytes:
            if host == target and target in world._tasks:
                await world.stop(target)
            raise Unavailable(f"{host} does not answer.")

        monkeypatch.setattr(world.bus, "ask", silent)
        assert (
            await act(root, server_id, **{"os-migrateLive": {"host": None, "block_migration": "auto"}})
        ).status == 202

        async def is_ready() -> bool:
            return target not in world._tasks

        await world.advance_until(is_ready)
        await declare(root, target, dead=True)
        async with at_once(world, root, server_id):
            pass
        server = await shown(root, server_id)
        assert (server["status"], server[HOST]) == ("ACTIVE", source)
        assert claims(world) == {source: 64, target: 64}
