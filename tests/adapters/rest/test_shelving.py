"""Putting servers away and having them again over the API, on simulated hosts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adapters.rest.app import create_app
from tests.adapters.rest.client import Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_create_image import images
from tests.adapters.rest.test_moves import HOST, act, claims, leave_only, steps
from tests.adapters.rest.test_servers import SERVERS, boot, shown
from tests.adapters.rest.world import World, turns_until
from tests.adapters.rest.world import world as making
from tests.aio import asynchronous


@asynccontextmanager
async def offloading_after(directory: Path, seconds: float) -> AsyncIterator[World]:
    """A world in which shelved servers leave their host after that time."""
    async with making(directory) as world:
        settings = world.services.settings
        world.services = replace(
            world.services,
            settings=type(settings)(
                **{name: getattr(settings, name) for name in settings.__struct_fields__}
                | {"shelved_offload_seconds": seconds}
            ),
        )
        world.app = create_app(world.services)
        yield world


async def put_away(world: World, client: Client) -> str:
    server_id = await boot(world, client)
    assert (await act(client, server_id, shelve=None)).status == 202
    await world.advance()
    return server_id


@asynchronous
async def test_a_server_is_put_away_and_comes_back(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await boot(world, amy)
        before = await shown(root, server_id)
        assert (await act(amy, server_id, shelve=None)).status == 202
        asked = await shown(amy, server_id)
        assert (asked["status"], asked["OS-EXT-STS:task_state"]) == ("ACTIVE", "shelving")
        (image,) = await images(amy)
        assert (image["name"], image["status"]) == (f"{asked['name']}-shelved", "queued")
        await world.advance()
        away = await shown(root, server_id)
        assert (away["status"], away["OS-EXT-STS:vm_state"], away["OS-EXT-STS:task_state"]) == (
            "SHELVED_OFFLOADED", "shelved_offloaded", None,
        )  # fmt: skip
        assert (away[HOST], away["OS-EXT-SRV-ATTR:hypervisor_hostname"], away["hostId"]) == (None, None, "")
        assert (away["host_status"], away["OS-EXT-AZ:availability_zone"]) == ("", "")
        assert (away["addresses"], away["image"]) == (before["addresses"], before["image"])
        assert claims(world) == {}
        assert not any(server_id in host._guests for host in world.hypervisors.values())
        listed = (await amy.get(f"{SERVERS}?status=SHELVED_OFFLOADED")).body["servers"]
        assert [each["id"] for each in listed] == [server_id]
        limits = (await amy.get("/compute/v2.1/limits")).body["limits"]["absolute"]
        assert (limits["totalInstancesUsed"], limits["totalRAMUsed"]) == (1, 64)
        assert await steps(amy, server_id, "shelve") == (None, [
            "compute_shelve_instance Success", "compute_shelve_offload_instance Success",
        ])  # fmt: skip
        assert (await act(amy, server_id, unshelve=None)).status == 202
        assert (await shown(amy, server_id))["OS-EXT-STS:task_state"] == "unshelving"
        await world.advance()
        again = await shown(root, server_id)
        assert (again["status"], again["OS-EXT-STS:power_state"]) == ("ACTIVE", 1)
        assert (again["addresses"], again["image"]) == (before["addresses"], before["image"])
        assert claims(world) == {again[HOST]: 64}
        assert world.hypervisors[again[HOST]]._guests[server_id].disk == (before[HOST], again[HOST])
        assert await images(amy) == []
        assert await steps(amy, server_id, "unshelve") == (None, [
            "conductor_unshelve_instance Success", "compute_unshelve_instance Success",
        ])  # fmt: skip


@asynchronous
async def test_one_that_stays_on_its_host_until_an_administrator_says_so(tmp_path: Path) -> None:
    async with offloading_after(tmp_path, -1) as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await put_away(world, amy)
        away = await shown(root, server_id)
        assert (away["status"], away["OS-EXT-STS:power_state"]) == ("SHELVED", 4)
        assert claims(world) == {away[HOST]: 64}
        assert (await act(amy, server_id, unshelve=None)).status == 202
        await world.advance()
        again = await shown(root, server_id)
        assert (again["status"], again[HOST]) == ("ACTIVE", away[HOST])
        assert await images(amy) == []
        assert (await act(amy, server_id, shelve=None)).status == 202
        await world.advance()
        assert (await act(amy, server_id, shelveOffload=None)).status == 403
        assert (await act(root, server_id, shelveOffload=None)).status == 202
        await world.advance()
        assert (await shown(root, server_id))["status"] == "SHELVED_OFFLOADED"
        assert claims(world) == {}
        assert (await act(root, server_id, shelveOffload=None)).status == 409


@pytest.mark.parametrize("action", [
    {"os-start": None}, {"os-stop": None}, {"reboot": {"type": "HARD"}}, {"pause": None}, {"suspend": None},
    {"rebuild": {"imageRef": "11111111-0000-4000-8000-000000000000"}}, {"rescue": None}, {"shelve": None},
    {"createImage": {"name": "again"}}, {"resize": {"flavorRef": "2"}}, {"os-getConsoleOutput": {}},
])  # fmt: skip
@asynchronous
async def test_what_one_that_is_away_refuses(cloud: MakeWorld, action: dict[str, Any]) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await put_away(world, amy)
        refused = await act(amy, server_id, **action)
        assert refused.fault[:2] == ("conflictingRequest", 409)
        assert len(await images(amy)) == 1


@asynchronous
async def test_a_locked_one_and_one_of_others(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, eve = await world.client("amy"), await world.client("eve")
        server_id = await put_away(world, amy)
        assert (await act(eve, server_id, unshelve=None)).status == 404
        await act(amy, server_id, lock=None)
        assert (await act(amy, server_id, unshelve=None)).status == 409
        await act(amy, server_id, unlock=None)
        other = await boot(world, amy)
        assert (await act(amy, other, unshelve=None)).status == 409
        assert (await act(eve, other, shelve=None)).status == 404


@asynchronous
async def test_a_deleted_one_takes_its_image_along(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await put_away(world, amy)
        assert len(await images(amy)) == 1
        assert (await amy.delete(f"{SERVERS}/{server_id}")).status == 204
        await world.advance()
        assert await images(amy) == []
        assert (await amy.get(f"{SERVERS}/{server_id}")).status == 404


@asynchronous
async def test_where_no_host_can_take_it_it_stays_away_with_its_fault(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await put_away(world, amy)
        await leave_only(world, "nowhere")
        assert (await act(amy, server_id, unshelve=None)).status == 202
        await world.advance()
        server = await shown(root, server_id)
        assert (server["status"], server[HOST], server["OS-EXT-STS:task_state"]) == ("SHELVED_OFFLOADED", None, None)
        message, told = await steps(amy, server_id, "unshelve")
        assert (message, told) == ("Error", ["conductor_unshelve_instance Error"])
        assert claims(world) == {}
        assert len(await images(amy)) == 1


@asynchronous
async def test_hosts_that_fail_are_tried_one_after_the_other_and_keep_nothing(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await put_away(world, amy)
        for hypervisor in world.hypervisors.values():
            hypervisor.behaviour["build"].fail_next = 5
        await act(amy, server_id, unshelve=None)
        await world.advance()
        assert (await shown(amy, server_id))["status"] == "SHELVED_OFFLOADED"
        # Given back once the log says that it comes to nothing.
        await turns_until(lambda: claims(world) == {})
        assert not any(server_id in host._guests for host in world.hypervisors.values())
        for hypervisor in world.hypervisors.values():
            hypervisor.behaviour["build"].fail_next = 0
        await act(amy, server_id, unshelve=None)
        await world.advance()
        assert (await shown(amy, server_id))["status"] == "ACTIVE"


@asynchronous
async def test_one_whose_image_was_deleted_is_refused(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await put_away(world, amy)
        (image,) = await images(amy)
        await amy.delete(f"/image/v2/images/{image['id']}")
        refused = await act(amy, server_id, unshelve=None)
        assert refused.fault[:2] == ("conflictingRequest", 409)
        assert image["id"] in refused.fault[2]
        assert (await shown(amy, server_id))["status"] == "SHELVED_OFFLOADED"


@asynchronous
async def test_to_which_host_and_zone(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        server_id = await put_away(world, amy)
        cases: tuple[tuple[Client, str, dict[str, Any] | None, int], ...] = (
            (amy, "2.100", {}, 400), (amy, "2.100", {"host": "node1"}, 403), (root, "2.100", {"host": "none"}, 400),
            (amy, "2.100", {"availability_zone": "mars"}, 400), (amy, "2.100", {"more": 1}, 400),
            (amy, "2.90", {"host": "node1"}, 400), (amy, "2.90", {"availability_zone": None}, 400),
            (amy, "2.77", {"availability_zone": "mars"}, 400),
            (root, "2.91", {"host": "node2", "availability_zone": "nova"}, 202),
        )  # fmt: skip
        for client, version, body, status in cases:
            answer = await act(client.at(version), server_id, unshelve=body)
            assert answer.status == status, (version, body, answer)
        await world.advance()
        server = await shown(root, server_id)
        assert (server["status"], server[HOST], server["pinned_availability_zone"]) == ("ACTIVE", "node2", "nova")
        await act(amy, server_id, shelve=None)
        await world.advance()
        assert (await act(amy, server_id, unshelve={"availability_zone": None})).status == 202
        await world.advance()
        assert (await shown(root, server_id))["pinned_availability_zone"] is None
        # The word of an older version is not looked at.
        await act(amy, server_id, shelve=None)
        await world.advance()
        assert (await act(amy.at("2.76"), server_id, unshelve={"availability_zone": "mars"})).status == 202


@asynchronous
async def test_a_place_is_named_for_one_that_has_none_only(tmp_path: Path) -> None:
    async with offloading_after(tmp_path, -1) as world:
        amy = await world.client("amy")
        server_id = await put_away(world, amy)
        refused = await act(amy, server_id, unshelve={"availability_zone": "nova"})
        assert refused.fault[:2] == ("conflictingRequest", 409)
