"""Sharing images with single projects, and taking an image out of use."""

import pytest

from domain.neighbours.image import MAX_MEMBERS
from tests.adapters.rest.client import Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_images import BYTES, IMAGES, PATCH, announce, qcow2
from tests.adapters.rest.world import BLUE, GREEN
from tests.aio import asynchronous


async def listed(client: Client, query: str = "") -> list[str]:
    return [
        image["name"] for image in (await client.get(f"{IMAGES}{query}")).body["images"] if image["name"] == "img"
    ]


async def stored(client: Client, **fields: object) -> str:
    image_id = await announce(client, **fields)
    assert (await client.request("PUT", f"{IMAGES}/{image_id}/file", headers=BYTES, chunks=[qcow2()])).status == 204
    return image_id


@asynchronous
async def test_a_member_uses_what_is_shared_and_lists_what_it_has_accepted(cloud: MakeWorld):
    async with cloud() as world:
        amy, eve = await world.client("amy"), await world.client("eve")
        image_id = await stored(amy)
        path = f"{IMAGES}/{image_id}"
        assert (await eve.get(path)).status == 404
        made = await amy.post(f"{path}/members", {"member": GREEN})
        assert (made.status, made.body["member_id"], made.body["status"]) == (200, GREEN, "pending")
        assert made.body["schema"] == "/v2/schemas/member"
        assert (await eve.get(f"{path}/file")).content == qcow2()
        assert (await listed(eve), await listed(eve, "?member_status=pending")) == ([], ["img"])
        answered = await eve.put(f"{path}/members/{GREEN}", {"status": "accepted"})
        assert (answered.status, answered.body["status"]) == (200, "accepted")
        assert await listed(eve) == await listed(eve, "?member_status=all") == await listed(amy) == ["img"]
        assert await listed(eve, "?member_status=rejected") == []
        assert [member["member_id"] for member in (await amy.get(f"{path}/members")).body["members"]] == [GREEN]
        assert (await eve.get(f"{path}/members/{GREEN}")).body == answered.body
        assert (await amy.request("DELETE", f"{path}/members/{GREEN}")).status == 204
        assert (await eve.get(path)).status == 404
        assert await listed(eve) == []


@asynchronous
async def test_what_may_not_be_done_with_members(cloud: MakeWorld):
    async with cloud() as world:
        amy, eve, admin = await world.client("amy"), await world.client("eve"), await world.client("root")
        path = f"{IMAGES}/{await announce(amy)}/members"
        assert (await eve.post(path, {"member": GREEN})).status == 404
        assert (await amy.post(path, {"member": GREEN})).status == 200
        assert (await amy.post(path, {"member": GREEN})).status == 409
        for body in (
            {},
            {"member": ""},
            {"member": 7},
            {"member": "x" * 256},
            {"member": GREEN, "status": "accepted"},
        ):
            assert (await amy.post(path, body)).status == 400, body
        # The answer is the member's own.
        assert (await amy.put(f"{path}/{GREEN}", {"status": "accepted"})).status == 403
        assert (await eve.put(f"{path}/{GREEN}", {"status": "perhaps"})).status == 400
        assert (await admin.put(f"{path}/{GREEN}", {"status": "rejected"})).status == 200
        # A member changes nothing but its answer, and sees no other.
        assert (await amy.post(path, {"member": "third"})).status == 200
        assert [member["member_id"] for member in (await eve.get(path)).body["members"]] == [GREEN]
        assert (await eve.get(f"{path}/third")).status == 404
        assert (await eve.post(path, {"member": "fourth"})).status == 403
        assert (await eve.request("DELETE", f"{path}/{GREEN}")).status == 403
        assert (await amy.request("DELETE", f"{path}/nobody")).status == 404
        assert (await eve.get(f"{IMAGES}?member_status=perhaps")).status == 400


@pytest.mark.parametrize("visibility", ["private", "community"])
@asynchronous
async def test_only_shared_images_have_members(cloud: MakeWorld, visibility: str):
    async with cloud() as world:
        amy, eve = await world.client("amy"), await world.client("eve")
        image_id = await announce(amy)
        path = f"{IMAGES}/{image_id}"
        assert (await amy.post(f"{path}/members", {"member": GREEN})).status == 200
        steps = [{"op": "replace", "path": "/visibility", "value": visibility}]
        assert (await amy.request("PATCH", path, steps, headers=PATCH)).status == 200
        assert (await amy.get(f"{path}/members")).status == 403
        assert (await amy.post(f"{path}/members", {"member": BLUE})).status == 403
        assert (await eve.get(path)).status == (404 if visibility == "private" else 200)


@asynchronous
async def test_members_are_bounded(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        path = f"{IMAGES}/{await announce(amy)}/members"
        for number in range(MAX_MEMBERS):
            assert (await amy.post(path, {"member": f"p{number}"})).status == 200
        assert (await amy.post(path, {"member": GREEN})).status == 413


@asynchronous
async def test_a_deactivated_image_is_read_by_administrators_only(cloud: MakeWorld):
    async with cloud() as world:
        amy, admin = await world.client("amy"), await world.client("root")
        queued, image_id = await announce(amy), await stored(amy)
        actions = f"{IMAGES}/{image_id}/actions"
        assert (await amy.post(f"{actions}/deactivate", None)).status == 403
        assert (await admin.post(f"{IMAGES}/{queued}/actions/deactivate", None)).status == 403
        for _ in range(2):
            assert (await admin.post(f"{actions}/deactivate", None)).status == 204
        assert (await amy.get(f"{IMAGES}/{image_id}")).body["status"] == "deactivated"
        assert (await amy.get(f"{IMAGES}/{image_id}/file")).status == 403
        assert (await admin.get(f"{IMAGES}/{image_id}/file")).content == qcow2()
        headers = {"X-Lightcurve-Image-Ticket": world.services.tickets.issue(image_id, "node1")}
        nobody = await world.client(None, None)
        assert (await nobody.request("GET", f"/image/lightcurve/{image_id}/file", headers=headers)).status == 200
        wanted = {"server": {"name": "a", "flavorRef": "1", "imageRef": image_id, "networks": "none"}}
        refused = await amy.at("2.90").post("/compute/v2.1/servers", wanted)
        assert (refused.status, "is not active" in str(refused.body)) == (400, True)
        for _ in range(2):
            assert (await admin.post(f"{actions}/reactivate", None)).status == 204
        assert (await amy.get(f"{IMAGES}/{image_id}/file")).content == qcow2()
