"""Images of servers over the API, on simulated hosts."""

from pathlib import Path
from typing import Any

import pytest

from adapters.rest.kit.services import StockLimits
from adapters.simulated.guest import image_bytes
from handlers.host.image_tickets import FETCHING, SENDING
from tests.adapters.rest.client import Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_moves import act, steps
from tests.adapters.rest.test_servers import SERVERS, boot, shown
from tests.adapters.rest.world import IMAGE, World
from tests.adapters.rest.world import world as making
from tests.aio import asynchronous

IMAGES = "/image/v2/images"
DATA = image_bytes(("node1",))


async def images(client: Client) -> list[dict[str, Any]]:
    return [row for row in (await client.get(IMAGES)).body["images"] if row["id"] != IMAGE]


async def send(world: World, image_id: str, ticket: str, data: bytes = DATA) -> int:
    nobody = await world.client(None)
    headers = {"X-Lightcurve-Image-Ticket": ticket, "content-type": "application/octet-stream"}
    answer = await nobody.request("PUT", f"/image/lightcurve/{image_id}/file", headers=headers, chunks=[data])
    return answer.status


@asynchronous
async def test_an_image_of_a_running_server(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        answer = await act(amy, server_id, createImage={"name": "backup", "metadata": {"stage": "gold"}})
        assert answer.status == 202
        image_id = answer.body["image_id"]
        asked = await shown(amy, server_id)
        assert (asked["status"], asked["OS-EXT-STS:task_state"]) == ("ACTIVE", "image_snapshot")
        image = (await amy.get(f"{IMAGES}/{image_id}")).body
        assert (image["status"], image["name"], image["visibility"]) == ("queued", "backup", "private")
        wanted = {
            "stage": "gold", "hw_disk_bus": "virtio", "base_image_ref": IMAGE, "image_type": "snapshot",
            "instance_uuid": server_id, "user_id": asked["user_id"], "owner_id": asked["tenant_id"],
        }  # fmt: skip
        assert {name: image[name] for name in wanted} == wanted
        await world.advance()
        image = (await amy.get(f"{IMAGES}/{image_id}")).body
        assert (image["status"], image["disk_format"]) == ("active", "qcow2")
        content = (await amy.get(f"{IMAGES}/{image_id}/file")).content
        assert content.startswith(b"QFI\xfb")
        assert content.splitlines()[-1].endswith(b"node1") or content.splitlines()[-1].endswith(b"node2")
        server = await shown(amy, server_id)
        assert (server["status"], server["OS-EXT-STS:task_state"]) == ("ACTIVE", None)
        assert await steps(amy, server_id, "createImage") == (None, ["compute_snapshot_instance Success"])


@asynchronous
async def test_the_answer_before_2_45_is_an_address(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy", "2.44")
        server_id = await boot(world, await world.client("amy"))
        answer = await act(amy, server_id, createImage={"name": "backup"})
        (image,) = await images(amy)
        assert (answer.status, answer.content) == (202, b"")
        assert answer.headers["location"] == f"http://cloud.test/image/images/{image['id']}"


@pytest.mark.parametrize(("body", "status"), [
    ({"name": "backup"}, 202), ({}, 400), ({"name": ""}, 400), ({"name": "n" * 256}, 400),
    ({"name": "backup", "more": 1}, 400), ({"name": "backup", "metadata": {"": "no name"}}, 400),
    ({"name": "backup", "metadata": {"key": "v" * 256}}, 400), ({"name": "backup", "metadata": {"key": 1}}, 400),
    ({"name": "backup", "metadata": {f"key{n}": "value" for n in range(129)}}, 403),
])  # fmt: skip
@asynchronous
async def test_what_it_may_say(cloud: MakeWorld, body: dict[str, Any], status: int) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        assert (await act(amy, server_id, createImage=body)).status == status
        assert len(await images(amy)) == (status == 202)


@asynchronous
async def test_who_is_refused_has_no_image(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, eve, rob = [await world.client(name) for name in ("amy", "eve", "rob")]
        server_id = await boot(world, amy)
        assert (await act(eve, server_id, createImage={"name": "theirs"})).status == 404
        assert (await act(rob, server_id, createImage={"name": "read"})).status == 403
        assert (await act(amy, server_id, lock=None)).status == 202
        locked = await act(amy, server_id, createImage={"name": "locked"})
        assert locked.fault[:2] == ("conflictingRequest", 409)
        await act(amy, server_id, unlock=None)
        assert (await act(amy, server_id, rescue=None)).status == 200
        await world.advance()
        refused = await act(amy, server_id, createImage={"name": "rescued"})
        assert refused.fault[:2] == ("conflictingRequest", 409)
        assert refused.fault[2] == f"Cannot 'createImage' instance {server_id} while it is in vm_state rescued"
        assert await images(amy) == []


@asynchronous
async def test_a_project_has_only_so_many(tmp_path: Path) -> None:
    async with making(tmp_path, stock_limits=StockLimits(images=1)) as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        assert (await act(amy, server_id, createImage={"name": "first"})).status == 202
        await world.advance()
        refused = await act(amy, server_id, createImage={"name": "second"})
        assert refused.fault[:2] == ("forbidden", 403)
        assert (await shown(amy, server_id))["OS-EXT-STS:task_state"] is None


@pytest.mark.parametrize("leg", ["snapshot", "upload"])
@asynchronous
async def test_one_that_fails_is_removed_and_the_reason_told(cloud: MakeWorld, leg: Any) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        for hypervisor in world.hypervisors.values():
            hypervisor.behaviour[leg].fail_next = 1
        await act(amy, server_id, createImage={"name": "backup"})
        await world.advance()
        server = await shown(amy, server_id)
        assert (server["status"], server["OS-EXT-STS:task_state"]) == ("ACTIVE", None)
        assert (await steps(amy, server_id, "createImage"))[0] == "Error"
        assert await images(amy) == []
        assert (await act(amy, server_id, createImage={"name": "again"})).status == 202
        await world.advance()
        assert [image["status"] for image in await images(amy)] == ["active"]


@asynchronous
async def test_one_that_is_deleted_meanwhile_is_a_clear_failure(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        image_id = (await act(amy, server_id, createImage={"name": "backup"})).body["image_id"]
        assert (await amy.delete(f"{IMAGES}/{image_id}")).status == 204
        await world.advance()
        path = f"{SERVERS}/{server_id}/os-instance-actions"
        (found,) = [row for row in (await amy.get(path)).body["instanceActions"] if row["action"] == "createImage"]
        told = (await amy.get(f"{path}/{found['request_id']}")).body["instanceAction"]["events"][0]
        assert (told["result"], told["details"]) == ("Error", f"Image {image_id} is not there any more.")
        assert await images(amy) == []


@asynchronous
async def test_a_deleted_server_leaves_no_image_in_the_making(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        await act(amy, server_id, createImage={"name": "backup"})
        assert (await amy.delete(f"{SERVERS}/{server_id}")).status == 204
        await world.advance()
        assert await images(amy) == []


@asynchronous
async def test_a_ticket_to_send_is_for_one_image_and_fetches_nothing(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        image_id = (await act(amy, server_id, createImage={"name": "backup"})).body["image_id"]
        tickets = world.services.tickets
        good = tickets.issue(image_id, "node1", SENDING)
        bad = (tickets.issue(image_id, "node1", FETCHING), tickets.issue(IMAGE, "node1", SENDING), "", "1.2.3")
        for ticket in bad:
            assert await send(world, image_id, ticket) == 404
        assert tickets.holder(good, image_id) is None
        assert await send(world, image_id, good, b"no qcow2") == 400
        assert await send(world, image_id, good) == 204
        # What was sent already is not asked for again.
        assert await send(world, image_id, good, b"anything else") == 204
        assert (await amy.get(f"{IMAGES}/{image_id}/file")).content == DATA
        assert await send(world, IMAGE, tickets.issue(IMAGE, "node1", SENDING)) == 204
        assert (await amy.delete(f"{IMAGES}/{image_id}")).status == 204
        assert await send(world, image_id, good) == 404


@pytest.mark.parametrize(("state", "status"), [("deleted", 404), ("active", 204), ("queued", 400)])
@asynchronous
async def test_a_host_is_heard_out_before_it_is_refused(cloud: MakeWorld, state: str, status: int) -> None:
    """It would see a broken connection, and send all of it again."""
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        image_id = (await act(amy, server_id, createImage={"name": "backup"})).body["image_id"]
        ticket = world.services.tickets.issue(image_id, "node1", SENDING)
        if state == "active":
            assert await send(world, image_id, ticket) == 204
        elif state == "deleted":
            await amy.delete(f"{IMAGES}/{image_id}")
        messages = [{"type": "http.request", "body": b"x" * 1000, "more_body": at < 4} for at in range(5)]
        answered: list[int] = []

        async def receive() -> Any:
            return messages.pop(0)

        async def reply(message: Any) -> None:
            if "status" in message:
                answered.append(message["status"])

        scope = {
            "type": "http", "method": "PUT", "path": f"/image/lightcurve/{image_id}/file", "query_string": b"",
            "headers": [(b"x-lightcurve-image-ticket", ticket.encode())],
        }  # fmt: skip
        await world.app(scope, receive, reply)
        assert (answered, messages) == ([status], [])
