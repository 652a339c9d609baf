"""Server groups over the API: their shapes, their limits, and where their members go."""

from typing import Any

import pytest

from handlers.conducting import remains
from tests.adapters.rest.client import Answer, Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_evacuate import declare, evacuated
from tests.adapters.rest.test_moves import HOST, act
from tests.adapters.rest.test_servers import SERVERS, shown
from tests.adapters.rest.world import BLUE, HOST_IDS, World, new_server, user_id
from tests.aio import asynchronous

GROUPS = "/compute/v2.1/os-server-groups"
QUOTAS = "/compute/v2.1/os-quota-sets"
NOWHERE = "00000000-0000-4000-8000-00000000dead"


async def made(client: Client, policy: str, **more: Any) -> str:
    answer = await client.post(GROUPS, {"server_group": {"name": "g", "policy": policy, **more}})
    assert answer.status == 200, answer
    return str(answer.body["server_group"]["id"])


async def hinted(client: Client, hints: dict[str, Any], **fields: Any) -> Answer:
    return await client.post(SERVERS, new_server(**fields) | {"os:scheduler_hints": hints})


async def member(world: World, client: Client, group: str, **fields: Any) -> str:
    """A server of the group, when it is there, or has failed."""
    answer = await hinted(client, {"group": group}, **fields)
    assert answer.status == 202, answer
    await world.advance()
    return str(answer.body["server"]["id"])


async def host_of(world: World, server_id: str) -> str:
    return str((await shown(await world.client("root"), server_id))[HOST])


async def reason(client: Client, server_id: str) -> str:
    """Why the newest action on a server has failed."""
    path = f"{SERVERS}/{server_id}/os-instance-actions"
    newest = (await client.get(path)).body["instanceActions"][0]
    events = (await client.get(f"{path}/{newest['request_id']}")).body["instanceAction"]["events"]
    return " ".join(str(event["details"]) for event in events)


@asynchronous
async def test_the_shapes_at_each_microversion(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        old = {"server_group": {"name": "g", "policies": ["anti-affinity"]}}
        first = (await amy.at("2.1").post(GROUPS, old)).body["server_group"]
        least = {"id": first["id"], "name": "g", "policies": ["anti-affinity"], "members": [], "metadata": {}}
        assert first == least
        owners = {"project_id": BLUE, "user_id": user_id("amy")}
        for version, document in (("2.12", least), ("2.13", least | owners), ("2.63", least | owners)):
            assert (await amy.at(version).get(f"{GROUPS}/{first['id']}")).body == {"server_group": document}
        newer = {"id": first["id"], "name": "g", "policy": "anti-affinity", "rules": {}, "members": []} | owners
        assert (await amy.at("2.64").get(f"{GROUPS}/{first['id']}")).body == {"server_group": newer}
        soft = {"server_group": {"name": "s", "policies": ["soft-affinity"]}}
        assert (await amy.at("2.14").post(GROUPS, soft)).fault[:2] == ("badRequest", 400)
        assert (await amy.at("2.15").post(GROUPS, soft)).status == 200
        rules = {"name": "r", "policy": "anti-affinity", "rules": {"max_server_per_host": "3"}}
        ruled = (await amy.post(GROUPS, {"server_group": rules})).body["server_group"]
        assert ruled["rules"] == {"max_server_per_host": 3}
        assert [group["name"] for group in (await amy.get(GROUPS)).body["server_groups"]] == ["g", "s", "r"]
        page = await amy.get(GROUPS, limit=1, offset=1)
        assert [group["name"] for group in page.body["server_groups"]] == ["s"]
        assert (await amy.get(GROUPS, offset=9)).body == {"server_groups": []}
        assert (await amy.delete(f"{GROUPS}/{first['id']}")).status == 204
        missing = ("itemNotFound", 404, f"Instance group {first['id']} could not be found.")
        assert (await amy.get(f"{GROUPS}/{first['id']}")).fault == missing
        assert (await amy.delete(f"{GROUPS}/{first['id']}")).fault == missing


@pytest.mark.parametrize(
    ("version", "group"),
    [
        ("2.63", {"name": "g"}),
        ("2.63", {"name": "g", "policies": []}),
        ("2.63", {"name": "g", "policies": ["affinity", "affinity"]}),
        ("2.63", {"name": "g", "policies": ["legacy"]}),
        ("2.63", {"name": "g", "policy": "affinity"}),
        ("2.64", {"name": "g", "policies": ["affinity"]}),
        ("2.64", {"name": "g"}),
        ("2.64", {"policy": "affinity"}),
        ("2.64", {"name": " g", "policy": "affinity"}),
        ("2.64", {"name": "g", "policy": "affinity", "rules": {"max_server_per_host": 2}}),
        ("2.64", {"name": "g", "policy": "anti-affinity", "rules": {"max_server_per_host": 0}}),
        ("2.64", {"name": "g", "policy": "anti-affinity", "rules": {"max_server_per_host": "x"}}),
        ("2.64", {"name": "g", "policy": "anti-affinity", "rules": {"other": 2}}),
        ("2.64", {"name": "g", "policy": "affinity", "metadata": {}}),
    ],
)
@asynchronous
async def test_bad_groups(cloud: MakeWorld, version: str, group: dict[str, Any]) -> None:
    async with cloud() as world:
        amy = await world.client("amy", version)
        answer = await amy.post(GROUPS, {"server_group": group})
        assert answer.fault[:2] == ("badRequest", 400), answer
        assert (await amy.get(GROUPS)).body == {"server_groups": []}


@asynchronous
async def test_whose_groups_they_are(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, rob, eve, root = [await world.client(name) for name in ("amy", "rob", "eve", "root")]
        group = await made(amy, "affinity")
        assert (await rob.get(f"{GROUPS}/{group}")).status == 200
        assert (await rob.delete(f"{GROUPS}/{group}")).status == 403
        assert (await rob.post(GROUPS, {"server_group": {"name": "g", "policy": "affinity"}})).status == 403
        for ask in (eve.get, eve.delete):
            assert (await ask(f"{GROUPS}/{group}")).status == 404
        assert (await hinted(eve, {"group": group})).fault[:2] == ("badRequest", 400)
        for client in (eve, root):
            assert (await client.get(GROUPS)).body == {"server_groups": []}
        assert (await eve.get(GROUPS, all_projects="1")).body == {"server_groups": []}, "as Nova ignores it"
        assert [one["id"] for one in (await root.get(GROUPS, all_projects="")).body["server_groups"]] == [group]
        assert (await root.get(f"{GROUPS}/{group}")).body["server_group"]["project_id"] == BLUE
        for bad in ({"limit": "x"}, {"offset": "-1"}, {"marker": group}):
            assert (await amy.get(GROUPS, **bad)).status == 400
        assert (await root.delete(f"{GROUPS}/{group}")).status == 204


@asynchronous
async def test_the_limits(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        limits = {"server_groups": 2, "server_group_members": 1}
        changed = (await root.put(f"{QUOTAS}/{BLUE}", {"quota_set": limits})).body["quota_set"]
        assert limits.items() <= changed.items()
        group = await made(amy, "soft-affinity")
        await made(amy, "affinity")
        refused = await amy.post(GROUPS, {"server_group": {"name": "g", "policy": "affinity"}})
        assert refused.fault == ("forbidden", 403, "Quota exceeded, too many server groups.")
        server_id = await member(world, amy, group)
        assert (await hinted(amy, {"group": group})).fault == (
            "forbidden", 403, "Quota exceeded, too many servers in group",
        )  # fmt: skip
        assert (await amy.get(f"{GROUPS}/{group}")).body["server_group"]["members"] == [server_id]
        absolute = (await amy.get("/compute/v2.1/limits")).body["limits"]["absolute"]
        shown_limits = ("maxServerGroups", "maxServerGroupMembers", "totalServerGroupsUsed")
        assert [absolute[name] for name in shown_limits] == [2, 1, 2]
        detail = (await root.get(f"{QUOTAS}/{BLUE}/detail")).body["quota_set"]
        assert detail["server_groups"] == {"limit": 2, "in_use": 2, "reserved": 0}
        assert (await root.put(f"{QUOTAS}/{BLUE}", {"quota_set": {"server_groups": 1}})).status == 400
        assert (await amy.delete(f"{SERVERS}/{server_id}")).status == 204
        await world.advance()
        assert (await amy.get(f"{GROUPS}/{group}")).body["server_group"]["members"] == []
        await member(world, amy, group)


@asynchronous
async def test_one_on_each_host_and_what_there_is_to_say_when_all_are_taken(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        group = await made(amy, "anti-affinity")
        first, second, third = [await member(world, amy, group) for _ in range(3)]
        assert {await host_of(world, first), await host_of(world, second)} == {"node1", "node2"}
        failed = await shown(root, third)
        assert failed["status"] == "ERROR"
        assert failed["fault"]["message"].endswith("the anti-affinity policy of its server group ruled out 2.")
        assert "anti-affinity removed 2" in failed["fault"]["details"]
        assert "details" not in (await shown(amy, third))["fault"]
        server = await shown(amy, first)
        assert (server["server_groups"], server["scheduler_hints"]) == ([group], {"group": group})
        assert "server_groups" not in await shown(amy.at("2.70"), first)
        await amy.delete(f"{SERVERS}/{second}")
        await world.advance()
        fourth = await member(world, amy, group)
        assert (await shown(amy, fourth))["status"] == "ACTIVE"
        assert (await amy.get(f"{GROUPS}/{group}")).body["server_group"]["members"] == [first, third, fourth]


@asynchronous
async def test_every_move_keeps_the_policy_or_says_that_it_cannot(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        group = await made(amy, "anti-affinity")
        first, second = [await member(world, amy, group) for _ in range(2)]
        here, there = await host_of(world, first), await host_of(world, second)
        for action in (
            {"migrate": None},
            {"migrate": {"host": there}},
            {"os-migrateLive": {"host": None, "block_migration": "auto"}},
            {"os-migrateLive": {"host": there, "block_migration": "auto"}},
        ):
            world.clock.advance(1.0)  # or nobody could say which action is the newest
            assert (await act(root, first, **action)).status == 202
            await world.advance()
            server = await shown(root, first)
            assert (server["status"], server[HOST]) == ("ACTIVE", here), action
            assert "anti-affinity policy of its server group ruled out 1" in await reason(amy, first), action
        # Another size needs no other host.
        assert (await act(amy, first, resize={"flavorRef": "2"})).status == 202
        await world.advance()
        server = await shown(root, first)
        assert (server["status"], server[HOST]) == ("VERIFY_RESIZE", here)


@asynchronous
async def test_who_is_put_away_comes_back_to_its_group(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        group = await made(amy, "affinity")
        first, second = [await member(world, amy, group) for _ in range(2)]
        home = await host_of(world, first)
        assert await host_of(world, second) == home
        assert (await act(amy, second, shelve=None)).status == 202
        await world.advance()
        root = await world.client("root")
        if (await shown(amy, second))["status"] == "SHELVED":
            assert (await act(root, second, shelveOffload=None)).status == 202
            await world.advance()
        assert (await act(amy, second, unshelve=None)).status == 202
        await world.advance()
        assert ((await shown(amy, second))["status"], await host_of(world, second)) == ("ACTIVE", home)


@asynchronous
async def test_a_deleted_group_holds_nobody(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        group = await made(amy, "anti-affinity")
        first, second = [await member(world, amy, group) for _ in range(2)]
        # It is deleted while somebody is on his way.
        third = (await hinted(amy, {"group": group})).body["server"]["id"]
        assert (await amy.delete(f"{GROUPS}/{group}")).status == 204
        await world.advance()
        assert (await shown(amy, third))["status"] == "ACTIVE"
        assert (await shown(amy, first))["server_groups"] == []
        assert (await hinted(amy, {"group": group})).status == 400
        there = await host_of(world, second)
        assert (await act(root, first, migrate={"host": there})).status == 202
        await world.advance()
        assert await host_of(world, first) == there


@asynchronous
async def test_who_was_evacuated_is_followed_though_its_old_host_is_dead(
    cloud: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remains, "LOOK_SECONDS", 0.0)
    async with cloud() as world:
        amy = await world.client("amy")
        group = await made(amy, "affinity")
        await hinted(amy, {"group": group})
        await world.advance()
        (server_id,) = (await amy.get(f"{GROUPS}/{group}")).body["server_group"]["members"]
        root, source = await world.client("root"), await host_of(world, server_id)
        other = "node2" if source == "node1" else "node1"
        await world.stop(source)
        await declare(root, source, dead=True)
        assert (await evacuated(world, root, server_id))[HOST] == other

        async def is_left() -> bool:
            return list(world.ledger.writer.state.groups.get(group, {})) == [HOST_IDS[other]]

        await world.advance_until(is_left)
        follower = (await hinted(amy, {"group": group})).body["server"]["id"]

        async def is_there() -> bool:
            return (await shown(root, follower))["status"] in ("ACTIVE", "ERROR")

        await world.advance_until(is_there)
        assert ((await shown(root, follower))["status"], await host_of(world, follower)) == ("ACTIVE", other)


@pytest.mark.parametrize(
    ("hints", "status"),
    [
        ({"group": NOWHERE}, 400),
        ({"group": "web"}, 400),
        ({"group": None}, 400),
        ({"group": [NOWHERE]}, 400),
        ({"same_host": "web"}, 400),
        ({"same_host": 7}, 400),
        ({"different_host": [NOWHERE, "web"]}, 400),
        ({"different_host": [NOWHERE] * 101}, 400),
        ({"build_near_host_ip": "nowhere"}, 400),
        ({"build_near_host_ip": "10.0.0.1", "cidr": "24"}, 400),
        ({"query": '[">=", "$free_ram_mb", 1024]'}, 501),
        ({"different_host": [NOWHERE], "of_our_own_filter": {"any": 1}}, 202),
    ],
)
@asynchronous
async def test_hints(cloud: MakeWorld, hints: dict[str, Any], status: int) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        for name in ("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"):
            answer = await amy.post(SERVERS, new_server() | {name: hints})
            assert answer.status == status, answer
        if status == 501:
            assert "query" in answer.fault[2]


@asynchronous
async def test_with_whom_a_server_shares_its_host(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        first = (await hinted(amy, {})).body["server"]["id"]
        await world.advance()
        home = await host_of(world, first)
        for hints, same in (({"same_host": [first]}, True), ({"different_host": first}, False)):
            for _ in range(2):
                server_id = (await hinted(amy, hints)).body["server"]["id"]
                await world.advance()
                assert (await host_of(world, server_id) == home) == same
                assert (await shown(amy, server_id))["scheduler_hints"] == {next(iter(hints)): first}
        lost = (await hinted(amy, {"same_host": NOWHERE})).body["server"]["id"]
        await world.advance()
        assert (await shown(amy, lost))["fault"]["message"].endswith("the hint same_host ruled out 2.")
