"""Bad requests get Nova's status and body."""

import pytest

from domain.server.listing import ServerFilter
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.world import BLUE, IMAGE, NETWORK, new_server
from tests.aio import asynchronous

SERVERS = "/compute/v2.1/servers"
NOWHERE = "99999999-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"not json", "Malformed request body"),
        (b'{"server": {}', "Malformed request body"),
        (b"\xff\xfe", "Malformed request body"),
        (b"[]", "[] is not of type 'object'"),
        (b"{}", "'server' is a required property"),
        ({"server": "x"}, "Invalid input for field/attribute server. Value: x. 'x' is not of type 'object'"),
        ({"server": {}}, "Invalid input for field/attribute server. Value: {}. 'name' is a required property"),
        (new_server(color="red"), "Additional properties are not allowed ('color' was unexpected)"),
        ({**new_server(), "extra": 1}, "Additional properties are not allowed ('extra' was unexpected)"),
        (new_server(name=5), "Invalid input for field/attribute name. Value: 5. 5 is not of type 'string'"),
        (new_server(name=""), "Invalid input for field/attribute name. Value: . '' is too short"),
        (new_server(name="x" * 256), "is too long"),
        (new_server(name=" x"), "An invalid 'name' value was provided."),
        (new_server(name="a\tb"), "An invalid 'name' value was provided."),
        (new_server(networks="some"), "Invalid input for field/attribute networks. Value: some."),
        (new_server(networks=None), "'networks' is a required property"),
        (new_server(networks=[{"uuid": "x"}]), "field/attribute uuid. Value: x. 'x' is not a 'uuid'"),
        (new_server(networks=[{"color": "x"}]), "Invalid input for field/attribute 0."),
        (new_server(networks=[{"uuid": NOWHERE}]), f"Network {NOWHERE} could not be found."),
        (new_server(networks=[{"uuid": NETWORK, "fixed_ip": "10.9.9.9"}]), "is not a valid ip address for network"),
        (new_server(flavorRef="99"), "Flavor 99 could not be found."),
        (new_server(imageRef=NOWHERE), "Can not find requested image"),
        (new_server(imageRef="x"), "Invalid input for field/attribute imageRef. Value: x. 'x' is not a 'uuid'"),
        (new_server(imageRef=None), "Invalid imageRef provided."),
        (new_server(key_name="none"), "Invalid key_name provided."),
        (new_server(min_count=0), "Invalid input for field/attribute min_count. Value: 0."),
        (new_server(min_count=3, max_count=2), "min_count must be <= max_count"),
        (new_server(min_count=[1]), "Invalid input for field/attribute min_count. Value: [1]."),
        (new_server(metadata={"a": 1}), "Invalid input for field/attribute metadata."),
        (new_server(metadata={"a": "x" * 256}), "is too long"),
        (new_server(tags=["a,b"]), "Invalid input for field/attribute 0. Value: a,b."),
        (new_server(tags=["x"] * 51), "is too long"),
        (new_server(user_data="no base64!"), "Invalid input for field/attribute user_data."),
        (new_server(user_data="x" * 65536), "is too long"),
        (new_server(config_drive="perhaps"), "Invalid input for field/attribute config_drive. Value: perhaps."),
        (new_server(personality=[]), "Additional properties are not allowed ('personality' was unexpected)"),
        (new_server(availability_zone="mars"), "The requested availability zone is not available"),
        (new_server(security_groups=[{"name": "web"}]), "Security group web not found."),
        (new_server(accessIPv4="x"), "Invalid input for field/attribute accessIPv4. Value: x."),
        (new_server(description="a\nb"), "Invalid input for field/attribute description."),
        (new_server(min_count="0"), "Invalid input for field/attribute min_count. Value: 0. 0 is less than"),
        (new_server(hostname="a b"), "Invalid input for field/attribute hostname."),
        ({**new_server(), "os:scheduler_hints": {"group": NOWHERE}}, "could not be found."),
    ],
)  # fmt: skip
@asynchronous
async def test_create_refuses(cloud: MakeWorld, body, message):
    async with cloud() as world:
        answer = await (await world.client("amy")).post(SERVERS, body)
        name, code, said = answer.fault
        assert (answer.status, name, code) == (400, "badRequest", 400)
        assert message in said
        assert await world.queries.servers(ServerFilter(deleted=None)) == []


@pytest.mark.parametrize(
    ("field", "value", "since"),
    [
        ("description", "d", 19),
        ("tags", ["t"], 52),
        ("hostname", "h1", 90),
    ],
)
@asynchronous
async def test_fields_of_create_begin_with_their_version(cloud: MakeWorld, field, value, since):
    async with cloud() as world:
        client = await world.client("amy")
        body = new_server(**{field: value})
        before = await client.at(f"2.{since - 1}").post(SERVERS, body)
        assert f"Additional properties are not allowed ('{field}' was unexpected)" in before.fault[2]
        assert (await client.at(f"2.{since}").post(SERVERS, body)).status == 202


@asynchronous
async def test_a_body_that_is_too_large(cloud: MakeWorld):
    async with cloud() as world:
        client = await world.client("amy")
        for answer in (
            await client.post(SERVERS, b"x" * (2 << 20)),
            await client.post(SERVERS, b"", headers={"content-length": str(20 << 20)}),
            await client.request("POST", SERVERS, chunks=[b"x" * (1 << 19)] * 4),
        ):
            assert answer.status == 413
            assert answer.fault == ("overLimit", 413, "Request is too large.")


@asynchronous
async def test_another_media_type(cloud: MakeWorld):
    async with cloud() as world:
        answer = await (await world.client("amy")).post(SERVERS, b"<server/>", headers={"content-type": "text/xml"})
        assert answer.fault == ("badMediaType", 415, "Unsupported Content-Type")


@pytest.mark.parametrize("token", [None, "", "wrong", "A" * 200])
@asynchronous
async def test_without_a_valid_token(cloud: MakeWorld, token):
    async with cloud() as world:
        client = await world.client(None)
        client.token = token
        answer = await client.get(SERVERS)
        assert answer.status == 401
        assert answer.body["error"]["message"] == "The request you have made requires authentication."
        assert answer.headers["www-authenticate"] == 'Keystone uri="http://cloud.test/identity"'


@asynchronous
async def test_paths_and_methods_that_are_not_there(cloud: MakeWorld):
    async with cloud() as world:
        client = await world.client("amy")
        assert (await client.get("/compute/v2.1/nonsense")).fault[:2] == ("itemNotFound", 404)
        assert (await client.delete(SERVERS)).fault[:2] == ("badMethod", 405)
        assert (await client.get("/nonsense")).status == 404


@asynchronous
async def test_the_project_in_the_path_must_be_the_tokens(cloud: MakeWorld):
    async with cloud() as world:
        client = await world.client("amy")
        assert (await client.get(f"/compute/v2.1/{BLUE}/servers")).status == 200
        answer = await client.get(f"/compute/v2.1/{'0' * 32}/servers")
        assert answer.status == 400
        assert "Malformed request URL" in answer.fault[2]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Malformed request body"),
        ({"os-stop": None, "os-start": None}, "Malformed request body"),
        ({"dance": None}, "There is no such action: dance"),
        ({"reboot": {}}, "'type' is a required property"),
        ({"reboot": {"type": "MAYBE"}}, "Invalid input for field/attribute type. Value: MAYBE."),
        ({"reboot": None}, "Invalid input for field/attribute reboot."),
        ({"os-getConsoleOutput": {"length": "many"}}, "Invalid input for field/attribute length. Value: many."),
        ({"forceDelete": {"now": True}}, "Invalid input for field/attribute forceDelete."),
    ],
)
@asynchronous
async def test_actions_refuse(cloud: MakeWorld, body, message):
    async with cloud() as world:
        client = await world.client("amy")
        server = (await client.post(SERVERS, new_server())).body["server"]["id"]
        answer = await client.post(f"{SERVERS}/{server}/action", body)
        assert answer.status == 400
        assert message in answer.fault[2]


@asynchronous
async def test_a_bug_shows_no_traceback(cloud: MakeWorld, caplog):
    async with cloud() as world:
        client = await world.client("amy")

        async def broken(_: object) -> None:
            raise ZeroDivisionError("secret of the house")

        world.queries.servers = broken
        answer = await client.get(SERVERS)
        assert answer.status == 500
        assert answer.fault[0] == "computeFault"
        assert answer.headers["x-openstack-request-id"] in answer.fault[2]
        assert b"secret" not in answer.content
        assert "secret of the house" in caplog.text


@asynchronous
async def test_an_expression_may_look_odd(cloud: MakeWorld):
    async with cloud() as world:
        assert (await (await world.client("amy")).get(f"{SERVERS}?name=[[a]")).body == {"servers": []}


@pytest.mark.parametrize(
    "query",
    [
        "limit=x",
        "limit=-1",
        "sort_key=color",
        "sort_dir=up",
        "name=(",
        "nonsense=1",
        "access_ip_v4=10",
        "changes-since=yesterday",
        f"marker={IMAGE}",
        "power_state=9",
    ],
)
@asynchronous
async def test_a_listing_refuses(cloud: MakeWorld, query):
    async with cloud() as world:
        answer = await (await world.client("amy")).get(f"{SERVERS}?{query}")
        assert answer.fault[:2] == ("badRequest", 400)
