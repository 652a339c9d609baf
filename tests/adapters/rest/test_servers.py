"""Servers, their actions, and the shapes at each microversion."""

import base64
import string

import msgspec
import pytest

from domain.catalogue import quota
from domain.errors import Unavailable
from domain.server.state import aggregate
from handlers.messages import ConsoleLogQuestion
from tests.adapters.rest.client import Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.world import BLUE, IMAGE, NETWORK, World, new_server
from tests.aio import asynchronous

SERVERS = "/compute/v2.1/servers"


async def boot(world: World, client: Client, **fields: object) -> str:
    answer = await client.post(SERVERS, new_server(**fields))
    assert answer.status == 202, answer
    server_id = answer.body["server"]["id"]
    await world.advance()
    return server_id


async def shown(client: Client, server_id: str) -> dict:
    return (await client.get(f"{SERVERS}/{server_id}")).body["server"]


async def shown_named(client: Client, name: str) -> dict:
    (found,) = (await client.get(SERVERS, name=name)).body["servers"]
    return found


@asynchronous
async def test_create(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        answer = await amy.post(SERVERS, new_server(metadata={"a": "b"}, tags=["t"], description="d"))
        assert answer.status == 202
        made = answer.body["server"]
        link = f"http://cloud.test/compute/v2.1/servers/{made['id']}"
        assert answer.headers["location"] == link
        assert made["links"][0] == {"rel": "self", "href": link}
        assert made["OS-DCF:diskConfig"] == "MANUAL"
        assert made["security_groups"] == [{"name": "default"}]
        assert len(made["adminPass"]) == 12
        assert set(made["adminPass"]) <= set(string.ascii_letters + string.digits) - set("Il1O0o")
        assert (world.settled[-1].cell, world.settled[-1].aggregate) == ("cell1", aggregate(made["id"]))
        assert world.settled[-1].position > 0
        server = await shown(amy, made["id"])
        assert (server["status"], server["OS-EXT-STS:task_state"]) == ("BUILD", "scheduling")
        await world.advance()
        server = await shown(amy, made["id"])
        assert (server["status"], server["OS-EXT-STS:vm_state"]) == ("ACTIVE", "active")
        assert server["addresses"]["private"][0]["addr"] == "10.0.0.3"
        assert server["addresses"]["private"][0]["OS-EXT-IPS-MAC:mac_addr"].startswith("fa:16:3e:")
        assert (server["metadata"], server["tags"], server["description"]) == ({"a": "b"}, ["t"], "d")
        assert server["image"]["id"] == IMAGE


@asynchronous
async def test_several(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        answer = await amy.post(SERVERS, new_server(min_count=2, max_count="3", return_reservation_id=True))
        assert list(answer.body) == ["reservation_id"]
        found = (await amy.get(SERVERS, reservation_id=answer.body["reservation_id"])).body["servers"]
        assert sorted(server["name"] for server in found) == ["web1-1", "web1-2", "web1-3"]


@asynchronous
async def test_what_a_damaged_cell_refuses_reserves_nothing(cloud: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    """Or it would count until somebody finds out that no server stands behind it."""

    async def refuse() -> None:
        raise Unavailable("The log of the cell is damaged.")

    async with cloud() as world:
        amy = await world.client("amy")
        monkeypatch.setattr(world.store, "require_writable", refuse)
        answer = await amy.post(SERVERS, new_server())
        _, status, words = answer.fault
        assert (status, words) == (503, "The log of the cell is damaged.")
        assert world.registry.of(quota.KIND, BLUE) is None


@asynchronous
async def test_quota(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        answer = await amy.post(SERVERS, new_server(min_count=11))
        assert answer.fault == (
            "forbidden",
            403,
            "Quota exceeded for instances: Requested 11, but already used 0 of 10 instances",
        )


@pytest.mark.parametrize(
    ("networks", "version", "addresses"),
    [("none", "2.104", 0), ("auto", "2.104", 1), ([{"uuid": NETWORK, "fixed_ip": "10.0.0.77"}], "2.104", 1),
     (None, "2.1", 1)],
)  # fmt: skip
@asynchronous
async def test_networks(cloud: MakeWorld, networks, version, addresses):
    async with cloud() as world:
        amy = await world.client("amy", version)
        server = await shown(amy, await boot(world, amy, networks=networks))
        assert sum(map(len, server["addresses"].values())) == addresses
        if isinstance(networks, list):
            assert server["addresses"]["private"][0]["addr"] == "10.0.0.77"


@asynchronous
async def test_user_data_is_sealed_not_readable(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        text = base64.b64encode(b"#!/bin/sh").decode()
        server_id = await boot(world, amy, user_data=text, adminPass="pa55word")
        server = await world.queries.server(server_id)
        assert server is not None
        assert server.secrets is not None
        assert text not in msgspec.json.encode(server).decode()
        opened = await world.vault.unseal(server_id, server.secrets)
        assert msgspec.json.decode(opened or b"") == {"admin_pass": "pa55word", "user_data": text}
        plain = await world.queries.server(await boot(world, amy))
        assert plain is not None
        assert plain.secrets is None


@asynchronous
async def test_what_only_some_versions_show(cloud: MakeWorld):
    since = {
        "locked": 9, "host_status": 16, "description": 19, "tags": 26, "trusted_image_certificates": 63,
        "server_groups": 71, "locked_reason": 73, "pinned_availability_zone": 96, "scheduler_hints": 100,
        "OS-EXT-SRV-ATTR:reservation_id": 3,
    }  # fmt: skip
    async with cloud() as world:
        root = await world.client("root")
        server_id = await boot(world, root)
        for minor in range(1, 105):
            server = await shown(root.at(f"2.{minor}"), server_id)
            for field, first in since.items():
                assert (field in server) == (minor >= first), (field, minor)
            assert ("id" in server["flavor"]) == (minor < 47)
            assert ("original_name" in server["flavor"]) == (minor >= 47)
            assert ("properties" in server["image"]) == (minor >= 98)
        amy = await world.client("amy")
        mine = await boot(world, amy)
        assert "OS-EXT-SRV-ATTR:hostname" not in await shown(amy.at("2.89"), mine)
        assert (await shown(amy.at("2.90"), mine))["OS-EXT-SRV-ATTR:hostname"] == "web1"
        detail = (await amy.get(f"{SERVERS}/detail")).body["servers"][0]
        assert "server_groups" not in detail


@asynchronous
async def test_a_fault_is_shown_and_its_details_are_the_administrators(cloud: MakeWorld):
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = (await amy.post(SERVERS, new_server())).body["server"]["id"]
        for hypervisor in world.hypervisors.values():
            hypervisor.behaviour["build"].fail_next = 1
        await world.advance()
        server = await shown(amy, server_id)
        assert server["status"] == "ERROR"
        assert server["fault"]["message"].startswith("No valid host was found.")
        assert server["fault"]["message"].endswith("The simulated host failed.")
        assert "details" not in server["fault"]
        assert (await shown(root, server_id))["fault"]["details"].endswith("Of 2 hosts, not_tried_before removed 2.")


@asynchronous
async def test_actions_on_the_power(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        for body, status, after in (
            ({"os-stop": None}, "ACTIVE", "SHUTOFF"),
            ({"os-start": None}, "SHUTOFF", "ACTIVE"),
            ({"reboot": {"type": "SOFT"}}, "REBOOT", "ACTIVE"),
            ({"reboot": {"type": "HARD"}}, "HARD_REBOOT", "ACTIVE"),
            ({"pause": None}, "ACTIVE", "PAUSED"),
            ({"unpause": None}, "PAUSED", "ACTIVE"),
            ({"suspend": None}, "ACTIVE", "SUSPENDED"),
            ({"resume": None}, "SUSPENDED", "ACTIVE"),
        ):
            answer = await amy.post(f"{SERVERS}/{server_id}/action", body)
            assert (answer.status, answer.content) == (202, b"")
            assert (await shown(amy, server_id))["status"] == status
            await world.advance()
            assert (await shown(amy, server_id))["status"] == after


@asynchronous
async def test_a_reset_state(cloud: MakeWorld):
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await boot(world, amy)
        path = f"{SERVERS}/{server_id}"
        asked = {"os-resetState": {"state": "error"}}
        assert (await amy.post(f"{path}/action", asked)).status == 403
        assert (await root.post(f"{path}/action", {"os-resetState": {"state": "stopped"}})).status == 400
        assert (await amy.post(f"{path}/action", {"os-stop": None})).status == 202
        answer = await root.post(f"{path}/action", asked)
        assert (answer.status, answer.content) == (202, b"")
        server = await shown(amy, server_id)
        assert (server["status"], server["OS-EXT-STS:task_state"]) == ("ERROR", None)
        actions = (await amy.get(f"{path}/os-instance-actions")).body["instanceActions"]
        assert {action["action"]: action["message"] for action in actions} == {"create": None, "stop": "Error"}
        assert (await root.post(f"{path}/action", {"os-resetState": {"state": "active"}})).status == 202
        assert (await shown(amy, server_id))["status"] == "ACTIVE"


@asynchronous
async def test_actions_by_when_they_changed(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        path = f"{SERVERS}/{await boot(world, amy)}/os-instance-actions"
        early, late = "2000-01-01T00:00:00", "2999-01-01T00:00:00"

        async def found(query: str) -> int:
            return len((await amy.at("2.66").get(f"{path}?{query}")).body["instanceActions"])

        assert [await found(f"changes-since={time}") for time in (early, late)] == [1, 0]
        assert [await found(f"changes-before={time}") for time in (early, late)] == [0, 1]
        assert await found(f"changes-since={early}&changes-before={late}") == 1
        assert (await amy.at("2.66").get(f"{path}?changes-since={late}&changes-before={early}")).status == 400
        assert (await amy.at("2.65").get(f"{path}?changes-before={late}")).status == 400


@asynchronous
async def test_an_action_in_the_wrong_state(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        answer = await amy.post(f"{SERVERS}/{server_id}/action", {"os-start": None})
        assert answer.fault == (
            "conflictingRequest",
            409,
            f"Cannot 'start' instance {server_id} while it is in vm_state active",
        )


@asynchronous
async def test_what_is_not_offered_says_so(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        answer = await amy.post(f"{SERVERS}/{server_id}/action", {"createBackup": None})
        assert answer.fault[:2] == ("notImplemented", 501)
        changed = await amy.put(f"{SERVERS}/{server_id}", {"server": {"OS-DCF:diskConfig": "AUTO"}})
        assert changed.fault[:2] == ("notImplemented", 501)


@asynchronous
async def test_rename_and_delete(cloud: MakeWorld):
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await boot(world, amy)
        answer = await amy.put(f"{SERVERS}/{server_id}", {"server": {"name": "db1"}})
        assert answer.body["server"]["name"] == "db1"
        gone = await amy.delete(f"{SERVERS}/{server_id}")
        assert (gone.status, gone.content) == (204, b"")
        assert (await shown(amy, server_id))["OS-EXT-STS:task_state"] == "deleting"
        await world.advance()
        assert (await amy.get(f"{SERVERS}/{server_id}")).status == 404
        assert (await amy.delete(f"{SERVERS}/{server_id}")).status == 404
        assert (await amy.get(SERVERS)).body["servers"] == []
        deleted = (await root.get(f"{SERVERS}/detail?deleted=True&all_tenants=1")).body["servers"]
        assert [(server["id"], server["status"]) for server in deleted] == [(server_id, "DELETED")]


@asynchronous
async def test_pages(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        ids = set()
        for number in range(5):
            world.clock.advance(1)
            ids.add((await amy.post(SERVERS, new_server(name=f"web{number}"))).body["server"]["id"])
        path, seen = f"{SERVERS}?limit=2", []
        while path:
            answer = (await amy.get(path)).body
            assert len(answer["servers"]) <= 2
            seen += [server["id"] for server in answer["servers"]]
            more = answer.get("servers_links", [])
            path = more[0]["href"].removeprefix("http://cloud.test") if more else None
        assert len(seen) == len(set(seen)) == 5
        assert set(seen) == ids
        names = [one["name"] for one in (await amy.get(f"{SERVERS}?sort_key=name&sort_dir=asc")).body["servers"]]
        assert names == [f"web{number}" for number in range(5)]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=web", {"web1", "web2"}),
        ("name=web1", {"web1"}),
        ("name=^w.b2$", {"web2"}),
        ("status=ACTIVE", {"web1", "db1"}),
        ("status=shutoff", {"web2"}),
        ("status=ACTIVE&status=SHUTOFF", {"web1", "web2", "db1"}),
        ("status=REBOOT", set()),
        ("status=SHELVED", set()),
        ("vm_state=stopped", {"web2"}),
        ("flavor=2", {"db1"}),
        ("limit=0", set()),
        ("tags-any=x,a", {"db1"}),
        ("ip=^10.0.0.3$", {"web1"}),
        ("locked=true", {"web1"}),
    ],
)
@asynchronous
async def test_filters(cloud: MakeWorld, query, names):
    async with cloud() as world:
        amy = await world.client("amy")
        await boot(world, amy, name="web1")
        await amy.post(f"{SERVERS}/{(await shown_named(amy, 'web1'))['id']}/action", {"lock": None})
        stopped = await boot(world, amy, name="web2")
        await boot(world, amy, name="db1", flavorRef="2", tags=["a"])
        await amy.post(f"{SERVERS}/{stopped}/action", {"os-stop": None})
        await world.advance()
        assert {server["name"] for server in (await amy.get(f"{SERVERS}?{query}")).body["servers"]} == names


@asynchronous
async def test_instance_actions(cloud: MakeWorld):
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        created = await amy.post(SERVERS, new_server())
        server_id = created.body["server"]["id"]
        request_id = created.headers["x-openstack-request-id"]
        await world.advance()
        world.clock.advance(5)
        await amy.delete(f"{SERVERS}/{server_id}")
        await world.advance()
        at = f"{SERVERS}/{server_id}/os-instance-actions"
        actions = (await amy.get(at)).body["instanceActions"]
        assert [action["action"] for action in actions] == ["delete", "create"]
        action = (await amy.get(f"{at}/{request_id}")).body["instanceAction"]
        assert action["request_id"] == request_id
        assert [(event["event"], event["result"]) for event in action["events"]] == [
            ("conductor_schedule_and_build_instances", "Success"),
            ("compute__do_build_and_run_instance", "Success"),
        ]
        assert "host" not in action["events"][1]
        assert len(action["events"][1]["hostId"]) == 56
        full = (await root.get(f"{at}/{request_id}")).body["instanceAction"]
        assert full["events"][1]["host"] == "node1"
        assert "events" not in (await amy.at("2.50").get(f"{at}/{request_id}")).body["instanceAction"]
        assert "updated_at" not in (await amy.at("2.57").get(at)).body["instanceActions"][0]
        assert (await amy.at("2.20").get(at)).status == 404, "of a deleted server only from 2.21 on"
        assert (await amy.get(f"{at}/req-none")).status == 404


def printed(asked: ConsoleLogQuestion) -> bytes:
    lines = [b"one\n", b"two\x00\n", b"three\n"]
    return b"".join(lines if asked.lines is None else lines[-asked.lines :])


@asynchronous
async def test_console_log(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        at = f"{SERVERS}/{await boot(world, amy)}/action"
        async with world.answering(printed):
            assert (await amy.post(at, {"os-getConsoleOutput": {}})).body == {"output": "one\ntwo\nthree\n"}
            assert (await amy.post(at, {"os-getConsoleOutput": {"length": "1"}})).body == {"output": "three\n"}
        waiting = (await amy.post(SERVERS, new_server())).body["server"]["id"]
        answer = await amy.post(f"{SERVERS}/{waiting}/action", {"os-getConsoleOutput": {}})
        assert answer.fault == ("conflictingRequest", 409, f"Instance {waiting} is not ready")


@asynchronous
async def test_the_request_id_is_everywhere(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        outer = "req-12345678-1234-4234-8234-123456789abc"
        answer = await amy.post(SERVERS, new_server(), headers={"X-Openstack-Request-Id": outer})
        request_id = answer.headers["x-openstack-request-id"]
        assert request_id.startswith("req-")
        assert request_id != outer
        (first,) = await world.store.load(aggregate(answer.body["server"]["id"]))
        assert (first.meta.request_id, first.meta.global_request_id) == (request_id, outer)
        assert first.meta.project_id == (await world.queries.server(first.aggregate.id)).project_id
        forged = await amy.post(SERVERS, new_server(), headers={"X-Openstack-Request-Id": "req-1\nfake line"})
        (second,) = await world.store.load(aggregate(forged.body["server"]["id"]))
        assert second.meta.global_request_id is None
