import asyncio
import hashlib
import struct

import pytest

from adapters.rest.image.files import ImageFile
from adapters.rest.image.formats import inspect
from domain.errors import Invalid, Refused
from handlers.host.image_tickets import GOOD_SECONDS, ImageTickets
from tests.adapters.rest.client import Answer, Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.world import IMAGE
from tests.aio import asynchronous

IMAGES = "/image/v2/images"
BYTES = {"content-type": "application/octet-stream"}
PATCH = {"content-type": "application/openstack-images-v2.1-json-patch"}


def qcow2(*, version=3, backing=0, size=16 << 20, encryption=0, incompatible=0, cluster_bits=16) -> bytes:
    head = struct.pack(">4sIQIIQI", b"QFI\xfb", version, backing, min(backing, 20), cluster_bits, size, encryption)
    return (head.ljust(72, b"\0") + struct.pack(">Q", incompatible)).ljust(512, b"\0")


async def announce(client: Client, **fields: object) -> str:
    body = {"name": "img", "disk_format": "qcow2", "container_format": "bare"} | fields
    answer = await client.post(IMAGES, body)
    assert answer.status == 201, answer
    return answer.body["id"]


@asynchronous
async def test_discovery(cloud: MakeWorld):
    async with cloud() as world:
        answer = await (await world.client(None)).get("/image")
        assert answer.status == 300
        assert answer.body["versions"][0]["id"] == "v2.9"
        assert answer.body["versions"][0]["status"] == "CURRENT"


@asynchronous
async def test_each_attribute_of_an_image_is_in_its_schema(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        image = (await amy.get(f"{IMAGES}/{await announce(amy, os_distro='debian')}")).body
        schema = (await amy.get("/image/v2/schemas/image")).body
        assert schema["properties"].keys() == image.keys() - {"os_distro"}
        assert schema["additionalProperties"] == {"type": "string"}
        many = (await amy.get("/image/v2/schemas/images")).body
        assert many["properties"]["images"]["items"] == schema
        for name, attribute in schema["properties"].items():
            kinds = {"null": type(None), "string": str, "integer": int, "boolean": bool, "array": list}
            types = attribute["type"] if isinstance(attribute["type"], list) else [attribute["type"]]
            assert type(image[name]) in [kinds[kind] for kind in types], name
            assert image[name] in attribute.get("enum", [image[name]])
            patched = [{"op": "replace", "path": f"/{name}", "value": image[name]}]
            answer = await amy.request("PATCH", f"{IMAGES}/{image['id']}", patched, headers=PATCH)
            assert (answer.status == 403) is (attribute.get("readOnly", False) or name == "id"), (name, answer)
        assert (await (await world.client(None, None)).get("/image/v2/schemas/image")).status == 401


@asynchronous
async def test_upload_and_download(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        image_id = await announce(amy, os_distro="debian", min_disk=1)
        image = (await amy.get(f"{IMAGES}/{image_id}")).body
        assert (image["status"], image["size"], image["os_distro"]) == ("queued", None, "debian")
        assert (await amy.get(f"{IMAGES}/{image_id}/file")).status == 204
        data = qcow2() + b"x" * 3_000_000
        chunks = [data[at : at + 65536] for at in range(0, len(data), 65536)]
        answer = await amy.request("PUT", f"{IMAGES}/{image_id}/file", headers=BYTES, chunks=chunks)
        assert answer.status == 204, answer
        image = (await amy.get(f"{IMAGES}/{image_id}")).body
        assert (image["status"], image["size"], image["virtual_size"]) == ("active", len(data), 16 << 20)
        assert image["checksum"] == hashlib.md5(data).hexdigest()
        assert image["os_hash_value"] == hashlib.sha512(data).hexdigest()
        got = await amy.get(f"{IMAGES}/{image_id}/file")
        assert got.content == data
        part = await amy.request("GET", f"{IMAGES}/{image_id}/file", headers={"range": "bytes=0-3"})
        assert (part.status, part.content) == (206, b"QFI\xfb")
        # Nor does the role of services see what others may not.
        for other in (await world.client("eve"), await world.client("host")):
            assert (await other.get(f"{IMAGES}/{image_id}/file")).status == 404
            assert [image["id"] for image in (await other.get(IMAGES)).body["images"]] == [IMAGE]
        again = await amy.request("PUT", f"{IMAGES}/{image_id}/file", headers=BYTES, chunks=[data])
        assert again.status == 409
        assert (await amy.get(f"{IMAGES}/{image_id}/file")).content == data
        assert [path.name for path in world.services.settings.images_dir.iterdir()] == [image_id]


@asynchronous
async def test_a_ticket_opens_one_image_to_a_host(cloud: MakeWorld):
    async with cloud() as world:
        amy, nobody = await world.client("amy"), await world.client(None)
        image_id, other = await announce(amy), await announce(amy)
        tickets = world.services.tickets

        async def fetch(ticket: str | None, image: str = image_id) -> Answer:
            headers = {} if ticket is None else {"X-Lightcurve-Image-Ticket": ticket}
            return await nobody.request("GET", f"/image/lightcurve/{image}/file", headers=headers)

        good = tickets.issue(image_id, "node1")
        assert (await fetch(good)).status == 404
        for image in (image_id, other):
            await amy.request("PUT", f"{IMAGES}/{image}/file", headers=BYTES, chunks=[qcow2()])
        assert (await fetch(good)).content == qcow2()
        until, signature, host = good.split(".")
        forged = (
            None, "", "..", "x.y.z", f"{until}.{signature}.node2", f"{int(until) + 1}.{signature}.{host}",
            f"{until}.{'0' * 64}.{host}", f"\u00b2.{signature}.{host}", f"{'9' * 5_000}.{signature}.{host}",
            tickets.issue(other, "node1"), ImageTickets(b"u" * 32, world.clock).issue(image_id, "node1"),
        )  # fmt: skip
        for ticket in forged:
            assert (await fetch(ticket)).status == 404
        world.clock.advance(GOOD_SECONDS)
        assert (await fetch(good)).status == 404
        assert (await fetch(tickets.issue(image_id, "node1"))).status == 200
        assert (await fetch(tickets.issue("33333333-0000-4000-8000-000000000000", "node1"))).status == 404


@asynchronous
async def test_an_upload_that_breaks_off_leaves_nothing(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        other = await announce(amy)
        messages = [{"type": "http.request", "body": qcow2(), "more_body": True}, {"type": "http.disconnect"}]
        statuses = []

        async def receive():
            return messages.pop(0)

        async def send(message):
            statuses.append(message.get("status"))

        scope = {
            "type": "http", "method": "PUT", "path": f"{IMAGES}/{other}/file", "query_string": b"",
            "headers": [(b"x-auth-token", amy.token.encode()), (b"content-type", b"application/octet-stream")],
        }  # fmt: skip
        await amy.app(scope, receive, send)
        assert statuses[0] == 400
        assert (await amy.get(f"{IMAGES}/{other}")).body["status"] == "queued"
        assert list(world.services.settings.images_dir.iterdir()) == []
        retry = await amy.request("PUT", f"{IMAGES}/{other}/file", headers=BYTES, chunks=[qcow2()])
        assert retry.status == 204


@asynchronous
async def test_two_uploads_at_once_do_not_mix(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        image_id = await announce(amy)
        answers = await asyncio.gather(
            *(
                amy.request(
                    "PUT", f"{IMAGES}/{image_id}/file", headers=BYTES, chunks=[qcow2(), bytes([n]) * 2_000_000]
                )
                for n in (1, 2)
            )
        )
        assert sorted(answer.status for answer in answers) == [204, 409]
        data = (await amy.get(f"{IMAGES}/{image_id}/file")).content
        assert hashlib.sha512(data).hexdigest() == (await amy.get(f"{IMAGES}/{image_id}")).body["os_hash_value"]


@pytest.mark.parametrize(
    ("disk_format", "data"),
    [
        ("qcow2", b"not qcow2"),
        ("raw", qcow2()),
        ("qcow2", qcow2(backing=1024)),
        ("qcow2", qcow2(incompatible=4)),
        ("qcow2", qcow2(encryption=1)),
        ("qcow2", qcow2(version=4)),
        ("qcow2", qcow2(cluster_bits=40)),
        ("qcow2", qcow2()[:40]),
        ("qcow2", b"QFI\xfb"),
        ("qcow2", b""),
    ],
)
def test_files_that_a_host_must_not_open(disk_format, data):
    with pytest.raises(Invalid):
        inspect(disk_format, data[:104], len(data))


def test_sizes_inside():
    assert inspect("qcow2", qcow2(size=5 << 30), 512) == 5 << 30
    assert inspect("raw", b"\x00" * 104, 12345) == 12345


@asynchronous
async def test_a_dangerous_upload_is_refused_and_gone(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        image_id = await announce(amy)
        answer = await amy.request("PUT", f"{IMAGES}/{image_id}/file", headers=BYTES, chunks=[qcow2(backing=999)])
        assert answer.status == 400
        assert "backing file" in answer.body["message"]
        assert list(world.services.settings.images_dir.iterdir()) == []


def test_a_part_is_locked_and_a_leftover_taken_over(tmp_path):
    file = ImageFile(tmp_path, "one")
    part = file.open_part()
    with pytest.raises(Refused):
        file.open_part()
    part.write(b"first")
    part.flush()
    file.publish(replace=False)
    part._file.close()  # as a crash would, before the part's name was forgotten
    again = file.open_part()
    again.write(b"second")
    again.flush()
    assert file.path.read_bytes() == b"first", "the published bytes are never written to"
    file.publish(replace=True)
    again.close()
    assert file.path.read_bytes() == b"second"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@asynchronous
async def test_changes(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        image_id = await announce(amy, tags=["a"], os_distro="x")
        steps = [
            {"op": "replace", "path": "/name", "value": "new"},
            {"op": "add", "path": "/hw_disk_bus", "value": "virtio"},
            {"op": "remove", "path": "/os_distro"},
            {"op": "replace", "path": "/min_ram", "value": 64},
        ]
        answer = await amy.patch(f"{IMAGES}/{image_id}", steps, headers=PATCH)
        assert answer.status == 200, answer
        image = answer.body
        assert (image["name"], image["hw_disk_bus"], image["min_ram"]) == ("new", "virtio", 64)
        assert "os_distro" not in image
        assert (await amy.put(f"{IMAGES}/{image_id}/tags/b")).status == 204
        assert (await amy.get(f"{IMAGES}/{image_id}")).body["tags"] == ["a", "b"]
        assert (await amy.delete(f"{IMAGES}/{image_id}/tags/b")).status == 204
        assert (await amy.delete(f"{IMAGES}/{image_id}/tags/b")).status == 404


@pytest.mark.parametrize(
    ("step", "status"),
    [
        ({"op": "replace", "path": "/status", "value": "active"}, 403),
        ({"op": "replace", "path": "/visibility", "value": "public"}, 403),
        ({"op": "replace", "path": "/visibility", "value": "secret"}, 400),
        ({"op": "replace", "path": "/min_ram", "value": "x"}, 400),
        ({"op": "replace", "path": "/a/b", "value": "x"}, 400),
        ({"op": "move", "path": "/name", "value": "x"}, 400),
        ({"op": "replace", "path": "/hw", "value": 5}, 400),
        ({"op": "remove", "path": "/name"}, 403),
        ({"op": "remove", "path": "/none"}, 409),
        ("x", 400),
    ],
)
@asynchronous
async def test_changes_refused(cloud: MakeWorld, step, status):
    async with cloud() as world:
        amy = await world.client("amy")
        answer = await amy.patch(f"{IMAGES}/{await announce(amy)}", [step], headers=PATCH)
        assert answer.status == status, answer
        assert answer.body["message"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"visibility": "public"}, 403),
        ({"disk_format": "vmdk"}, 400),
        ({"container_format": "ova"}, 400),
        ({"min_disk": "x"}, 400),
        ({"id": "x"}, 400),
        ({"id": IMAGE}, 409),
        ({"size": 5}, 403),
        ({"owner": "somebody"}, 403),
        ({"color": 5}, 400),
    ],
)
@asynchronous
async def test_announcements_refused(cloud: MakeWorld, fields, status):
    async with cloud() as world:
        amy = await world.client("amy")
        assert (await amy.post(IMAGES, {"name": "x"} | fields)).status == status


@asynchronous
async def test_who_sees_and_changes_what(cloud: MakeWorld):
    async with cloud() as world:
        amy, eve, root = await world.client("amy"), await world.client("eve"), await world.client("root")
        mine = await announce(amy, visibility="private")
        shared = await announce(amy, visibility="community")
        assert (await eve.get(f"{IMAGES}/{mine}")).status == 404
        assert (await eve.get(f"{IMAGES}/{shared}")).status == 200
        assert (await eve.delete(f"{IMAGES}/{shared}")).status == 403
        assert (await eve.delete(f"{IMAGES}/{mine}")).status == 404
        assert (await eve.delete(f"{IMAGES}/{IMAGE}")).status == 403
        listed = [image["id"] for image in (await eve.get(IMAGES)).body["images"]]
        assert listed == [IMAGE]
        asked = [image["id"] for image in (await eve.get(IMAGES, visibility="community")).body["images"]]
        assert asked == [shared]
        assert (await root.get(f"{IMAGES}/{mine}")).status == 200


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=a", ["a"]),
        ("name=in:a,b", ["b", "a"]),
        (f"id=in:{IMAGE}", ["tiny"]),
        ("status=active", ["tiny"]),
        ("os_distro=x", ["b"]),
        ("tag=blue", ["a"]),
        ("visibility=public", ["tiny"]),
        ("sort=name:asc", ["a", "b", "tiny"]),
        ("sort_key=name&sort_dir=desc", ["tiny", "b", "a"]),
        ("limit=1", ["b"]),
        ("size_min=1000", ["tiny"]),
    ],
)
@asynchronous
async def test_lists(cloud: MakeWorld, query, names):
    async with cloud() as world:
        amy = await world.client("amy")
        for name, more in (("a", {"tags": ["blue"]}), ("b", {"os_distro": "x"})):
            world.clock.advance(1)
            await announce(amy, name=name, **more)
        assert [image["name"] for image in (await amy.get(f"{IMAGES}?{query}")).body["images"]] == names


@asynchronous
async def test_pages(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        for number in range(4):
            await announce(amy, name=str(number))
        path, seen = f"{IMAGES}?limit=2", []
        while path:
            answer = (await amy.get(path)).body
            seen += [image["id"] for image in answer["images"]]
            path = f"/image{answer['next']}" if "next" in answer else None
        assert len(seen) == len(set(seen)) == 5


@asynchronous
async def test_delete(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        image_id = await announce(amy, protected=True)
        await amy.request("PUT", f"{IMAGES}/{image_id}/file", headers=BYTES, chunks=[qcow2()])
        assert (await amy.delete(f"{IMAGES}/{image_id}")).status == 403
        await amy.patch(f"{IMAGES}/{image_id}", [{"op": "replace", "path": "/protected", "value": False}],
                        headers=PATCH)  # fmt: skip
        assert (await amy.delete(f"{IMAGES}/{image_id}")).status == 204
        assert list(world.services.settings.images_dir.iterdir()) == []
        assert (await amy.get(f"{IMAGES}/{image_id}")).status == 404
