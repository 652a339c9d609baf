"""Who may call what: every declared operation, without a token and as every kind of user."""

import msgspec
import pytest

from adapters.rest.app import create_faces
from adapters.rest.kit.operation import Access, Operation
from tests.adapters.rest.client import Answer, Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.world import World, new_server
from tests.aio import asynchronous

FORBIDDEN_TO = {
    Access.READER: [],
    Access.TOKEN: [],
    Access.MEMBER: ["rob"],
    Access.ADMIN: ["rob", "amy"],
    Access.AUDITED: [],
    Access.AUDITOR: ["rob", "amy"],
}


async def call(client: Client, prefix: str, operation: Operation) -> Answer:
    path = operation.path
    for name in ("server_id", "flavor_id", "image_id", "network_id", "project_id"):
        path = path.replace(f"{{{name}}}", "77777777-0000-4000-8000-000000000000")
    path = path.replace("{", "").replace("}", "")
    body = msgspec.json.encode({operation.action: {}}) if operation.action else b"{}"
    version = f"2.{operation.last or 104}"
    return await client.at(version).request(operation.method, prefix + path, body)


@asynchronous
async def test_every_operation_asks_for_a_token_and_a_role(cloud: MakeWorld):
    async with cloud() as world:
        clients = {name: await world.client(name) for name in ("rob", "amy", "root")}
        nobody = await world.client(None)
        operations = create_faces(world.services).operations()
        assert len(operations) > 120
        for prefix, operation in operations:
            at = f"{prefix} {operation.name}"
            if operation.access is Access.PUBLIC:
                continue
            assert (await call(nobody, prefix, operation)).status == 401, at
            for name in FORBIDDEN_TO[operation.access]:
                answer = await call(clients[name], prefix, operation)
                assert answer.status == 403, at
                assert operation.rule in answer.content.decode(), at
            allowed = await call(clients["root"], prefix, operation)
            assert allowed.status not in (401, 403, 500), (at, allowed)


@asynchronous
async def test_what_is_public_is_discovery_and_login(cloud: MakeWorld):
    async with cloud() as world:
        public = {
            f"{prefix} {operation.method} {operation.path}"
            for prefix, operation in create_faces(world.services).operations()
            if operation.access is Access.PUBLIC
        }
    assert public == {
        "/identity GET /",
        "/identity GET /v3",
        "/identity POST /v3/auth/tokens",
        # Who shows the old password may set another.
        "/identity POST /v3/users/{user_id}/password",
        "/compute GET /",
        "/compute/v2.1 GET /",
        "/image GET /",
        "/image GET /versions",
        # A ticket is needed there instead of a token.
        "/image GET /lightcurve/{image_id}/file",
        "/image PUT /lightcurve/{image_id}/file",
        "/network GET /",
        "/network GET /v2.0",
        "/volume GET /",
        "/volume/v3 GET /",
    }


async def one_server(world: World) -> str:
    answer = await (await world.client("amy")).post("/compute/v2.1/servers", new_server())
    server_id = answer.body["server"]["id"]
    await world.advance()
    return server_id


@asynchronous
async def test_another_projects_server_is_not_there(cloud: MakeWorld):
    async with cloud() as world:
        server_id = await one_server(world)
        eve = await world.client("eve")
        at = f"/compute/v2.1/servers/{server_id}"
        for answer in (
            await eve.get(at),
            await eve.delete(at),
            await eve.put(at, {"server": {"name": "mine"}}),
            await eve.post(f"{at}/action", {"os-stop": None}),
            await eve.post(f"{at}/action", {"os-getConsoleOutput": {}}),
            await eve.get(f"{at}/os-instance-actions"),
        ):
            assert answer.fault == ("itemNotFound", 404, f"Instance {server_id} could not be found.")
        assert (await eve.get("/compute/v2.1/servers/detail")).body["servers"] == []
        assert (await (await world.client("root")).get(at)).status == 200
        assert (await (await world.client("rob")).get(at)).status == 200


@pytest.mark.parametrize("query", ["all_tenants=1", "status=DELETED"])
@asynchronous
async def test_lists_that_are_an_administrators(cloud: MakeWorld, query):
    async with cloud() as world:
        path = f"/compute/v2.1/servers/detail?{query}"
        assert (await (await world.client("amy")).get(path)).status == 403
        assert (await (await world.client("root")).get(path)).status == 200


@asynchronous
async def test_hosts_are_an_administrators_to_know_and_to_choose(cloud: MakeWorld):
    async with cloud() as world:
        server_id = await one_server(world)
        amy, root = await world.client("amy"), await world.client("root")
        at = f"/compute/v2.1/servers/{server_id}"
        assert (await root.get(at)).body["server"]["OS-EXT-SRV-ATTR:host"] == "node1"
        document = (await amy.get(at)).body["server"]
        assert "OS-EXT-SRV-ATTR:host" not in document
        assert "host_status" not in document
        assert b"node1" not in (await amy.get(at)).content
        for body in (new_server(host="node2"), new_server(availability_zone="nova:node2")):
            refused = await amy.post("/compute/v2.1/servers", body)
            assert refused.status == 403
            accepted = await root.post("/compute/v2.1/servers", body)
            placed = accepted.body["server"]["id"]
            await world.advance()
            shown = (await root.get(f"/compute/v2.1/servers/{placed}")).body["server"]
            assert shown["OS-EXT-SRV-ATTR:host"] == "node2"
        unknown = await root.post("/compute/v2.1/servers", new_server(host="node9"))
        assert unknown.fault == ("badRequest", 400, "Compute host node9 could not be found.")
