"""Live migrations that are steered while they are under way, on simulated hosts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import pytest

from adapters.rest.compute.servers.migration_orders import DEADLINE, POLICY
from domain.server.moves.course import LIVE_LEAVING
from tests.adapters.rest.client import Answer, Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_moves import HOST, act, claims, migrations, steps
from tests.adapters.rest.test_servers import SERVERS, boot, shown
from tests.adapters.rest.world import World, turns_until
from tests.aio import asynchronous

SLOW = 10_000.0
"""Seconds that it would take."""
TURNS = 30
"""Of the others, between two looks at the clock."""


class Leaving(NamedTuple):
    """A server that is being sent, and would be for hours."""

    world: World
    root: Client
    server_id: str
    source: str
    path: str
    """Of its migration."""

    async def end(self) -> dict[str, Any]:
        """Let time pass until it has ended; the server as it is then."""
        async with passing_time(self.world):
            await self.world.advance()
        return await shown(self.root, self.server_id)

    async def outcome(self) -> tuple[str, bool, str]:
        """Of the server, whether it is at its source, of the migration."""
        server = await self.end()
        (row,) = await migrations(self.world)
        assert claims(self.world) == {server[HOST]: 64}
        return server["status"], server[HOST] == self.source, row["status"]

    async def action(self, name: str) -> tuple[str | None, list[str]]:
        return await steps(self.root, self.server_id, name)


@asynccontextmanager
async def passing_time(world: World) -> AsyncIterator[None]:
    async def pass_on() -> None:
        while True:
            world.clock.advance(0.5)
            for _ in range(TURNS):
                await asyncio.sleep(0)

    passing = asyncio.create_task(pass_on())
    try:
        yield
    finally:
        passing.cancel()
        with suppress(asyncio.CancelledError):
            await passing


async def ask(client: Client, server_id: str, headers: dict[str, str]) -> Answer:
    body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
    return await client.post(f"{SERVERS}/{server_id}/action", body, headers=headers)


async def leave(world: World, *, paused: bool = False, leg: str = LIVE_LEAVING, **headers: str) -> Leaving:
    """Have a server migrate live, until it is on that leg."""
    amy, root = await world.client("amy"), await world.client("root")
    server_id = await boot(world, amy)
    if paused:
        await act(amy, server_id, pause=None)
        await world.advance()
    source = str((await shown(root, server_id))[HOST])
    for hypervisor in world.hypervisors.values():
        hypervisor.behaviour["leave"].delay = hypervisor.behaviour["prepare"].delay = (SLOW, SLOW)
    if leg == LIVE_LEAVING:
        next(other for name, other in world.hypervisors.items() if name != source).behaviour["prepare"].delay = (0, 0)
    assert (await ask(root, server_id, headers)).status == 202
    world.open()

    async def is_there() -> bool:
        await world.project()
        server = await world.queries.server(server_id)
        leaves = await world.hypervisors[source].progress(server_id) is not None
        return bool(server and server.move and server.move.leg == leg and leaves == (leg == LIVE_LEAVING))

    async with asyncio.timeout(10):
        while not await is_there():  # noqa: ASYNC110 - nobody sleeps here
            await asyncio.sleep(0)
    (row,) = await migrations(world)
    return Leaving(world, root, server_id, source, f"{SERVERS}/{server_id}/migrations/{row['id']}")


@asynchronous
async def test_aborted_it_stays_where_it_is(cloud: MakeWorld) -> None:
    async with cloud() as world:
        leaving = await leave(world)
        assert (await (await world.client("amy")).delete(leaving.path)).status == 403
        assert (await leaving.root.delete(leaving.path)).status == 202
        assert (await leaving.root.delete(leaving.path)).status == 202
        refused = await leaving.root.post(f"{leaving.path}/action", {"force_complete": None})
        assert refused.fault[1] == 400
        assert await leaving.outcome() == ("ACTIVE", True, "cancelled")
        for hypervisor in world.hypervisors.values():
            found = [guest.server_id for guest in await hypervisor.guests()]
            assert found == [leaving.server_id] * (hypervisor is world.hypervisors[leaving.source])
        assert await leaving.action("live_migration_cancel") == (None, ["compute_live_migration_abort Success"])
        message, told = await leaving.action("live-migration")
        assert (message, told[-1]) == ("Error", "compute_finish_revert_resize Success")
        assert (await leaving.root.delete(leaving.path)).status == 409


@asynchronous
async def test_aborted_before_it_leaves(cloud: MakeWorld) -> None:
    async with cloud() as world:
        leaving = await leave(world, leg="live_preparing")
        assert [row["status"] for row in await migrations(world)] == ["preparing"]
        assert (await leaving.root.at("2.64").delete(leaving.path)).status == 400
        assert (await leaving.root.post(f"{leaving.path}/action", {"force_complete": None})).status == 400
        assert (await leaving.root.delete(leaving.path)).status == 202
        assert await leaving.outcome() == ("ACTIVE", True, "cancelled")
        assert len((await leaving.action("live_migration_cancel"))[1]) == 1


@asynchronous
async def test_forced_it_arrives_soon(cloud: MakeWorld) -> None:
    async with cloud() as world:
        leaving = await leave(world)
        begun = world.clock.now()
        assert (await leaving.root.post(f"{leaving.path}/action", {"force_complete": None})).status == 202
        assert await leaving.outcome() == ("ACTIVE", False, "completed")
        assert (world.clock.now() - begun).total_seconds() < 10
        assert await leaving.action("live_migration_force_complete") == (
            None, ["compute_live_migration_force_complete Success"],
        )  # fmt: skip
        path = f"{SERVERS}/{leaving.server_id}/os-instance-actions"
        rows = (await leaving.root.get(path)).body["instanceActions"]
        (found,) = [row for row in rows if row["action"] == "live-migration"]
        events = (await leaving.root.get(f"{path}/{found['request_id']}")).body["instanceAction"]["events"]
        assert [event["details"] for event in events if event["event"] == "compute_live_migration"] == [
            "The server stood still for 200 ms."
        ]


@asynchronous
async def test_an_abort_that_comes_too_late(cloud: MakeWorld) -> None:
    """It has arrived, and nobody has heard of that yet."""
    async with cloud() as world:
        leaving = await leave(world)
        source = world.hypervisors[leaving.source]
        await world.stop(leaving.source)
        async with passing_time(world):
            source._copies[leaving.server_id]._order = "force_complete"
            source._copies[leaving.server_id]._told.set()
            await turns_until(lambda: source._copies[leaving.server_id].has_ended)
        assert (await leaving.root.delete(leaving.path)).status == 202
        world.run_agent(leaving.source)
        assert await leaving.outcome() == ("ACTIVE", False, "completed")
        message, told = await leaving.action("live_migration_cancel")
        assert (message, told) == ("Error", ["compute_live_migration_abort Error"])


@pytest.mark.parametrize(("policy", "there", "status"), [
    ("abort", True, "cancelled"), ("force_complete", False, "completed"),
])  # fmt: skip
@asynchronous
async def test_each_ends_at_its_deadline_as_was_said(cloud: MakeWorld, policy: str, there: bool, status: str) -> None:
    async with cloud() as world:
        leaving = await leave(world, **{DEADLINE: "60", POLICY: policy})
        answer = await leaving.root.get(leaving.path)
        assert answer.headers[POLICY.lower()] == policy
        begun = world.clock.now()
        assert await leaving.outcome() == ("ACTIVE", there, status)
        assert 59 <= (world.clock.now() - begun).total_seconds() <= 65


@asynchronous
async def test_another_deadline_is_heeded_while_it_leaves(cloud: MakeWorld) -> None:
    async with cloud() as world:
        leaving = await leave(world, **{DEADLINE: "30"})
        begun = world.clock.now()
        async with passing_time(world):
            await turns_until(lambda: (world.clock.now() - begun).total_seconds() >= 20)
            changed = await leaving.root.put(leaving.path, headers={DEADLINE: "60", POLICY: "force_complete"})
            assert (changed.status, changed.headers[POLICY.lower()]) == (202, "force_complete")
        assert await leaving.outcome() == ("ACTIVE", False, "completed")
        assert 78 <= (world.clock.now() - begun).total_seconds() <= 88


@pytest.mark.parametrize("headers", [
    {DEADLINE: "0"}, {DEADLINE: "soon"}, {DEADLINE: "-5"}, {DEADLINE: "86401"}, {DEADLINE: "1.5"}, {DEADLINE: ""},
    {POLICY: "pause"}, {POLICY: ""}, {POLICY: "keep_trying", DEADLINE: "60"},
])  # fmt: skip
@asynchronous
async def test_what_the_headers_may_not_say(cloud: MakeWorld, headers: dict[str, str]) -> None:
    async with cloud() as world:
        root = await world.client("root")
        server_id = await boot(world, await world.client("amy"))
        refused = await ask(root, server_id, headers)
        assert refused.fault[:2] == ("badRequest", 400)
        assert "Lightcurve-Migration-" in refused.fault[2]


@asynchronous
async def test_who_keeps_trying_has_a_day_and_may_be_told_otherwise(cloud: MakeWorld) -> None:
    async with cloud() as world:
        leaving = await leave(world, **{POLICY: "keep_trying"})
        begun = world.clock.now()
        assert (await leaving.root.put(leaving.path)).status == 400
        assert (await leaving.root.put(leaving.path, headers={POLICY: "abort", DEADLINE: "5"})).status == 202
        assert await leaving.outcome() == ("ACTIVE", True, "cancelled")
        assert (world.clock.now() - begun).total_seconds() < 12


@asynchronous
async def test_how_far_it_is(cloud: MakeWorld) -> None:
    async with cloud() as world:
        leaving = await leave(world, **{DEADLINE: "80000"})
        world.clock.advance(SLOW / 4)
        (row,) = (await leaving.root.get(leaving.path.rpartition("/")[0])).body["migrations"]
        assert row == (await leaving.root.get(leaving.path)).body["migration"]
        assert row["status"] == "running"
        assert row["memory_total_bytes"] == row["memory_remaining_bytes"] + row["memory_processed_bytes"] == 64 << 20
        assert row["disk_total_bytes"] == 0
        amy = await world.client("amy")
        assert (await shown(amy, leaving.server_id))["progress"] == 25
        moment = {"Lightcurve-As-Of": world.clock.now().isoformat()}
        world.clock.advance(1)
        past = await amy.request("GET", f"{SERVERS}/{leaving.server_id}", headers=moment)
        assert past.body["server"]["status"] == "MIGRATING"
        assert past.body["server"]["progress"] == 0
        # A host that does not say it is no reason not to answer.
        await world.stop(leaving.source)
        assert (await leaving.root.get(leaving.path)).body["migration"]["memory_total_bytes"] is None
        world.run_agent(leaving.source)
        await leaving.root.delete(leaving.path)
        await leaving.end()


@asynchronous
async def test_one_that_stands_still_does_so_there_and_back(cloud: MakeWorld) -> None:
    async with cloud() as world:
        leaving = await leave(world, paused=True)
        assert (await shown(leaving.root, leaving.server_id))["status"] == "MIGRATING"
        await leaving.root.delete(leaving.path)
        assert (await leaving.end())["status"] == "PAUSED"
        for hypervisor in world.hypervisors.values():
            hypervisor.behaviour["leave"].delay = (0.0, 0.0)
        assert (await ask(leaving.root, leaving.server_id, {})).status == 202
        server = await leaving.end()
        assert (server["status"], server["OS-EXT-STS:power_state"]) == ("PAUSED", 3)
        assert server[HOST] != leaving.source


@asynchronous
async def test_what_is_not_under_way_is_not_steered(cloud: MakeWorld) -> None:
    async with cloud() as world:
        leaving = await leave(world)
        other = leaving.path.rpartition("/")[0] + "/999999"
        assert (await leaving.root.delete(other)).status == 404
        assert (await leaving.root.put(other, headers={DEADLINE: "5"})).status == 404
        assert (await leaving.root.post(f"{other}/action", {"force_complete": None})).status == 400
        assert (await leaving.root.post(f"{leaving.path}/action", {"force_complete": {}})).status == 400
        assert (await leaving.root.at("2.23").delete(leaving.path)).status == 404
        await leaving.root.delete(leaving.path)
        await leaving.end()
        for answer in (
            await leaving.root.delete(leaving.path),
            await leaving.root.post(f"{leaving.path}/action", {"force_complete": None}),
            await leaving.root.put(leaving.path, headers={DEADLINE: "5"}),
        ):
            assert answer.status == 409


async def lose(leaving: Leaving) -> None:
    """Its source falls silent, and stays so beyond the deadline."""
    await leaving.world.stop(leaving.source)

    async def is_lost() -> bool:
        await leaving.world.project()
        return bool((await shown(leaving.root, leaving.server_id))["status"] == "ERROR")

    async with passing_time(leaving.world), asyncio.timeout(10):
        while not await is_lost():  # noqa: ASYNC110 - nobody sleeps here
            await asyncio.sleep(0)


@asynchronous
async def test_a_source_that_falls_silent_leaves_it_in_error_until_it_answers(cloud: MakeWorld) -> None:
    async with cloud() as world:
        leaving = await leave(world, **{DEADLINE: "1"})
        await lose(leaving)
        server = await shown(leaving.root, leaving.server_id)
        assert "does not answer" in server["fault"]["message"]
        assert (server["OS-EXT-STS:task_state"], server[HOST]) == (None, leaving.source)
        assert sum(claims(world).values()) == 128
        for action in ({"revertResize": None}, {"reboot": {"type": "HARD"}}, {"os-resetState": {"state": "active"}}):
            assert (await act(leaving.root, leaving.server_id, **action)).status == 409
        world.run_agent(leaving.source)
        assert await leaving.outcome() == ("ACTIVE", True, "cancelled")


@asynchronous
async def test_where_its_source_does_not_answer_its_target_is_asked(cloud: MakeWorld) -> None:
    """It has arrived, and stands still as it did before."""
    async with cloud() as world:
        leaving = await leave(world, paused=True, **{DEADLINE: "1"})
        await world.stop(leaving.source)
        copy = world.hypervisors[leaving.source]._copies[leaving.server_id]
        copy._order = "force_complete"
        copy._told.set()
        async with passing_time(world):
            await turns_until(lambda: copy.has_ended)
        assert await leaving.outcome() == ("PAUSED", False, "completed")


@asynchronous
async def test_a_source_that_was_declared_dead_ends_it(cloud: MakeWorld) -> None:
    async with cloud() as world:
        leaving = await leave(world, **{DEADLINE: "1"})
        await lose(leaving)
        services = (await leaving.root.get("/compute/v2.1/os-services?binary=nova-compute")).body["services"]
        (dead,) = [each["id"] for each in services if each["host"] == leaving.source]
        down = await leaving.root.put(f"/compute/v2.1/os-services/{dead}", {"forced_down": True})
        assert down.status == 200

        async def has_ended() -> bool:
            await world.project()
            return [row["status"] for row in await migrations(world)] == ["cancelled"]

        async with asyncio.timeout(10):
            while not await has_ended():  # noqa: ASYNC110 - nobody sleeps here
                await asyncio.sleep(0)
        assert (await shown(leaving.root, leaving.server_id))["status"] == "ERROR"
