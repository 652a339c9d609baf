"""Evacuation over the API, on simulated hosts."""

from typing import Any

import pytest

from adapters.simulated.guest import Guest
from domain.server.moves.migration import COMPLETED, DONE
from handlers.conducting import remains
from tests.adapters.rest.client import Answer, Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_moves import HOST, act, claims, migrations, steps
from tests.adapters.rest.test_servers import SERVERS, boot, shown
from tests.adapters.rest.world import World
from tests.aio import asynchronous

SERVICES = "/compute/v2.1/os-services"


async def declare(root: Client, host: str, *, dead: bool) -> None:
    (service,) = (await root.get(f"{SERVICES}?binary=nova-compute&host={host}")).body["services"]
    assert (await root.put(f"{SERVICES}/{service['id']}", {"forced_down": dead})).status == 200


async def stricken(world: World, **fields: Any) -> tuple[Client, str, str, str]:
    """The administrator, a server, its host, which is dead, and the other one."""
    root = await world.client("root")
    server_id = await boot(world, await world.client("amy"), **fields)
    source = (await shown(root, server_id))[HOST]
    await world.stop(source)
    await declare(root, source, dead=True)
    return root, server_id, source, "node2" if source == "node1" else "node1"


async def evacuated(world: World, root: Client, server_id: str, **arguments: Any) -> dict[str, Any]:
    assert (await act(root, server_id, evacuate=arguments)).status == 200

    async def is_over() -> bool:
        return (await shown(root, server_id))["OS-EXT-STS:task_state"] is None

    await world.advance_until(is_over)
    return await shown(root, server_id)


def guest_on(world: World, host: str, server_id: str) -> Guest | None:
    return world.hypervisors[host]._guests.get(server_id)


@asynchronous
async def test_a_server_of_a_dead_host_goes_on_elsewhere(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root, server_id, source, other = await stricken(world)
        before = await shown(root, server_id)
        answer = await act(root.at("2.94"), server_id, evacuate={})
        assert (answer.status, answer.content) == (200, b"")
        asked = await shown(root, server_id)
        assert (asked["status"], asked["OS-EXT-STS:task_state"]) == ("REBUILD", "rebuilding")
        (row,) = await migrations(world)
        assert (row["status"], row["migration_type"], row["source_compute"]) == ("accepted", "evacuation", source)

        async def is_there() -> bool:
            return (await shown(root, server_id))["status"] == "ACTIVE"

        await world.advance_until(is_there)
        after = await shown(root, server_id)
        assert after[HOST] == other
        assert after["addresses"] == before["addresses"]
        made = guest_on(world, other, server_id)
        assert made
        assert made.disk == (other,)
        # What is left at its former host counts there until that is back.
        assert claims(world) == {source: 64, other: 64}
        assert [row["status"] for row in await migrations(world)] == [DONE]
        assert guest_on(world, source, server_id)
        assert await steps(root, server_id, "evacuate") == (
            None, ["rebuild_server Success", "compute_rebuild_instance Success"],
        )  # fmt: skip


@asynchronous
async def test_a_host_that_is_back_ends_what_it_has_of_an_evacuated_server_and_nothing_else(
    cloud: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remains, "LOOK_SECONDS", 0.0)
    async with cloud() as world:
        root = await world.client("root")
        first, second = [await boot(world, root) for _ in range(2)]
        assert (await shown(root, first))[HOST] != (await shown(root, second))[HOST]
        neighbour_id, server_id = await boot(world, root), first
        source = (await shown(root, neighbour_id))[HOST]
        if (await shown(root, first))[HOST] != source:
            server_id = second
        other = (await shown(root, second if server_id == first else first))[HOST]
        await world.stop(source)
        await declare(root, source, dead=True)
        await evacuated(world, root, server_id)
        await world.start_agent(source)
        # It is fenced still: the zombie has ended all the same.
        assert guest_on(world, source, server_id) is None
        assert claims(world)[source] == 128
        neighbour = guest_on(world, source, neighbour_id)
        await declare(root, source, dead=False)
        await settled(world)
        assert claims(world) == {source: 64, other: 128}
        assert [row["status"] for row in await migrations(world)] == [COMPLETED]
        assert guest_on(world, other, server_id)
        assert neighbour
        assert guest_on(world, source, neighbour_id) is neighbour


async def settled(world: World) -> None:
    """Until nothing is left of the only evacuation on its dead host."""

    async def is_over() -> bool:
        return [row["status"] for row in await migrations(world)] == [COMPLETED]

    await world.advance_until(is_over)


@asynchronous
async def test_with_a_host_that_was_forgotten_goes_its_claim(
    cloud: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remains, "LOOK_SECONDS", 0.0)
    async with cloud() as world:
        root, server_id, source, other = await stricken(world)
        await evacuated(world, root, server_id)
        await world.services.hosts.forget(world.stamp.own_context(), source)
        await settled(world)
        assert claims(world) == {other: 64}


@asynchronous
async def test_deleted_it_holds_nothing_anywhere(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root, server_id, _, _ = await stricken(world)
        await evacuated(world, root, server_id)
        assert (await root.delete(f"{SERVERS}/{server_id}")).status == 204
        await world.advance()
        assert claims(world) == {}


@pytest.mark.parametrize(("version", "status"), [("2.94", "ACTIVE"), ("2.95", "SHUTOFF")])
@asynchronous
async def test_from_2_95_it_is_powered_off(cloud: MakeWorld, version: str, status: str) -> None:
    async with cloud() as world:
        root, server_id, _, other = await stricken(world)
        assert (await evacuated(world, root.at(version), server_id, host=other))["status"] == status


@asynchronous
async def test_a_host_that_lives_is_not_evacuated(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root = await world.client("root")
        server_id = await boot(world, await world.client("amy"))
        source = (await shown(root, server_id))[HOST]
        answer = await act(root, server_id, evacuate={})
        assert (answer.status, answer.fault[2]) == (400, f"Compute service of {source} is still in use.")
        await world.stop(source)
        # Nobody has declared it dead, but nobody hears of it, either.
        await world.advance_until(lambda: gone(world, source))
        assert (await act(root, server_id, evacuate={})).status == 200


async def gone(world: World, host: str) -> bool:
    return not world.life.host_up(host)


@asynchronous
async def test_where_no_host_takes_it_it_stays_what_it_was(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root, server_id, source, other = await stricken(world)
        await declare(root, other, dead=True)
        assert (await act(root, server_id, evacuate={})).status == 200
        await world.advance()
        there = await shown(root, server_id)
        assert (there["status"], there[HOST]) == ("ACTIVE", source)
        assert claims(world) == {source: 64}
        assert [row["status"] for row in await migrations(world)] == ["error"]
        message, results = await steps(root, server_id, "evacuate")
        assert (message, results) == ("Error", ["rebuild_server Error", "compute_revert_resize Success"])


@asynchronous
async def test_a_target_that_is_declared_dead_too_is_given_up_at_once(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root, server_id, source, other = await stricken(world)
        await world.stop(other)
        assert (await act(root, server_id, evacuate={})).status == 200

        async def is_chosen() -> bool:
            return (await shown(root, server_id))["OS-EXT-STS:task_state"] == "rebuild_spawning"

        await world.advance_until(is_chosen)
        await declare(root, other, dead=True)
        await declare(root, source, dead=False)
        await world.start_agent(source)

        async def is_over() -> bool:
            return (await shown(root, server_id))["OS-EXT-STS:task_state"] is None

        await world.advance_until(is_over)
        # No other host is there: its own has it again, as it was.
        there = await shown(root, server_id)
        assert (there["status"], there[HOST]) == ("ACTIVE", source)
        assert claims(world) == {source: 64}


@asynchronous
async def test_what_is_no_good_request(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root, server_id, source, other = await stricken(world)

        async def asked(version: str, **arguments: Any) -> Answer:
            return await act(root.at(version), server_id, evacuate=arguments)

        assert (await asked("2.95", host=source)).status == 400
        assert (await asked("2.95", host="nowhere")).status == 404
        assert (await asked("2.95", onSharedStorage=False)).status == 400
        assert (await asked("2.95", force=True, host=other)).status == 400
        assert (await asked("2.29", force=True)).status == 400
        assert (await asked("2.1")).status == 400
        assert (await asked("2.13", onSharedStorage=True, adminPass="secret")).status == 400
        amy = await world.client("amy")
        assert (await act(amy, server_id, evacuate={})).status == 403
        assert (await root.post(f"{SERVERS}/{'0' * 8}/action", {"evacuate": {}})).status == 404
        first = await asked("2.13", onSharedStorage="False", adminPass="secret")
        assert (first.status, first.body) == (200, {"adminPass": "secret"})
        assert (await asked("2.95")).status == 409
