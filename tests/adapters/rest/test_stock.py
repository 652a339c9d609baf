"""How much a project may keep in images and networks, and what it may weigh on others."""

import json
from pathlib import Path

import pytest

from adapters.rest.image import stock
from adapters.rest.image.bodies import MAX_TAGS
from adapters.rest.kit.limits import LARGE, LARGE_AT_ONCE, LARGE_PER_SECOND
from adapters.rest.kit.services import StockLimits
from domain.image_properties import MAX_BYTES
from domain.neighbours import image as images
from domain.neighbours.image import ImageCreated, ImageUploaded
from tests.adapters.rest.test_images import BYTES, IMAGES, PATCH, announce, qcow2
from tests.adapters.rest.world import BLUE, new_server, world
from tests.aio import asynchronous

NETWORKS = "/network/v2.0/networks"


@asynchronous
async def test_images_are_counted(tmp_path: Path):
    async with world(tmp_path, stock_limits=StockLimits(images=2)) as here:
        amy, eve = await here.client("amy"), await here.client("eve")
        first = await announce(amy)
        await announce(amy)
        assert (await amy.post(IMAGES, {"name": "third"})).status == 413
        await announce(eve)
        assert (await amy.delete(f"{IMAGES}/{first}")).status == 204
        await announce(amy)


@pytest.mark.parametrize("limits", [StockLimits(one_image_bytes=1000), StockLimits(image_bytes=1000)])
@asynchronous
async def test_uploads_have_an_end(tmp_path: Path, limits: StockLimits):
    async with world(tmp_path, stock_limits=limits) as here:
        amy = await here.client("amy")
        image_id = await announce(amy)
        path = f"{IMAGES}/{image_id}/file"
        chunks = [qcow2(), b"x" * 400, b"y" * 400]
        answer = await amy.request("PUT", path, headers=BYTES, chunks=chunks)
        assert answer.status == 413, answer
        answer = await amy.request("PUT", path, headers=BYTES | {"content-length": "1001"}, chunks=chunks)
        assert answer.status == 413, answer
        assert list((tmp_path / "images").iterdir()) == []
        assert (await amy.request("PUT", path, headers=BYTES, chunks=chunks[:2])).status == 204


@asynchronous
async def test_what_a_project_stores_is_summed_up(tmp_path: Path):
    async with world(tmp_path, stock_limits=StockLimits(image_bytes=1000)) as here:
        amy, eve = await here.client("amy"), await here.client("eve")
        for client, statuses in ((amy, (204, 413)), (eve, (204,))):
            for status in statuses:
                path = f"{IMAGES}/{await announce(client)}/file"
                assert (
                    await client.request("PUT", path, headers=BYTES, chunks=[qcow2(), b"x" * 400])
                ).status == status


@asynchronous
async def test_the_reserve_of_the_disk_is_not_for_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stock, "spare", lambda _directory: 600)
    async with world(tmp_path) as here:
        amy = await here.client("amy")
        path = f"{IMAGES}/{await announce(amy)}/file"
        answer = await amy.request("PUT", path, headers=BYTES, chunks=[qcow2(), b"x" * 700])
        assert (answer.status, "disk space" in answer.body["message"]) == (413, True)
        assert (await amy.request("PUT", path, headers=BYTES, chunks=[qcow2()])).status == 204


@asynchronous
async def test_properties_and_tags_have_an_end(tmp_path: Path):
    async with world(tmp_path) as here:
        amy = await here.client("amy")
        half = {"a": "x" * (MAX_BYTES // 2)}
        assert (await amy.post(IMAGES, {"name": "x"} | half | {"b": half["a"]})).status == 413
        image_id = await announce(amy, **half)
        patch = [{"op": "add", "path": "/b", "value": half["a"]}]
        assert (await amy.patch(f"{IMAGES}/{image_id}", patch, headers=PATCH)).status == 413
        tags = [str(number) for number in range(MAX_TAGS)]
        assert (await amy.post(IMAGES, {"name": "x", "tags": [*tags, "one more"]})).status == 400
        tagged = await announce(amy, tags=tags)
        assert (await amy.put(f"{IMAGES}/{tagged}/tags/more")).status == 413
        assert (await amy.put(f"{IMAGES}/{tagged}/tags/0")).status == 204
        patch = [{"op": "replace", "path": "/tags", "value": [*tags, "one more"]}]
        assert (await amy.patch(f"{IMAGES}/{tagged}", patch, headers=PATCH)).status == 400


@asynchronous
async def test_an_image_from_before_there_were_limits_starts_no_server(tmp_path: Path):
    async with world(tmp_path) as here:
        image_id = "77777777-0000-4000-8000-000000000000"
        created = ImageCreated(
            image_id=image_id, name="old", owner=BLUE, disk_format="raw", container_format="bare",
            properties={"a": "x" * (MAX_BYTES + 1)},
        )  # fmt: skip
        await here._found(images.aggregate(image_id), created)
        uploaded = ImageUploaded(size=1, virtual_size=1, checksum="c", hash_value="d")
        await here._found(images.aggregate(image_id), uploaded)
        answer = await (await here.client("amy")).post("/compute/v2.1/servers", new_server(imageRef=image_id))
        assert (answer.status, "properties" in answer.fault[2]) == (400, True)


@asynchronous
async def test_of_a_deleted_image_only_its_id_is_kept(tmp_path: Path):
    async with world(tmp_path) as here:
        amy = await here.client("amy")
        image_id = await announce(amy, note="x" * 1000, tags=["t"])
        assert (await amy.delete(f"{IMAGES}/{image_id}")).status == 204
        kept = here.registry.get(images.aggregate(image_id))
        assert (kept.status, kept.properties, kept.tags) == ("deleted", {}, ())
        assert (await amy.post(IMAGES, {"id": image_id, "name": "again"})).status == 409


@asynchronous
async def test_networks_are_counted(tmp_path: Path):
    async with world(tmp_path, stock_limits=StockLimits(networks=2)) as here:
        amy, eve = await here.client("amy"), await here.client("eve")
        made = [await amy.post(NETWORKS, {"network": {"name": "n"}}) for _ in range(3)]
        assert [answer.status for answer in made] == [201, 201, 409]
        assert made[2].body["NeutronError"]["type"] == "OverQuota"
        assert (await eve.post(NETWORKS, {"network": {"name": "n"}})).status == 201
        assert (await amy.delete(f"{NETWORKS}/{made[0].body['network']['id']}")).status == 204
        assert (await amy.post(NETWORKS, {"network": {"name": "n"}})).status == 201
        limits = (await amy.get(f"/network/v2.0/quotas/{BLUE}")).body["quota"]
        assert (limits["network"], limits["subnet"]) == (2, 2)
        wanted = {"network_id": made[1].body["network"]["id"], "ip_version": 4}
        subnets = [
            await amy.post("/network/v2.0/subnets", {"subnet": wanted | {"cidr": f"10.{number}.0.0/24"}})
            for number in range(1, 4)
        ]
        assert [answer.status for answer in subnets] == [201, 201, 409]


@asynchronous
async def test_networks_belong_to_projects(tmp_path: Path):
    async with world(tmp_path) as here:
        root = await here.client("root")
        body = {"network": {"name": "n", "project_id": "nobody"}}
        assert (await root.post(NETWORKS, body)).status == 400


@asynchronous
async def test_nobody_decides_alone_how_fast_the_log_grows(tmp_path: Path):
    async with world(tmp_path) as here:
        amy, eve = await here.client("amy"), await here.client("eve")
        server_id = (await amy.post("/compute/v2.1/servers", new_server())).body["server"]["id"]
        await here.advance()
        path = f"/compute/v2.1/servers/{server_id}/metadata"
        large = {str(number): "x" * 255 for number in range(128)}
        sizes = len(json.dumps({"metadata": large})) - LARGE
        statuses = []
        while (answer := await amy.put(path, {"metadata": large | {"0": str(len(statuses))}})).status == 200:
            statuses.append(answer.status)
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert len(statuses) == pytest.approx(LARGE_AT_ONCE / sizes, rel=0.02)
        assert (await amy.post(IMAGES, {"name": "x", "note": "x" * 60_000})).status == 429
        assert (await amy.put(path, {"metadata": {"small": "ones pass"}})).status == 200
        assert (await eve.post(IMAGES, {"name": "x", "note": "x" * 60_000})).status == 201
        here.clock.advance(LARGE_AT_ONCE / LARGE_PER_SECOND)
        eve.token, amy.token = (await here.client("eve")).token, (await here.client("amy")).token
        assert (await amy.put(path, {"metadata": large})).status == 200
