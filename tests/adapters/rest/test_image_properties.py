"""Hardware that an image asks for: at each of the three doors by which an image becomes a guest."""

from typing import Any

import msgspec
import pytest

from domain.fleet import host as hosts
from domain.fleet.host import HostDescribed
from domain.neighbours import image
from domain.neighbours.image import ImageCreated, ImageUploaded
from tests.adapters.rest.client import Answer, Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_rebuild import act, told
from tests.adapters.rest.test_servers import SERVERS, boot
from tests.adapters.rest.world import ADMIN, World, new_server
from tests.aio import asynchronous

OTHER = "77777777-7777-4777-8777-777777777777"


async def make_image(world: World, **properties: str) -> None:
    """A second image, as the log may have it: an older version looked at nothing."""
    created = ImageCreated(
        image_id=OTHER, name="other", owner=ADMIN, disk_format="qcow2", visibility="public", properties=properties
    )
    uploaded = ImageUploaded(size=1000, virtual_size=1 << 20, checksum="c" * 32, hash_value="d" * 128)
    for event in (created, uploaded):
        await world.registry.execute(world.stamp.own_context(), image.aggregate(OTHER), lambda _, e=event: e)


async def at_each_door(client: Client, server_id: str) -> list[Answer]:
    return [
        await client.post(SERVERS, new_server(imageRef=OTHER)),
        await act(client, server_id, rescue={"rescue_image_ref": OTHER}),
        await act(client, server_id, rebuild={"imageRef": OTHER}),
    ]


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"hw_disk_bus": "foo"}, "Invalid image metadata. Error: hw_disk_bus 'foo' is none of: fdc, ide, "),
        ({"hw_vif_model": "\N{SNOWMAN}"}, "Invalid image metadata. Error: hw_vif_model '\N{SNOWMAN}' is none of: "),
        ({"hw_machine_type": "bogus"}, "hw_machine_type 'bogus' is none of: "),
        ({"hw_cpu_policy": "dedicated"}, "hw_cpu_policy 'dedicated' is not supported by this cloud"),
        ({"hw_mem_encryption": "yes"}, "hw_mem_encryption 'yes' is not supported by this cloud"),
        ({"vm_mode": "xen"}, "vm_mode 'xen' is not supported by this cloud"),
    ],
)  # fmt: skip
@asynchronous
async def test_what_cannot_be_given_is_refused_at_each_door(
    cloud: MakeWorld, properties: dict[str, str], message: str
) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        await make_image(world, **properties)
        for answer in await at_each_door(amy, server_id):
            assert answer.status == 400
            assert answer.fault[0] == "badRequest"
            assert message in answer.fault[2]
        server = await world.queries.server(server_id)
        assert server
        assert server.action is None


@asynchronous
async def test_a_server_stays_on_its_host_whatever_its_next_image_is_made_for(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        await make_image(world, architecture="arm64")
        created, *others = await at_each_door(amy, server_id)
        # There may be a host for a new one.
        assert created.status == 202
        for answer in others:
            assert answer.status == 400
            assert f"Image {OTHER} is made for aarch64, and does not run on the server's host." in answer.fault[2]
        server = await world.queries.server(server_id)
        assert server
        assert server.host

        def described(host: hosts.Host) -> HostDescribed:
            return HostDescribed(description=msgspec.structs.replace(host.description, architecture="aarch64"))

        await world.host_registry.execute(world.stamp.own_context(), hosts.aggregate(server.host), described)
        assert (await act(amy, server_id, rebuild={"imageRef": OTHER})).status == 202


@pytest.mark.parametrize(("said", "asked", "given"), [
        ("mandatory", None, True), ("optional", None, False), ("mandatory", False, True), ("optional", True, True),
    ])  # fmt: skip
@asynchronous
async def test_an_image_may_need_a_config_drive(cloud: MakeWorld, said: str, asked: Any, *, given: bool) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        await make_image(world, img_config_drive=said)
        server_id = await boot(world, amy, imageRef=OTHER, adminPass="secret", config_drive=asked)
        server = await world.queries.server(server_id)
        assert server
        assert server.config_drive is given
        if given:
            assert (await told(world, server_id)).admin_pass == "secret"
