"""Attachments of volumes, as records."""

from typing import Any

import pytest

from tests.adapters.rest.client import Answer, Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.volumes import ATTACHMENTS, SNAPSHOTS, VOLUMES, act, at, create, shown, user
from tests.aio import asynchronous

ONE, OTHER = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "45")
CONNECTOR = {"host": "node1", "ip": "10.0.0.1", "mountpoint": "/dev/vdb", "multipath": False, "initiator": None}


async def attach(client: Client, volume_id: str, server: str | None = ONE, **fields: Any) -> Answer:
    body = {"volume_uuid": volume_id, "instance_uuid": server} | fields
    return await client.post(ATTACHMENTS, {"attachment": body})


async def reserved(client: Client, volume_id: str, server: str = ONE, **fields: Any) -> str:
    answer = await attach(client, volume_id, server, **fields)
    assert answer.status == 200, answer
    return str(answer.body["attachment"]["id"])


@asynchronous
async def test_the_life_of_an_attachment(cloud: MakeWorld):
    async with cloud() as here:
        amy, eve = await user(here, "amy"), await user(here, "eve")
        volume_id = await create(amy)
        assert (await attach(amy, volume_id)).status == 400, "it is being made"
        await here.make_volumes()
        made = (await attach(amy, volume_id)).body["attachment"]
        assert (made["status"], made["instance"], made["connection_info"]) == ("reserved", ONE, {})
        at_it = f"{ATTACHMENTS}/{made['id']}"
        assert (await shown(amy, volume_id))["status"] == "reserved"
        assert (await amy.post(f"{at_it}/action", {"os-complete": {}})).status == 400, "no host has it"
        assert (await attach(amy, volume_id, OTHER)).fault[2].endswith("the current status is reserved.")
        connected = (await amy.put(at_it, {"attachment": {"connector": CONNECTOR}})).body["attachment"]
        assert (connected["status"], connected["attach_mode"]) == ("attaching", "rw")
        assert connected["connection_info"]["volume_id"] == volume_id
        assert (await at(amy, 43).post(f"{at_it}/action", {"os-complete": {}})).status == 404
        assert (await amy.post(f"{at_it}/action", {"os-complete": None})).status == 204
        volume = await shown(amy, volume_id)
        (attached,) = volume["attachments"]
        assert (volume["status"], attached["server_id"], attached["device"]) == ("in-use", ONE, "/dev/vdb")
        assert (attached["attachment_id"], attached["host_name"]) == (made["id"], "node1")
        for refused in (
            await amy.delete(f"{VOLUMES}/{volume_id}"),
            await amy.post(SNAPSHOTS, {"snapshot": {"volume_id": volume_id}}),
            await act(at(amy, 41), volume_id, "os-extend", {"new_size": 2}),
        ):
            assert refused.fault[:2] == ("badRequest", 400)
        assert (await eve.get(at_it)).status == 404
        assert (await eve.delete(at_it)).status == 404
        assert (await eve.get(ATTACHMENTS)).body == {"attachments": []}
        (one,) = (await amy.get(f"{ATTACHMENTS}/detail", volume_id=volume_id, instance_id=ONE)).body["attachments"]
        assert (one["id"], one["status"]) == (made["id"], "attached")
        assert (await amy.get(ATTACHMENTS, instance_id=OTHER)).body == {"attachments": []}
        gone = await amy.delete(at_it)
        assert (gone.status, gone.body) == (200, {"attachments": []})
        volume = await shown(amy, volume_id)
        assert (volume["status"], volume["attachments"]) == ("available", [])
        assert (await amy.delete(at_it)).fault[2] == f"Volume attachment {made['id']} could not be found."


@asynchronous
async def test_one_server_or_many(cloud: MakeWorld):
    async with cloud() as here:
        amy = await user(here, "amy")
        single, shared = await create(amy), await create(amy, multiattach=True)
        await here.make_volumes()
        first = await reserved(amy, single)
        second = await reserved(amy, single)  # as while a server moves
        assert first != second
        assert (await attach(amy, single, OTHER)).status == 400
        assert (await attach(amy, single, None)).status == 400
        ids = [await reserved(amy, shared, server) for server in (ONE, OTHER)]
        for identity in ids:
            await amy.put(f"{ATTACHMENTS}/{identity}", {"attachment": {"connector": CONNECTOR}})
            await amy.post(f"{ATTACHMENTS}/{identity}/action", {"os-complete": {}})
        assert len((await shown(amy, shared))["attachments"]) == 2
        left = (await amy.delete(f"{ATTACHMENTS}/{ids[0]}")).body["attachments"]
        assert [each["id"] for each in left] == ids[1:]
        assert (await shown(amy, shared))["status"] == "in-use"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"mode": "rx"}, 400),
        ({"connector": {"ip": "10.0.0.1"}}, 400),
        ({"connector": {"host": "n", "mode": "rx"}}, 400),
        ({"connector": {f"k{number}": "v" for number in range(65)} | {"host": "n"}}, 400),
        ({"instance_uuid": "x"}, 400),
        ({"volume_uuid": OTHER}, 404),
        ({"mode": "ro", "connector": {"host": "n"}}, 200),
    ],
)
@asynchronous
async def test_what_is_refused(cloud: MakeWorld, fields: dict[str, Any], status: int):
    async with cloud() as here:
        amy = await user(here, "amy")
        volume_id = await create(amy)
        await here.make_volumes()
        answer = await attach(amy, volume_id, **fields)
        assert answer.status == status, answer
        after = (await shown(amy, volume_id))["status"]
        assert after == ("attaching" if status == 200 else "available")
        assert (await attach(at(amy, 53), volume_id, mode="ro")).status == 400, "there was no mode before 3.54"


@asynchronous
async def test_what_is_read_only_is_never_written(cloud: MakeWorld):
    async with cloud() as here:
        amy = await user(here, "amy")
        volume_id = await create(amy)
        await here.make_volumes()
        await act(amy, volume_id, "os-update_readonly_flag", {"readonly": True})
        assert (await attach(amy, volume_id, mode="rw")).status == 400
        identity = await reserved(amy, volume_id)
        connected = await amy.put(f"{ATTACHMENTS}/{identity}", {"attachment": {"connector": CONNECTOR}})
        assert connected.status == 400
        connector = CONNECTOR | {"mode": "ro"}
        connected = await amy.put(f"{ATTACHMENTS}/{identity}", {"attachment": {"connector": connector}})
        assert connected.body["attachment"]["attach_mode"] == "ro"
