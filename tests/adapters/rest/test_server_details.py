"""Names, metadata, tags and locks of servers, and their shapes at each microversion."""

from typing import Any

import pytest

from tests.adapters.rest.client import Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_servers import SERVERS, boot, shown
from tests.adapters.rest.world import IMAGE
from tests.aio import asynchronous


@asynchronous
async def test_metadata(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, rob = await world.client("amy"), await world.client("rob")
        server_id = await boot(world, amy, metadata={"a": "1", "b": "2"})
        at = f"{SERVERS}/{server_id}/metadata"
        both = {"metadata": {"a": "1", "b": "3", "c": "4"}}
        answer = await amy.post(at, {"metadata": {"b": "3", "c": "4"}})
        assert (answer.status, answer.body) == (200, both)
        assert (await rob.get(at)).body == both
        assert (await amy.put(f"{at}/a", {"meta": {"a": "5"}})).body == {"meta": {"a": "5"}}
        assert (await amy.put(at, {"metadata": {"z": "9"}})).body == {"metadata": {"z": "9"}}
        assert (await shown(amy, server_id))["metadata"] == {"z": "9"}
        assert (await amy.delete(f"{at}/z")).status == 204
        assert (await amy.delete(f"{at}/z")).fault[:2] == ("itemNotFound", 404)
        assert (await rob.post(at, {"metadata": {}})).status == 403


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {"metadata": {"": "empty"}}, 400),
        ("POST", "", {"metadata": {"k" * 256: "long"}}, 400),
        ("POST", "", {"metadata": {"k": "v" * 256}}, 400),
        ("POST", "", {"metadata": {"k": 7}}, 400),
        ("POST", "", {"metadata": None}, 400),
        ("POST", "", {"metadata": {}, "more": 1}, 400),
        ("POST", "", {"metadata": {str(n): "" for n in range(129)}}, 403),
        ("PUT", "/a", {"meta": {"a": "1", "b": "2"}}, 400),
        ("PUT", "/a", {"meta": {"b": "2"}}, 400),
        ("PUT", "/a", {"meta": {}}, 400),
    ],
)
@asynchronous
async def test_bad_metadata(cloud: MakeWorld, method: str, path: str, body: dict[str, Any], status: int) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy, metadata={"kept": "yes"})
        answer = await amy.request(method, f"{SERVERS}/{server_id}/metadata{path}", body=body)
        assert answer.status == status
        assert (await shown(amy, server_id))["metadata"] == {"kept": "yes"}


@asynchronous
async def test_tags(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy, tags=["one"])
        at = f"{SERVERS}/{server_id}/tags"
        answer = await amy.put(f"{at}/two", None)
        assert answer.status == 201
        assert answer.headers["location"] == f"http://cloud.test{at}/two"
        assert (await amy.put(f"{at}/two", None)).status == 204
        assert (await amy.get(at)).body == {"tags": ["one", "two"]}
        assert (await amy.put(at, {"tags": ["x", "y", "x"]})).body == {"tags": ["x", "y"]}
        assert (await amy.delete(f"{at}/x")).status == 204
        assert (await amy.delete(f"{at}/x")).status == 404
        for bad in ("a,b", "a" * 61):
            assert (await amy.put(f"{at}/{bad}", None)).status == 400
        for bad_tags in (["a/b"], [""], [7], ["t"] * 51, "t"):
            assert (await amy.put(at, {"tags": bad_tags})).status == 400
        assert (await shown(amy, server_id))["tags"] == ["y"]
        assert (await amy.delete(at)).status == 204
        assert (await amy.get(at)).body == {"tags": []}
        assert (await amy.at("2.25").put(f"{at}/two", None)).status == 404


@asynchronous
async def test_names(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy, description="old")
        asked = {"name": "db1", "description": None, "hostname": "inside"}
        changed = (await amy.put(f"{SERVERS}/{server_id}", {"server": asked})).body["server"]
        assert (changed["name"], changed["description"]) == ("db1", None)
        assert changed["OS-EXT-SRV-ATTR:hostname"] == "inside"
        refused = {"name": "db2", "hostname": "not a name"}
        assert (await amy.put(f"{SERVERS}/{server_id}", {"server": refused})).status == 400
        assert (await shown(amy, server_id))["name"] == "db1"
        old = amy.at("2.18")
        assert (await old.put(f"{SERVERS}/{server_id}", {"server": {"description": "new"}})).status == 400


async def act(client: Client, server_id: str, **action: Any) -> Any:
    return await client.post(f"{SERVERS}/{server_id}/action", action)


@asynchronous
async def test_a_lock(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await boot(world, amy)
        answer = await act(amy, server_id, lock={"locked_reason": "payday"})
        assert (answer.status, answer.content) == (202, b"")
        server = await shown(amy, server_id)
        assert (server["locked"], server["locked_reason"]) == (True, "payday")
        for action in (
            {"os-stop": None}, {"reboot": {"type": "HARD"}}, {"rebuild": {"imageRef": IMAGE}}, {"rescue": None},
        ):  # fmt: skip
            assert (await act(amy, server_id, **action)).fault[2] == f"Instance {server_id} is locked"
        assert (await amy.delete(f"{SERVERS}/{server_id}")).status == 409
        assert (await amy.put(f"{SERVERS}/{server_id}/metadata", {"metadata": {}})).status == 409
        # What the guest does not notice is free.
        assert (await amy.put(f"{SERVERS}/{server_id}", {"server": {"name": "still"}})).status == 200
        assert (await act(root, server_id, **{"os-stop": None})).status == 202
        await world.advance()
        assert (await act(amy, server_id, unlock=None)).status == 202
        server = await shown(amy, server_id)
        assert (server["locked"], server["locked_reason"]) == (False, None)
        assert (await act(amy, server_id, **{"os-start": None})).status == 202
        actions = (await amy.get(f"{SERVERS}/{server_id}/os-instance-actions")).body["instanceActions"]
        assert {"lock", "unlock"} <= {action["action"] for action in actions}


@asynchronous
async def test_an_administrators_lock(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await boot(world, amy)
        assert (await act(root, server_id, lock=None)).status == 202
        refused = await act(amy, server_id, unlock=None)
        assert refused.status == 403
        assert "unlock_override" in refused.fault[2]
        assert (await act(root, server_id, unlock=None)).status == 202


@pytest.mark.parametrize(
    ("version", "lock"),
    [("2.72", {"locked_reason": "x"}), ("2.73", {"locked_reason": ""}), ("2.73", {"locked_reason": "x" * 256}),
     ("2.73", {"reason": "x"}), ("2.73", "x")],
)  # fmt: skip
@asynchronous
async def test_bad_locks(cloud: MakeWorld, version: str, lock: Any) -> None:
    async with cloud() as world:
        server_id = await boot(world, await world.client("amy"))
        amy = await world.client("amy", version)
        assert (await act(amy, server_id, lock=lock)).status == 400


@asynchronous
async def test_access_addresses(cloud: MakeWorld) -> None:
    """What its owner says; nothing goes by it."""
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy, accessIPv4="192.0.2.1")
        path = f"{SERVERS}/{server_id}"

        async def told() -> tuple[str, str]:
            server = await shown(amy, server_id)
            return server["accessIPv4"], server["accessIPv6"]

        assert await told() == ("192.0.2.1", "")
        changed = (await amy.put(path, {"server": {"accessIPv6": "2001:db8::1"}})).body["server"]
        assert (changed["accessIPv4"], changed["accessIPv6"]) == ("192.0.2.1", "2001:db8::1")
        rebuilt = {"rebuild": {"imageRef": IMAGE, "accessIPv4": "192.0.2.7"}}
        assert (await amy.post(f"{path}/action", rebuilt)).status == 202
        await world.advance()
        assert await told() == ("192.0.2.7", "2001:db8::1")
        for name, wrong in (
            ("accessIPv4", "2001:db8::1"),
            ("accessIPv6", "192.0.2.1"),
            ("accessIPv4", "x"),
            ("accessIPv6", ""),
        ):
            answer = await amy.put(path, {"server": {name: wrong}})
            assert answer.fault[:2] == ("badRequest", 400)
            assert name in answer.fault[2]
