"""What a crash of the agent or of libvirtd does to guests: nothing."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.libvirt.hypervisor import LibvirtHypervisor
from adapters.libvirt.network import INTERFACES, Names
from domain.errors import HostFailed, Unavailable
from domain.guest import GuestState, PowerState
from handlers.ports import GuestEvent
from tests.aio import asynchronous
from tests.real_libvirt import Daemons, LocalImages, blank_disk, guest_spec, hypervisor, nic, traces, virsh
from tests.waiting import until

pytestmark = pytest.mark.libvirt


class Scene:
    """A guest that hangs in the firmware, and agents that come and go."""

    def __init__(self, directory: Path) -> None:
        self.dir = directory / "state"
        self.images = LocalImages()
        self.network = str(uuid4())
        self.spec = guest_spec(self.images.add(blank_disk(directory)), nic(self.network))

    def agent(self) -> LibvirtHypervisor:
        return hypervisor(self.dir, self.images)

    def state(self, power_state: PowerState) -> GuestState:
        return GuestState(server_id=self.spec.server_id, epoch=1, power_state=power_state)

    def traces(self) -> set[str]:
        return traces(self.dir, self.network)


@pytest.fixture
def scene(tmp_path: Path, libvirtd: Daemons) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    asyncio.run(scene.agent().destroy(scene.spec.server_id))


def stages(scene: Scene) -> dict[str, Callable[[], bool]]:
    """How far a build has come."""
    instance = scene.dir / "instances" / scene.spec.server_id
    names = Names.of(str(scene.dir), scene.network)
    return {
        "nothing": lambda: True,
        "written down": (instance / "guest.json").exists,
        "image": lambda: any((scene.dir / "images").glob("*.seal")),
        "disk": (instance / "disk.qcow2").exists,
        "bridge": (INTERFACES / names.bridge).exists,
        "domain": lambda: scene.spec.instance_name in virsh("list", "--all", "--name"),
        "started": lambda: scene.spec.instance_name in virsh("list", "--name"),
    }


@pytest.mark.parametrize("stage", ["nothing", "written down", "image", "disk", "bridge", "domain", "started"])
@asynchronous
async def test_an_agent_that_dies_while_building(scene: Scene, stage: str) -> None:
    for ending in ("built again", "removed"):
        build = asyncio.create_task(scene.agent().build(scene.spec))
        await until(stages(scene)[stage])
        build.cancel()
        await asyncio.wait([build])
        successor = scene.agent()
        if ending == "built again":
            assert await successor.build(scene.spec) == scene.state(PowerState.RUNNING)
            assert await successor.guests() == [scene.state(PowerState.RUNNING)]
        await successor.destroy(scene.spec.server_id)
        assert scene.traces() == set()
        await successor.evict_images(0)
        assert not any((scene.dir / "images").glob("*"))


def _switch_off(name: str) -> None:
    """Off it shall be; it may have heeded the button that was pressed before the daemon died."""
    try:
        virsh("destroy", name)
    except AssertionError as error:
        if "domain is not running" not in str(error):
            raise


@asynchronous
async def test_a_libvirtd_that_dies(scene: Scene, libvirtd: Daemons) -> None:
    if not libvirtd.ours:
        pytest.skip("this machine's own libvirtd is not ours to kill")
    agent = scene.agent()
    await agent.build(scene.spec)
    lost: asyncio.Queue[GuestEvent | HostFailed] = asyncio.Queue()

    async def listen() -> None:
        try:
            async with aclosing(agent.watch()) as events:
                async for event in events:
                    lost.put_nowait(event)
        except HostFailed as error:
            lost.put_nowait(error)

    listening = asyncio.create_task(listen())
    stopping = asyncio.create_task(agent.stop(scene.spec.server_id, 60))
    # Once an answer has come over it, the connection with its listener stands.
    await agent.describe()
    libvirtd.kill_libvirtd()
    assert isinstance(await asyncio.wait_for(lost.get(), 10), HostFailed)
    await listening
    with pytest.raises(Unavailable):
        await stopping
    for attempt in (
        agent.guests(),
        agent.start(scene.spec),
        agent.build(scene.spec),
        agent.destroy(scene.spec.server_id),
    ):
        with pytest.raises(Unavailable):
            await attempt
    with pytest.raises(HostFailed):
        await anext(agent.watch())
    libvirtd.restart_libvirtd()
    assert [guest.server_id for guest in await agent.guests()] == [scene.spec.server_id]
    # What happens before anybody watches again is told all the same.
    _switch_off(scene.spec.instance_name)
    async with aclosing(agent.watch()) as events:
        assert (await asyncio.wait_for(anext(events), 10)).state == scene.state(PowerState.SHUTDOWN)
        await agent.start(scene.spec)
        virsh("destroy", scene.spec.instance_name)
        assert (await asyncio.wait_for(anext(events), 10)).state == scene.state(PowerState.SHUTDOWN)
    await agent.destroy(scene.spec.server_id)
    assert scene.traces() == set()


@asynchronous
async def test_a_libvirtd_that_hangs_does_not_stop_the_event_loop(scene: Scene, libvirtd: Daemons) -> None:
    if not libvirtd.ours:
        pytest.skip("this machine's own libvirtd is not ours to stop")
    agent = scene.agent()
    await agent.describe()
    # Were the event loop stopped, too, nobody else could end it.
    end = threading.Timer(30, os.kill, (libvirtd.libvirtd_pid(), signal.SIGCONT))
    end.start()
    os.kill(libvirtd.libvirtd_pid(), signal.SIGSTOP)
    try:
        asking = asyncio.create_task(agent.guests())
        for _ in range(50):
            await asyncio.sleep(0)
        assert not asking.done()
    finally:
        end.cancel()
        os.kill(libvirtd.libvirtd_pid(), signal.SIGCONT)
    assert await asking == []


@asynchronous
async def test_a_domain_of_somebody_else(scene: Scene, tmp_path: Path) -> None:
    agent = scene.agent()
    await agent.build(scene.spec)
    neighbour = hypervisor(tmp_path / "another", scene.images)
    assert await neighbour.guests() == []
    for attempt in (
        neighbour.build(scene.spec),
        neighbour.stop(scene.spec.server_id, 0),
        neighbour.destroy(scene.spec.server_id),
    ):
        with pytest.raises(HostFailed, match="another guest"):
            await attempt
    assert await agent.guests() == [scene.state(PowerState.RUNNING)]
    await agent.destroy(scene.spec.server_id)
    assert scene.traces() == set()


@asynchronous
async def test_domains_of_others_that_come_and_go_are_no_news(scene: Scene, tmp_path: Path) -> None:
    agent = scene.agent()
    await agent.build(scene.spec)
    definition = tmp_path / "fleeting.xml"
    definition.write_text(
        "<domain type='qemu'><name>fleeting</name><memory unit='MiB'>16</memory>"
        "<os><type arch='x86_64'>hvm</type></os></domain>"
    )
    async with aclosing(agent.watch()) as events:
        news = asyncio.ensure_future(anext(events))
        for _ in range(5):
            # Gone again before anybody can have a look at it.
            await asyncio.to_thread(virsh, f"create {definition}; destroy fleeting")
        virsh("destroy", scene.spec.instance_name)
        assert (await asyncio.wait_for(news, 10)).state == scene.state(PowerState.SHUTDOWN)


@pytest.mark.usefixtures("libvirtd")
@asynchronous
async def test_builds_that_cannot_be(scene: Scene, tmp_path: Path) -> None:
    agent = scene.agent()
    big = scene.images.add(blank_disk(tmp_path, "2G"))
    missing = scene.images.add(blank_disk(tmp_path, "1M"))
    del scene.images.files[missing.id]
    for spec, message in (
        (guest_spec(big, nic(scene.network)), "too small: the image needs 2 GB"),
        (guest_spec(missing, nic(scene.network)), "could not be found"),
        (guest_spec(None), "without an image"),
        (guest_spec(big, server_id="../escape"), "not a UUID"),
    ):
        with pytest.raises(HostFailed, match=message):
            await agent.build(spec)
    assert scene.traces() == set()
