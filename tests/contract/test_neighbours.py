"""What neighbours promise, embedded or real."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import pytest

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from adapters.rest.identity.directory import Directory
from adapters.rest.kit.settings import IdentitySettings, Project
from adapters.system import SystemIds
from domain import image_properties
from domain.errors import Invalid, Refused
from domain.kinds import EVENTS
from domain.neighbours import image, network
from domain.neighbours.image import ImageCreated, ImageDeleted, ImageUploaded
from domain.neighbours.network import NetworkCreated
from domain.neighbours.volume import state as storage
from domain.neighbours.volume.changes import VolumeRequested
from domain.server.parts import NetworkRequest
from domain.server.state import Server
from handlers.context import Context, Stamp
from handlers.log.registry import Registry
from handlers.neighbours import Neighbours, NewImage, PortHolder
from handlers.neighbours.images import EmbeddedImages
from handlers.neighbours.networks import EmbeddedNetworks
from handlers.neighbours.volumes import EmbeddedVolumes
from tests.aio import asynchronous
from tests.clocks import StandingClock
from tests.domain.server.servers import given

BLUE = Context(request_id="req-1", user_id="amy", project_id="blue", roles=("member",))
GREEN = msgspec.structs.replace(BLUE, user_id="eve", project_id="green")
OWN, THEIRS, SHARED = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")
VOLUME = "55555555-0000-4000-8000-000000000000"
PORT = "44444444-0000-4000-8000-000000000000"
READY, QUEUED, GONE, PRIVATE = "ready", "queued", "gone", "private"


Making = Callable[[], AbstractAsyncContextManager[Neighbours]]


@asynccontextmanager
async def embedded() -> AsyncIterator[Neighbours]:
    """Blue has a network, green has one and shares another; the images are green's."""
    clock = StandingClock()
    broker, stamp = Broker(clock), Stamp(clock, SystemIds())
    registry = Registry(
        MemoryEventStore(broker, "api", EventMapper(EVENTS)), stamp, [image.KIND, network.KIND, storage.KIND]
    )

    async def found(aggregate: Any, *events: Any) -> None:
        for event in events:
            await registry.execute(stamp.own_context(), aggregate, lambda _, e=event: e)

    for network_id, project_id, shared in ((OWN, "blue", False), (THEIRS, "green", False), (SHARED, "green", True)):
        made = NetworkCreated(
            network_id=network_id, name=network_id, project_id=project_id, subnet_id=f"sub-{network_id}",
            cidr="10.0.0.0/29", shared=shared,
        )  # fmt: skip
        await found(network.aggregate(network_id), made)
    port = network.PortMade(
        port_id=PORT, project_id="blue", made_at=clock.now(), mac_address="fa:16:3e:00:00:01", fixed_ip="10.0.0.6"
    )
    await registry.submit(stamp.own_context(), network.aggregate(SHARED), lambda _: (port,))
    requested = VolumeRequested(
        volume_id=VOLUME, project_id="blue", user_id=None, name=None, size_gb=1, type_id="t",
        availability_zone="nova", at=clock.now(),
    )  # fmt: skip
    await registry.submit(stamp.own_context(), storage.aggregate("blue"), lambda _: (requested,))
    uploaded = ImageUploaded(size=1, virtual_size=(1 << 30) + 1, checksum="c", hash_value="d")
    for image_id, visibility, *events in (
        (READY, "public", uploaded), (QUEUED, "public"), (GONE, "public", uploaded, ImageDeleted()),
        (PRIVATE, "private", uploaded),
    ):  # fmt: skip
        created = ImageCreated(
            image_id=image_id, name=image_id, owner="green", disk_format="qcow2", container_format="bare",
            visibility=visibility, properties={"hw_disk_bus": "virtio"}, min_ram_mb=64,
        )  # fmt: skip
        await found(image.aggregate(image_id), created, *events)
    settings = IdentitySettings(users=(), projects=(Project(id="blue", name="b"),), token_keys=())
    following = asyncio.create_task(registry.run())
    await registry.ready()
    yield Neighbours(
        Directory(settings), EmbeddedImages(registry, stamp, 3), EmbeddedNetworks(registry), EmbeddedVolumes(registry)
    )
    following.cancel()


@pytest.fixture(params=[embedded], ids=["embedded"])
def neighbours(request: pytest.FixtureRequest) -> Making:
    making: Making = request.param
    return making


def server(*networks: NetworkRequest, server_id: str = "11111111-1111-4111-8111-111111111111") -> Server:
    made = given("requested")
    assert made
    return msgspec.structs.replace(made, id=server_id, project_id="blue", networks=networks)


class TestIdentity:
    @asynchronous
    async def test_a_project_is_known_by_its_id(self, neighbours: Making) -> None:
        async with neighbours() as (identity, _, _, _):
            assert await identity.project_exists("blue")
            assert not await identity.project_exists("b")


class TestImages:
    @asynchronous
    async def test_what_a_guest_can_start_from(self, neighbours: Making) -> None:
        async with neighbours() as (_, images, _, _):
            source, min_ram_mb = await images.bootable(BLUE, READY)
            assert (source.id, source.disk_format, source.properties) == (READY, "qcow2", {"hw_disk_bus": "virtio"})
            assert source.min_disk_gb == 2, "what is inside measures more than 1 GiB"
            assert min_ram_mb == 64
            assert (await images.bootable(GREEN, PRIVATE)).source.id == PRIVATE

    @pytest.mark.parametrize("image_id", [QUEUED, GONE, PRIVATE, "none such"])
    @asynchronous
    async def test_what_it_cannot(self, neighbours: Making, image_id: str) -> None:
        async with neighbours() as (_, images, _, _):
            with pytest.raises(Invalid):
                await images.bootable(BLUE, image_id)


class TestNetworks:
    @asynchronous
    async def test_own_networks_come_before_shared_ones(self, neighbours: Making) -> None:
        async with neighbours() as (_, _, networks, _):
            assert [each.id for each in await networks.usable(BLUE)] == [OWN, SHARED]
            assert sorted(each.id for each in await networks.usable(GREEN)) == [THEIRS, SHARED]

    @asynchronous
    async def test_a_port_of_ones_own_is_taken_and_left(self, neighbours: Making) -> None:
        async with neighbours() as (_, _, networks, _):
            asked = await networks.port(BLUE, PORT)
            assert asked == NetworkRequest(network_id=SHARED, port_id=PORT)
            for context, port_id in ((GREEN, PORT), (BLUE, "none such")):
                with pytest.raises(Invalid):
                    await networks.port(context, port_id)
            first = server(asked)
            nic = await networks.allocate(BLUE, "cell1", first, 0)
            assert (nic.port_id, nic.ip_address) == (PORT, "10.0.0.6")
            assert await networks.allocate(BLUE, "cell1", first, 0) == nic
            assert await networks.holds(first.id, [SHARED])
            assert [holder.server_id for holder in await networks.holders("cell1")] == [first.id]
            with pytest.raises(Refused, match="still in use"):
                await networks.port(BLUE, PORT)
            other = server(asked, server_id="22222222-2222-4222-8222-222222222222")
            with pytest.raises(Refused, match="still in use"):
                await networks.allocate(BLUE, "cell1", other, 0)
            await networks.release(BLUE, other)
            assert await networks.holds(first.id, [SHARED])
            for _ in range(2):
                await networks.release(BLUE, first)
            assert not await networks.holders("cell1")
            assert await networks.port(BLUE, PORT) == asked

    @asynchronous
    async def test_an_interface_is_on_a_network_of_the_callers(self, neighbours: Making) -> None:
        async with neighbours() as (_, _, networks, _):
            assert await networks.interface(BLUE, OWN, None) == NetworkRequest(network_id=OWN)
            chosen = NetworkRequest(network_id=SHARED, fixed_ip="10.0.0.4")
            assert await networks.interface(BLUE, SHARED, "10.0.0.4") == chosen
            for network_id, fixed_ip in ((THEIRS, None), ("none such", None), (OWN, "10.0.0.9"), (OWN, "10.0.0.1")):
                with pytest.raises(Invalid):
                    await networks.interface(BLUE, network_id, fixed_ip)
            await networks.allocate(BLUE, "cell1", server(chosen), 0)
            with pytest.raises(Refused):
                await networks.interface(BLUE, SHARED, "10.0.0.4")

    @asynchronous
    async def test_an_address_is_taken_once_and_given_back(self, neighbours: Making) -> None:
        async with neighbours() as (_, _, networks, _):
            mine = server(NetworkRequest(network_id=OWN), NetworkRequest(network_id=SHARED, fixed_ip="10.0.0.5"))
            other = server(NetworkRequest(network_id=OWN), server_id="22222222-2222-4222-8222-222222222222")
            nics = [await networks.allocate(BLUE, "cell1", mine, index) for index in (0, 1)]
            assert [nic.network_id for nic in nics] == [OWN, SHARED]
            assert nics[1].ip_address == "10.0.0.5"
            assert await networks.allocate(BLUE, "cell1", mine, 0) == nics[0]
            assert await networks.subnet_of(nics[0]) == f"sub-{OWN}"
            others = await networks.allocate(BLUE, "cell1", other, 0)
            assert others.ip_address != nics[0].ip_address
            for _ in range(2):
                await networks.release(BLUE, mine)
                assert not await networks.holds(mine.id, [OWN, SHARED])
            assert await networks.holds(other.id, [SHARED, OWN])

    @asynchronous
    async def test_addresses_come_to_an_end(self, neighbours: Making) -> None:
        async with neighbours() as (_, _, networks, _):
            many = server(*(NetworkRequest(network_id=OWN),) * 5)
            for index in range(4):
                await networks.allocate(BLUE, "cell1", many, index)
            with pytest.raises(Refused):
                await networks.allocate(BLUE, "cell1", many, 4)

    @asynchronous
    async def test_who_holds_what_is_known_and_told_by_cell(self, neighbours: Making) -> None:
        async with neighbours() as (_, _, networks, _):
            told: list[PortHolder] = []
            networks.listen("cell1", told.append)
            mine, theirs = server(*(NetworkRequest(network_id=OWN),) * 2), server(NetworkRequest(network_id=SHARED))
            for index in (0, 1):
                await networks.allocate(BLUE, "cell1", mine, index)
            await networks.allocate(BLUE, "cell2", theirs, 0)
            holder = PortHolder(mine.id, "blue", OWN)
            assert await networks.holders("cell1") == [holder, holder]
            assert [each.network_id for each in await networks.holders("cell2")] == [SHARED]
            await asyncio.sleep(0)
            assert told == [holder, holder]
            # Of a server of which nothing tells what it asked for.
            await networks.release_all(BLUE, mine.id, [OWN])
            assert await networks.holders("cell1") == []


class TestVolumes:
    @asynchronous
    async def test_one_is_there_for_its_project(self, neighbours: Making) -> None:
        async with neighbours() as (_, _, _, volumes):
            await volumes.check(BLUE, VOLUME)
            await volumes.check(msgspec.structs.replace(GREEN, roles=("admin",)), VOLUME)
            with pytest.raises(Refused, match="could not be found"):
                await volumes.check(GREEN, VOLUME)

    @asynchronous
    async def test_one_that_is_not_there(self, neighbours: Making) -> None:
        async with neighbours() as (_, _, _, volumes):
            with pytest.raises(Refused, match="could not be found") as refused:
                await volumes.check(BLUE, "11111111-1111-4111-8111-111111111111")
            assert refused.value.status == 404


@asynchronous
async def test_an_image_is_announced_for_its_project_and_removed(neighbours: Making) -> None:
    async with neighbours() as made:
        base = (await made.images.bootable(BLUE, READY)).source
        new = NewImage(name="backup", owner="blue", base=base, properties={"image_type": "snapshot"})
        image_id, accepted = await made.images.announce(BLUE, new)
        assert accepted.position
        with pytest.raises(Invalid, match="not active"):
            await made.images.bootable(BLUE, image_id)
        with pytest.raises(Invalid, match="Can not find"):
            await made.images.bootable(GREEN, image_id)
        for _ in range(2):
            await made.images.remove(BLUE, image_id)
        await made.images.remove(BLUE, "never-was")
        with pytest.raises(Invalid, match="Can not find"):
            await made.images.bootable(BLUE, image_id)


@asynchronous
async def test_no_more_images_are_announced_than_a_project_may_have_nor_larger_properties(neighbours: Making) -> None:
    async with neighbours() as made:
        new = NewImage(name="backup", owner="blue", base=None, properties={})
        large = new._replace(properties={"note": "x" * image_properties.MAX_BYTES})
        with pytest.raises(Refused) as refusal:
            await made.images.announce(BLUE, large)
        assert refusal.value.status == 403
        for _ in range(3):
            await made.images.announce(BLUE, new)
        with pytest.raises(Refused) as refusal:
            await made.images.announce(BLUE, new)
        assert refusal.value.status == 403
