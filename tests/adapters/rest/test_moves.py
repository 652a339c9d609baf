"""Resize and cold migration over the API, on simulated hosts."""

from typing import Any

import pytest

from tests.adapters.rest.client import Answer, Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_servers import SERVERS, boot, shown
from tests.adapters.rest.world import World
from tests.aio import asynchronous

MIGRATIONS = "/compute/v2.1/os-migrations"
HOST = "OS-EXT-SRV-ATTR:host"


async def act(client: Client, server_id: str, **action: Any) -> Answer:
    return await client.post(f"{SERVERS}/{server_id}/action", action)


async def resized(world: World, client: Client) -> str:
    server_id = await boot(world, client)
    assert (await act(client, server_id, resize={"flavorRef": "2"})).status == 202
    await world.advance()
    return server_id


async def steps(client: Client, server_id: str, action: str) -> tuple[str | None, list[str]]:
    """Of an action: its message, and its steps with their results."""
    path = f"{SERVERS}/{server_id}/os-instance-actions"
    (found,) = [row for row in (await client.get(path)).body["instanceActions"] if row["action"] == action]
    whole = (await client.get(f"{path}/{found['request_id']}")).body["instanceAction"]
    return whole["message"], [f"{event['event']} {event['result']}" for event in whole["events"]]


async def migrations(world: World, query: str = "", version: str = "2.100") -> list[dict[str, Any]]:
    root = await world.client("root", version)
    found: list[dict[str, Any]] = (await root.get(f"{MIGRATIONS}{query}")).body["migrations"]
    return found


def claims(world: World) -> dict[str, int]:
    """The memory that is claimed, by host."""
    ledger = world.ledger.writer.state
    used = {provider.name: provider.used.get("MEMORY_MB", 0) for provider in ledger.providers.values()}
    return {name: amount for name, amount in used.items() if amount}


async def leave_only(world: World, host: str) -> None:
    """Every other host takes nothing."""
    root = await world.client("root")
    services = (await root.get("/compute/v2.1/os-services?binary=nova-compute")).body["services"]
    for service in services:
        if service["host"] != host:
            answer = await root.put(f"/compute/v2.1/os-services/{service['id']}", {"status": "disabled"})
            assert answer.status == 200


@asynchronous
async def test_a_resize_that_is_confirmed(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await boot(world, amy)
        source = (await shown(root, server_id))[HOST]
        assert (await act(amy, server_id, resize={"flavorRef": "2"})).status == 202
        asked = await shown(amy, server_id)
        assert (asked["status"], asked["OS-EXT-STS:task_state"]) == ("RESIZE", "resize_prep")
        assert [each["id"] for each in (await amy.get(f"{SERVERS}?status=RESIZE")).body["servers"]] == [server_id]
        await world.advance()
        there = await shown(root, server_id)
        assert (there["status"], there["OS-EXT-STS:vm_state"]) == ("VERIFY_RESIZE", "resized")
        assert there["flavor"]["original_name"] == "m1.small"
        assert there[HOST] != source
        assert claims(world) == {source: 64, there[HOST]: 2048}
        (row,) = await migrations(world)
        assert (row["status"], row["source_compute"], row["migration_type"]) == ("finished", source, "resize")
        assert (await act(amy, server_id, confirmResize=None)).status == 204
        await world.advance()
        assert (await shown(amy, server_id))["status"] == "ACTIVE"
        assert claims(world) == {there[HOST]: 2048}
        assert [row["status"] for row in await migrations(world)] == ["confirmed"]
        assert world.hypervisors[source].given(server_id) is None


@asynchronous
async def test_a_resize_that_is_reverted(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await boot(world, amy)
        before = await shown(root, server_id)
        await act(amy, server_id, resize={"flavorRef": "2"})
        await world.advance()
        assert (await act(amy, server_id, revertResize=None)).status == 202
        assert (await shown(amy, server_id))["status"] == "REVERT_RESIZE"
        await world.advance()
        after = await shown(root, server_id)
        for field in ("status", "flavor", HOST, "addresses"):
            assert after[field] == before[field]
        assert claims(world) == {before[HOST]: 64}
        assert [row["status"] for row in await migrations(world)] == ["reverted"]
        assert (await steps(amy, server_id, "revertResize"))[0] is None


@asynchronous
async def test_the_steps_of_a_resize(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await resized(world, amy)
        assert await steps(amy, server_id, "resize") == (None, [
            "compute_prep_resize Success", "compute_resize_instance Success", "compute_finish_resize Success",
        ])  # fmt: skip


@asynchronous
async def test_a_stopped_server_stays_off(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        await act(amy, server_id, **{"os-stop": None})
        await world.advance()
        await act(amy, server_id, resize={"flavorRef": "2"})
        await world.advance()
        server = await shown(amy, server_id)
        assert (server["status"], server["OS-EXT-STS:power_state"]) == ("VERIFY_RESIZE", 4)
        await act(amy, server_id, confirmResize=None)
        await world.advance()
        assert (await shown(amy, server_id))["status"] == "SHUTOFF"


@asynchronous
async def test_an_administrator_migrates_it_to_a_host_of_his_choice(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await boot(world, amy)
        source = (await shown(root, server_id))[HOST]
        other = next(name for name in world.hypervisors if name != source)
        assert (await act(amy, server_id, migrate=None)).status == 403
        assert (await act(root, server_id, migrate={"host": "nowhere"})).status == 400
        assert (await act(root, server_id, migrate={"host": source})).status == 400
        assert (await act(root, server_id, migrate={"host": other})).status == 202
        await world.advance()
        server = await shown(root, server_id)
        assert (server["status"], server[HOST]) == ("VERIFY_RESIZE", other)
        (row,) = await migrations(world, f"?instance_uuid={server_id}&status=finished&host={other}")
        assert (row["dest_compute"], row["migration_type"]) == (other, "migration")


@asynchronous
async def test_a_host_is_named_as_of_2_56_only(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root", "2.55")
        server_id = await boot(world, amy)
        assert (await act(root, server_id, migrate={"host": "nowhere"})).status == 202


@asynchronous
async def test_where_no_host_can_take_it_it_goes_on_where_it_is(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await boot(world, amy)
        source = (await shown(root, server_id))[HOST]
        await leave_only(world, source)
        await act(root, server_id, migrate=None)
        await world.advance()
        server = await shown(root, server_id)
        assert (server["status"], server[HOST]) == ("ACTIVE", source)
        message, told = await steps(root, server_id, "migrate")
        assert (message, told[0]) == ("Error", "conductor_migrate_server Error")
        assert [row["status"] for row in await migrations(world)] == ["error"]


@asynchronous
async def test_a_resize_within_the_only_host_that_can_bear_the_difference(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await boot(world, amy)
        source = (await shown(root, server_id))[HOST]
        await leave_only(world, source)
        await act(amy, server_id, resize={"flavorRef": "2"})
        await world.advance()
        there = await shown(root, server_id)
        assert (there["status"], there[HOST]) == ("VERIFY_RESIZE", source)
        assert claims(world) == {source: 2048}
        await act(amy, server_id, revertResize=None)
        await world.advance()
        assert (await shown(root, server_id))["status"] == "ACTIVE"
        assert claims(world) == {source: 64}


@asynchronous
async def test_when_the_targets_fail_the_server_is_back_and_the_reason_is_told(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await boot(world, amy)
        for hypervisor in world.hypervisors.values():
            hypervisor.behaviour["receive"].fail_next = 5
        await act(amy, server_id, resize={"flavorRef": "2"})
        await world.advance()
        server = await shown(root, server_id)
        assert (server["status"], server["flavor"]["original_name"]) == ("ACTIVE", "m1.tiny")
        message, told = await steps(root, server_id, "resize")
        assert message == "Error"
        assert "compute_finish_resize Error" in told
        assert sum(claims(world).values()) == 64


@pytest.mark.parametrize(("body", "status"), [
    ({"flavorRef": "1"}, 400), ({"flavorRef": "none"}, 400), ({"flavorRef": ""}, 400), ({}, 400),
    ({"flavorRef": "2", "more": 1}, 400), ({"flavorRef": 2}, 202),
    ({"flavorRef": "2", "OS-DCF:diskConfig": "AUTO"}, 202),
])  # fmt: skip
@asynchronous
async def test_what_a_resize_may_say(cloud: MakeWorld, body: dict[str, Any], status: int) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        assert (await act(amy, server_id, resize=body)).status == status


@asynchronous
async def test_the_quota_holds_what_it_shall_be_and_afterwards_what_it_is(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await boot(world, amy)
        quotas = f"/compute/v2.1/os-quota-sets/{(await shown(amy, server_id))['tenant_id']}"

        async def used() -> int:
            limits = (await amy.get("/compute/v2.1/limits")).body["limits"]["absolute"]
            return int(limits["totalRAMUsed"])

        assert (await root.put(quotas, {"quota_set": {"ram": 1000, "force": True}})).status == 200
        refused = await act(amy, server_id, resize={"flavorRef": "2"})
        assert (refused.status, await used()) == (403, 64)
        await root.put(quotas, {"quota_set": {"ram": -1}})
        await act(amy, server_id, resize={"flavorRef": "2"})
        assert await used() == 2048
        await world.advance()
        await act(amy, server_id, revertResize=None)
        await world.advance()
        assert await used() == 64


@asynchronous
async def test_nothing_but_the_users_word_is_taken_while_it_is_waited_for(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await resized(world, amy)
        refused: tuple[dict[str, Any], ...] = (
            {"os-stop": None}, {"reboot": {"type": "HARD"}}, {"resize": {"flavorRef": "1"}}, {"pause": None},
        )  # fmt: skip
        for action in refused:
            assert (await act(amy, server_id, **action)).status in {400, 409}
        other = await boot(world, amy)
        for action in ({"confirmResize": None}, {"revertResize": None}):
            assert (await act(amy, other, **action)).status == 409


@asynchronous
async def test_a_server_is_deleted_from_both_hosts(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await resized(world, amy)
        assert (await amy.delete(f"{SERVERS}/{server_id}")).status == 204
        await world.advance()
        assert (await amy.get(f"{SERVERS}/{server_id}")).status == 404
        assert claims(world) == {}
        for hypervisor in world.hypervisors.values():
            assert not await hypervisor.guests()
            assert hypervisor.given(server_id) is None


@asynchronous
async def test_migrations_in_pages_and_their_fields(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        ids = [await resized(world, amy) for _ in range(2)]
        both = await migrations(world)
        assert [row["instance_uuid"] for row in both] == ids[::-1]
        assert both[0]["id"] > both[1]["id"]
        assert await migrations(world, f"?limit=1&marker={both[0]['uuid']}") == both[1:]
        assert (await root.get(f"{MIGRATIONS}?marker=none")).status == 400
        assert "migrations_links" in (await root.get(f"{MIGRATIONS}?limit=1")).body
        (old, *_) = await migrations(world, version="2.1")
        assert set(both[0]) - set(old) == {"migration_type", "uuid", "user_id", "project_id"}
        assert (await amy.get(MIGRATIONS)).status == 403
        assert (await root.get(f"{SERVERS}/{ids[0]}/migrations")).body == {"migrations": []}
        assert (await root.get(f"{SERVERS}/{ids[0]}/migrations/{both[1]['id']}")).status == 404


@asynchronous
async def test_a_live_migration(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await boot(world, amy)
        source = (await shown(root, server_id))[HOST]
        asked: dict[str, Any] = {"host": None, "block_migration": "auto"}
        assert (await act(amy, server_id, **{"os-migrateLive": asked})).status == 403
        assert (await act(root, server_id, **{"os-migrateLive": asked})).status == 202
        assert (await shown(amy, server_id))["status"] == "MIGRATING"
        await world.advance()
        server = await shown(root, server_id)
        assert (server["status"], server[HOST] != source) == ("ACTIVE", True)
        assert claims(world) == {server[HOST]: 64}
        (row,) = await migrations(world)
        assert (row["status"], row["migration_type"], row["source_compute"]) == (
            "completed",
            "live-migration",
            source,
        )
        message, told = await steps(root, server_id, "live-migration")
        assert (message, told) == (None, [
            "conductor_live_migrate_instance Success", "compute_pre_live_migration Success",
            "compute_live_migration Success", "compute_post_live_migration_at_destination Success",
        ])  # fmt: skip


@asynchronous
async def test_a_live_migration_that_fails_leaves_the_guest_where_it_runs(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await boot(world, amy)
        source = (await shown(root, server_id))[HOST]
        world.hypervisors[source].behaviour["leave"].fail_next = 1
        await act(root, server_id, **{"os-migrateLive": {"host": None, "block_migration": "auto"}})
        await world.advance()
        server = await shown(root, server_id)
        assert (server["status"], server[HOST]) == ("ACTIVE", source)
        assert claims(world) == {source: 64}
        assert [row["status"] for row in await migrations(world)] == ["error"]
        others = [hypervisor for name, hypervisor in world.hypervisors.items() if name != source]
        assert [await other.guests() for other in others] == [[] for _ in others]


@pytest.mark.parametrize(("version", "body", "status"), [
    ("2.1", {"host": None, "block_migration": False, "disk_over_commit": False}, 202),
    ("2.1", {"host": None, "block_migration": "auto", "disk_over_commit": False}, 400),
    ("2.24", {"host": None, "block_migration": True}, 400),
    ("2.25", {"host": None, "block_migration": "auto"}, 202),
    ("2.25", {"host": None, "block_migration": "auto", "force": True}, 400),
    ("2.30", {"host": None, "block_migration": "auto", "force": False}, 202),
    ("2.68", {"host": None, "block_migration": "auto", "force": False}, 400),
    ("2.100", {"host": "nowhere", "block_migration": "auto"}, 400),
    ("2.100", {"host": None, "block_migration": "perhaps"}, 400),
    ("2.100", {"block_migration": "auto"}, 400),
])  # fmt: skip
@asynchronous
async def test_what_a_live_migration_may_say(
    cloud: MakeWorld, version: str, body: dict[str, Any], status: int
) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root", version)
        server_id = await boot(world, amy)
        assert (await act(root, server_id, **{"os-migrateLive": body})).status == status


@pytest.mark.parametrize(("minor", "query", "status"), [
    (58, "nonsense=1", 200), (59, "nonsense=1", 400), (59, "hidden=false&status=error", 200), (79, "user_id=u", 400),
    (80, "user_id=u", 200), (65, "changes-before=2026-01-01T00:00:00Z", 400),
    (66, "changes-before=2026-01-01T00:00:00Z", 200),
])  # fmt: skip
@asynchronous
async def test_names_of_the_query_are_refused_as_of_2_59(
    cloud: MakeWorld, minor: int, query: str, status: int
) -> None:
    async with cloud() as world:
        root = await world.client("root")
        assert (await root.at(f"2.{minor}").get(f"{MIGRATIONS}?{query}")).status == status
