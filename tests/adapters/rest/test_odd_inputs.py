"""Small inputs that tools, fingers and attackers send, each with its right answer."""

from urllib.parse import quote

import pytest

from domain.catalogue.flavor import CATALOGUE, Flavor, FlavorCreated
from domain.fleet import host
from domain.guest import HostDescription
from domain.server.limits import MAX_FILE_BYTES, MAX_FILES, MAX_METADATA
from tests.adapters.rest.client import Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.world import BLUE, GREEN, IMAGE, NETWORK, World, new_server
from tests.aio import asynchronous
from tests.waiting import until

SERVERS = "/compute/v2.1/servers"
KEYPAIRS = "/compute/v2.1/os-keypairs"
QUOTAS = "/compute/v2.1/os-quota-sets"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ+jbB2kxZbKHtK9Wt2xtZyEFgzNxRA7zA0d0lnPhVmC"


async def built(world: World, client: Client, **fields: object) -> str:
    answer = await client.post(SERVERS, new_server(**fields))
    assert answer.status == 202, answer
    server_id: str = answer.body["server"]["id"]
    await world.advance()
    return server_id


async def shown(client: Client, server_id: str) -> dict[str, object]:
    return (await client.get(f"{SERVERS}/{server_id}")).body["server"]


@pytest.mark.parametrize("tag", ["日", "a b", "a?b", "a#b", "a%b", "é", "a&b=c"])
@asynchronous
async def test_a_tag_is_told_in_a_header(cloud: MakeWorld, tag: str):
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await built(world, amy)
        answer = await amy.put(f"{SERVERS}/{server_id}/tags/{quote(tag, safe='')}")
        assert answer.status == 201
        assert answer.headers["location"].endswith(f"/servers/{server_id}/tags/{quote(tag, safe='')}")
        assert (await amy.get(f"{SERVERS}/{server_id}/tags")).body == {"tags": [tag]}


@pytest.mark.parametrize("tag", ["%0d%0aX:1", "%7F", "%00", "a,b", "x" * 61])
@asynchronous
async def test_a_tag_that_is_refused_is_not_there(cloud: MakeWorld, tag: str):
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await built(world, amy)
        assert (await amy.put(f"{SERVERS}/{server_id}/tags/{tag}")).status == 400
        assert (await amy.get(f"{SERVERS}/{server_id}/tags")).body == {"tags": []}


@pytest.mark.parametrize("name", ["a\u0085", "a\u2028b", "a\u200bb", "a\u202eb", "a\ufffeb", "web\n", "web\x7f"])
@asynchronous
async def test_names_are_printable(cloud: MakeWorld, name: str):
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await built(world, amy)
        assert (await amy.post(SERVERS, new_server(name=name))).status == 400
        assert (await amy.put(f"{SERVERS}/{server_id}", {"server": {"name": name}})).status == 400
        assert (await amy.put(f"{SERVERS}/{server_id}", {"server": {"hostname": name}})).status == 400
        assert (await amy.post(KEYPAIRS, {"keypair": {"name": name, "public_key": KEY}})).status == 400
        assert (await shown(amy, server_id))["name"] == "web1"


@asynchronous
async def test_metadata_has_the_same_end_at_each_door(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        just = {str(number): "" for number in range(MAX_METADATA)}
        too_much = just | {"one": "more"}
        server_id = await built(world, amy, metadata=just)
        for answer in (
            await amy.post(SERVERS, new_server(metadata=too_much)),
            await amy.post(f"{SERVERS}/{server_id}/action", {"rebuild": {"imageRef": IMAGE, "metadata": too_much}}),
            await amy.post(f"{SERVERS}/{server_id}/metadata", {"metadata": {"one": "more"}}),
            await amy.put(f"{SERVERS}/{server_id}/metadata", {"metadata": too_much}),
        ):
            assert (answer.status, answer.fault[2]) == (403, "Maximum number of metadata items exceeds 128")
        assert len((await amy.get(SERVERS)).body["servers"]) == 1


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ([("/a", "eA==")] * MAX_FILES, 202),
        ([("/a", "eA==")] * (MAX_FILES + 1), 403),
        ([("/a", "eHh4" * (MAX_FILE_BYTES // 3))], 202),
        ([("/a", "eHh4" * (MAX_FILE_BYTES // 3 + 1))], 403),
        ([("/" + "é" * 128, "eA==")], 403),
    ],
)
@asynchronous
async def test_files_for_guests_have_an_end(cloud: MakeWorld, files: list[tuple[str, str]], status: int):
    async with cloud() as world:
        amy = await world.client("amy", "2.56")
        personality = [{"path": path, "contents": contents} for path, contents in files]
        assert (await amy.post(SERVERS, new_server(personality=personality))).status == status
        server_id = await built(world, amy)
        body = {"rebuild": {"imageRef": IMAGE, "personality": personality}}
        assert (await amy.post(f"{SERVERS}/{server_id}/action", body)).status == status


@asynchronous
async def test_a_marker_of_others_is_no_marker(cloud: MakeWorld):
    async with cloud() as world:
        amy, eve, root = await world.client("amy"), await world.client("eve"), await world.client("root")
        hers = await built(world, eve)
        unknown = "9" * 8 + hers[8:]
        answers = [await amy.get(SERVERS, marker=marker) for marker in (hers, unknown)]
        assert [answer.status for answer in answers] == [400, 400]
        assert answers[0].fault[2].replace(hers, unknown) == answers[1].fault[2]
        assert (await root.get(SERVERS, marker=hers, all_tenants=1)).status == 200


@asynchronous
async def test_an_administrator_rebuilds_with_the_owners_key(cloud: MakeWorld):
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        assert (await amy.post(KEYPAIRS, {"keypair": {"name": "hers", "public_key": KEY}})).status == 201
        server_id = await built(world, amy)
        answer = await root.post(
            f"{SERVERS}/{server_id}/action", {"rebuild": {"imageRef": IMAGE, "key_name": "hers"}}
        )
        assert (answer.status, answer.body["server"]["key_name"]) == (202, "hers")


@asynchronous
async def test_a_private_flavor_is_as_if_it_were_not_there(cloud: MakeWorld):
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        private = Flavor(id="gpu", name="gpu", vcpus=1, ram_mb=64, disk_gb=1, is_public=False)
        await world._found(CATALOGUE, FlavorCreated(flavor=private))
        answer = await amy.post(SERVERS, new_server(flavorRef="gpu"))
        assert (answer.status, answer.fault[2]) == (400, "Flavor gpu could not be found.")
        assert (await root.post(SERVERS, new_server(flavorRef="gpu"))).status == 202


@pytest.mark.parametrize("project", ["nobody", BLUE.upper(), BLUE[:-1], "blue", "x" * 255])
@asynchronous
async def test_limits_belong_to_projects(cloud: MakeWorld, project: str):
    async with cloud() as world:
        root = await world.client("root")
        for answer in (
            await root.put(f"{QUOTAS}/{project}", {"quota_set": {"cores": 1}}),
            await root.get(f"{QUOTAS}/{project}"),
            await root.get(f"{QUOTAS}/{project}/detail"),
            await root.get(f"{QUOTAS}/{project}/defaults"),
        ):
            assert (answer.status, answer.fault[2]) == (400, f"Project ID {project} is not a valid project.")
        assert (await root.delete(f"{QUOTAS}/{project}")).status == 202
        assert (await root.put(f"{QUOTAS}/{GREEN}", {"quota_set": {"cores": 1}})).status == 200


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("deleted=", {"mine"}),
        ("deleted=foo", {"mine"}),
        ("deleted=no", {"mine"}),
        ("deleted=yes", set()),
        ("all_tenants=", {"mine", "hers"}),
        (f"project_id={GREEN}", {"mine"}),
        (f"tenant_id={GREEN}", {"mine"}),
        (f"project_id={GREEN}&all_tenants=1", {"hers"}),
        ("status=SHELVED", set()),
        ("sort_key=uuid&" * 300, {"mine"}),
    ],
)
@asynchronous
async def test_what_an_administrator_lists(cloud: MakeWorld, query: str, names: set[str]):
    async with cloud() as world:
        root, eve = await world.client("root"), await world.client("eve")
        assert (await root.post(SERVERS, new_server(name="mine"))).status == 202
        assert (await eve.post(SERVERS, new_server(name="hers"))).status == 202
        answer = await root.get(f"{SERVERS}?{query}")
        assert {server["name"] for server in answer.body["servers"]} == names


@pytest.mark.parametrize(
    "query",
    [
        "all_tenants=foo", "status=nonsense", "status=ACTIVE&status=nonsense", f"limit={'9' * 5000}", "limit=-1",
        "name=" + "(" * 3000, "name=x{4294967296}", "name=(a*)\\1b", "description=" + "a" * 256, "hostname=[",
        "power_state=" + "9" * 5000, "changes-since=9999-12-31T23:59:59", "changes-before=0001-01-01T00:00:00",
    ],
)  # fmt: skip
@asynchronous
async def test_what_nobody_can_list(cloud: MakeWorld, query: str):
    async with cloud() as world:
        answer = await (await world.client("root")).get(f"{SERVERS}?{query}")
        assert answer.status == 400


@asynchronous
async def test_a_status_there_is_not_was_once_let_pass(cloud: MakeWorld):
    async with cloud() as world:
        answer = await (await world.client("root", "2.37")).get(f"{SERVERS}?status=nonsense")
        assert (answer.status, answer.body) == (200, {"servers": []})


@pytest.mark.parametrize(
    ("name", "hostname"),
    [
        ("Web 1", "web-1"),
        ("a.b.c", "a-b-c"),
        ("a" * 62 + "-b", "a" * 62),
        ("_-.x.-_", "x"),
        ("Straße", "strae"),
    ],
)
@asynchronous
async def test_a_host_name_is_made_once(cloud: MakeWorld, name: str, hostname: str):
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await built(world, amy, name=name)
        assert (await shown(amy, server_id))["OS-EXT-SRV-ATTR:hostname"] == hostname
        assert (await amy.put(f"{SERVERS}/{server_id}", {"server": {"name": "other"}})).status == 200
        assert (await shown(amy, server_id))["OS-EXT-SRV-ATTR:hostname"] == hostname
        found = (await root.get(SERVERS, all_tenants=1, hostname=f"^{hostname}$")).body["servers"]
        assert [server["id"] for server in found] == [server_id]


@asynchronous
async def test_a_name_of_nothing_a_host_name_can_have(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await built(world, amy, name="日本")
        assert (await shown(amy, server_id))["OS-EXT-SRV-ATTR:hostname"] == f"server-{server_id}"


@asynchronous
async def test_several_servers_have_several_host_names(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        assert (await amy.post(SERVERS, new_server(name="x" * 70, min_count=3))).status == 202
        servers = (await amy.get(f"{SERVERS}/detail")).body["servers"]
        names = {server["OS-EXT-SRV-ATTR:hostname"] for server in servers}
        assert names == {f"{'x' * 61}-{number}" for number in (1, 2, 3)}


@pytest.mark.parametrize("last", ["0", "1", "2", "255"])
@asynchronous
async def test_addresses_that_are_not_to_be_had(cloud: MakeWorld, last: str):
    async with cloud() as world:
        amy = await world.client("amy")
        networks = [{"uuid": NETWORK, "fixed_ip": f"10.0.0.{last}"}]
        assert (await amy.post(SERVERS, new_server(networks=networks))).status == 400
        twice = [{"uuid": NETWORK, "fixed_ip": "10.0.0.9"}] * 2
        assert (await amy.post(SERVERS, new_server(networks=twice))).status == 400
        assert (await amy.post(SERVERS, new_server(networks=twice[:1]))).status == 202


@pytest.mark.parametrize("action", ["os-stop", "suspend"])
@asynchronous
async def test_what_is_off_has_no_screen(cloud: MakeWorld, action: str):
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await built(world, amy)
        path = f"{SERVERS}/{server_id}/remote-consoles"
        body = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
        assert (await amy.post(path, body)).status == 200
        assert (await amy.post(f"{SERVERS}/{server_id}/action", {action: None})).status == 202
        await world.advance()
        answer = await amy.post(path, body)
        assert (answer.status, answer.fault[2]) == (409, f"Instance {server_id} is not ready")


DISK = {"source_type": "image", "destination_type": "local", "uuid": IMAGE}


@pytest.mark.parametrize(
    ("disks", "image", "status"),
    [
        ([DISK | {"boot_index": 0}], IMAGE, 202),
        ([DISK | {"boot_index": None}], IMAGE, 202),
        ([DISK | {"boot_index": 0}], None, 202),
        ([DISK | {"boot_index": "0"}], None, 202),
        ([DISK | {"boot_index": None}], None, 400),
        ([DISK | {"boot_index": 0}] * 2, IMAGE, 400),
        ([DISK | {"boot_index": 0}, DISK | {"boot_index": "0"}], None, 400),
        ([DISK | {"boot_index": 1}], IMAGE, 501),
        ([DISK | {"source_type": "volume", "boot_index": 0}], IMAGE, 400),
        ([DISK | {"boot_index": 0, "destination_type": "volume"}], None, 501),
    ],
)
@asynchronous
async def test_half_a_block_device_mapping(cloud: MakeWorld, disks: list[object], image: str | None, status: int):
    async with cloud() as world:
        amy = await world.client("amy")
        answer = await amy.post(SERVERS, new_server(imageRef=image, block_device_mapping_v2=disks))
        assert answer.status == status, answer


@asynchronous
async def test_a_key_is_what_was_given(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        for number, key in enumerate((KEY, f"{KEY}\n", f"  {KEY} a comment \n")):
            answer = await amy.post(KEYPAIRS, {"keypair": {"name": f"k{number}", "public_key": key}})
            assert (answer.status, answer.body["keypair"]["public_key"]) == (201, key)
            assert (await amy.get(f"{KEYPAIRS}/k{number}")).body["keypair"]["public_key"] == key
        two = {"keypair": {"name": "two", "public_key": f"{KEY}\n{KEY}"}}
        assert (await amy.post(KEYPAIRS, two)).status == 400


@pytest.mark.parametrize("length", ["9" * 5000, 10**20, "x", "1\n"])
@asynchronous
async def test_the_length_of_a_console(cloud: MakeWorld, length: object):
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await built(world, amy)
        body = {"os-getConsoleOutput": {"length": length}}
        assert (await amy.post(f"{SERVERS}/{server_id}/action", body)).status == 400


@asynchronous
async def test_a_new_host_renumbers_no_other(cloud: MakeWorld):
    async with cloud() as world:
        root = await world.client("root", "2.50")
        path = "/compute/v2.1/os-hypervisors"

        async def numbers() -> dict[str, int]:
            shown = (await root.get(path)).body["hypervisors"]
            return {each["hypervisor_hostname"]: each["id"] for each in shown}

        before = await numbers()
        description = HostDescription(
            name="a-node", hypervisor_type="QEMU", hypervisor_version=7, vcpus=1, memory_mb=1, disk_gb=1
        )
        new = host.enrol(None, "99999999-aaaa-4aaa-8aaa-999999999999", description)
        await world.host_registry.execute(world.stamp.own_context(), host.aggregate("a-node"), lambda _: new)
        await until(lambda: world.services.fleet.numbered(3))
        assert await numbers() == before | {"a-node": len(before) + 1}
        for name, number in (await numbers()).items():
            assert (await root.get(f"{path}/{number}")).body["hypervisor"]["hypervisor_hostname"] == name
        pages = []
        marker: dict[str, object] = {}
        while page := (await root.get(path, limit=1, **marker)).body["hypervisors"]:
            pages += page
            marker = {"marker": page[-1]["id"]}
        assert [each["id"] for each in pages] == [1, 2, 3]
        assert (await root.get(path, marker=4)).status == 400
        assert (await root.get(path, marker="x")).status == 400


NOWHERE = "99999999-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", f"/identity/v3/domains/default/users/{NOWHERE}/roles/{NOWHERE}"),
        ("DELETE", f"/identity/v3/system/users/{NOWHERE}/roles/{NOWHERE}"),
        ("DELETE", f"{SERVERS}/{NOWHERE}/os-interface/{NOWHERE}"),
        ("POST", "/compute/v2.1/flavors/1/action"),
        ("POST", "/network/v2.0/routers"),
    ],
)
@asynchronous
async def test_what_is_not_built_does_not_look_as_if_it_were_done(cloud: MakeWorld, method: str, path: str):
    async with cloud() as world:
        answer = await (await world.client("root")).request(method, path, {})
        assert answer.status in (405, 501), answer


@pytest.mark.parametrize(
    ("accept", "in_json"),
    [
        ("*/*", False),
        ("", False),
        ("text/html", False),
        ("application/json", True),
        ("application/json, */*;q=0.1", True),
    ],
)
@asynchronous
async def test_how_the_image_service_words_an_error(cloud: MakeWorld, accept: str, in_json: bool):
    async with cloud() as world:
        amy = await world.client("amy")
        answer = await amy.request("GET", "/image/v2/images/<b>none", headers={"accept": accept})
        assert answer.status == 404
        if in_json:
            assert answer.headers["content-type"] == "application/json"
            assert answer.body["code"] == "404 Not Found"
        else:
            assert answer.headers["content-type"] == "text/html; charset=UTF-8"
            text = answer.content.decode()
            assert "<title>404 Not Found</title>" in text
            assert "&lt;b&gt;none" in text
