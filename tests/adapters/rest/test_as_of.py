"""Questions as of a moment: what was answered then is answered again, byte for byte, whatever has happened since."""

import json
import re

import pytest

from tests.adapters.rest.client import Answer, Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_servers import SERVERS, boot
from tests.adapters.rest.world import BLUE, World, new_server
from tests.aio import asynchronous

AS_OF, POSITION = "lightcurve-as-of", "lightcurve-position"
V2 = "/compute/v2.1"
UNKNOWN = {
    SERVERS: ("host_status",),
    f"{V2}/os-hypervisors": ("state", "host_status"),
    f"{V2}/os-services": ("state", "updated_at"),
    f"{V2}/os-availability-zone/detail": ("available", "updated_at"),
}
"""What signs of life tell, which are in no log, by where it stands."""


def known(answer: Answer, path: str) -> object:
    """What an answer says, but for what only signs of life tell."""
    content = answer.content
    if path == f"{V2}/os-services":
        content = json.dumps([one for one in answer.body["services"] if one["zone"] == "nova"]).encode()
    for where, fields in UNKNOWN.items():
        if path.startswith(where):
            pattern = rf'"({"|".join(fields)})": ?("[^"]*"|true|false|null)'
            content = re.sub(pattern.encode(), b"", content)
    return content


async def as_of(client: Client, path: str, moment: str) -> Answer:
    return await client.request("GET", path, headers={AS_OF: moment})


async def questions(world: World, server_id: str) -> dict[str, list[str]]:
    """Every question of Compute, by who asks."""
    node = world.services.fleet.named("node1")
    assert node
    values = {
        "server_id": server_id, "project_id": BLUE, "flavor_id": "1", "key": "size", "keypair_name": "k1",
        "network": "private", "tag": "t1", "hypervisor_id": node.id, "alias": "os-services", "group_id": "none",
        "name": "k1", "id": "1",
    }  # fmt: skip
    requests = (await (await world.client("root")).get(f"{SERVERS}/{server_id}/os-instance-actions")).body
    values["request_id"] = requests["instanceActions"][0]["request_id"]
    found: dict[str, list[str]] = {"root": [], "amy": []}
    for face, operation in world.faces.operations():
        if face == V2 and operation.method == "GET" and operation.action is None:
            path = V2 + re.sub(r"\{(\w+)\}", lambda name: values.get(name[1], "1"), operation.path)
            found["root"].append(path)
            if operation.access.name != "ADMIN":
                found["amy"].append(path)
    found["root"] += [f"{V2}/os-hypervisors/detail?with_servers=true", f"{SERVERS}/detail?all_tenants=1"]
    for query in (
        "sort_key=display_name&limit=1",
        "status=ACTIVE",
        "tags=t1",
        "name=web",
        "deleted=1",
        "not-tags=t1",
    ):
        found["amy"] += [f"{SERVERS}?{query}", f"{SERVERS}/detail?{query}"]
    return found


@pytest.mark.parametrize("microversion", ["2.100", "2.52", "2.1"])
@asynchronous
async def test_every_question_is_answered_as_it_was(cloud: MakeWorld, microversion: str):
    async with cloud() as world:
        clients = {name: await world.client(name, microversion) for name in ("root", "amy")}
        amy, root = await world.client("amy"), await world.client("root")
        await amy.post(f"{V2}/os-keypairs", {"keypair": {"name": "k1", "type": "ssh", "public_key": KEY}})
        first = await boot(world, amy, name="web1", tags=["t1"], metadata={"size": "s"})
        await boot(world, amy, name="web2")
        asked = await questions(world, first)
        then = {(name, path): await clients[name].get(path) for name, paths in asked.items() for path in paths}
        moment = (await as_of(root, SERVERS, "now")).headers[POSITION]

        await boot(world, amy, name="web3", tags=["t1"])
        await amy.put(f"{SERVERS}/{first}", {"server": {"name": "other"}})
        await amy.put(f"{SERVERS}/{first}/tags", {"tags": ["t2"]})
        await amy.post(f"{SERVERS}/{first}/action", {"os-stop": None})
        await world.advance()
        await amy.delete(f"{SERVERS}/{first}")
        await world.advance()
        await amy.delete(f"{V2}/os-keypairs/k1")
        await root.put(f"{V2}/os-quota-sets/{BLUE}", {"quota_set": {"instances": 7}})
        await root.delete(f"{V2}/flavors/2")
        services = (await root.get(f"{V2}/os-services")).body["services"]
        node1 = next(service for service in services if service["host"] == "node1")
        await root.put(f"{V2}/os-services/{node1['id']}", {"status": "disabled"})

        changed = 0
        for (name, path), before in then.items():
            after = await as_of(clients[name], path, moment)
            assert after.status == before.status, (path, after)
            assert known(after, path) == known(before, path), path
            if b"not supported on this method" not in after.content:  # then no moment was looked for
                assert after.headers[POSITION] == moment, path
            changed += (await clients[name].get(path)).content != before.content
        assert changed > len(then) // 4


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHJk3mVuSgJwPdOJnMn0bYdRN0i2nFqY2Vd2GmTYc0Ok someone"


@asynchronous
async def test_a_time_is_a_moment_that_names_its_positions(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        world.clock.advance(1)
        server_id = await boot(world, amy)
        between = world.clock.now().isoformat().replace("+00:00", "Z")
        world.clock.advance(1)
        await amy.put(f"{SERVERS}/{server_id}", {"server": {"name": "other"}})
        world.clock.advance(1)
        before = await as_of(amy, f"{SERVERS}/{server_id}", "2030-01-01 00:00:00")
        assert (before.status, before.headers[POSITION][:4]) == (404, "api=")
        named = await as_of(amy, f"{SERVERS}/{server_id}", between)
        assert (named.status, named.body["server"]["name"]) == (200, "web1")
        again = await as_of(amy, f"{SERVERS}/{server_id}", named.headers[POSITION])
        assert again.content == named.content
        assert (await as_of(amy, f"{SERVERS}/{server_id}", "now")).body["server"]["name"] == "other"


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("yesterday", "is no moment"),
        ("", "is no moment"),
        ("api=1", "names no position of cell1"),
        ("api=1,cell1=1,cell2=1", "There is no cell cell2"),
        ("api=1,cell1=999999", "is still to come"),
        ("api=1,cell1=x", "is no moment"),
        ("api=1,api=2,cell1=1", "is no moment"),
        ("2999-01-01T00:00:00Z", "is still to come"),
    ],
)
@asynchronous
async def test_what_is_no_moment(cloud: MakeWorld, moment: str, words: str):
    async with cloud() as world:
        amy = await world.client("amy")
        answer = await as_of(amy, SERVERS, moment)
        assert answer.status == 400, answer
        assert words in answer.fault[2]


@asynchronous
async def test_only_what_is_read_has_a_past(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        answer = await amy.request("POST", SERVERS, new_server(), headers={AS_OF: "now"})
        assert (answer.status, (await amy.get(SERVERS)).body["servers"]) == (400, [])
        answer = await amy.request("GET", "/image/v2/images", headers={AS_OF: "now"})
        assert answer.status == 400


@asynchronous
async def test_others_may_not_see_what_was(cloud: MakeWorld):
    async with cloud() as world:
        amy, eve = await world.client("amy"), await world.client("eve")
        server_id = await boot(world, amy)
        assert (await as_of(eve, f"{SERVERS}/{server_id}", "now")).status == 404
        assert (await as_of(eve, SERVERS, "now")).body["servers"] == []
        assert (await as_of(eve, f"{V2}/os-hypervisors", "now")).status == 403
        assert (await Client(world.app).request("GET", SERVERS, headers={AS_OF: "now"})).status == 401
