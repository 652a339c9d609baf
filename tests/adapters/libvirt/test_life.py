"""A guest with a real operating system in it, from its first boot to its end."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.libvirt.guests import QEMU_LOGS
from adapters.libvirt.hypervisor import LibvirtHypervisor
from adapters.libvirt.network import Names
from domain.guest import GuestSpec, GuestState, PowerState
from tests.aio import asynchronous
from tests.real_libvirt import LocalImages, guest_spec, hypervisor, nic, tiny_disk, traces, virsh
from tests.waiting import until

pytestmark = [pytest.mark.libvirt, pytest.mark.usefixtures("libvirtd")]

BOOT_TIMEOUT = 60.0


def _can_open(path: str) -> bool:
    """Whether another user of this machine can open a socket."""
    become = "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534)"
    code = f"{become}; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    return not subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=False).returncode


async def boot_lines(agent: LibvirtHypervisor, spec: GuestSpec, count: int) -> list[str]:
    """The lines with which the guest said that it was up, once there are ``count`` of them."""

    async def said() -> list[str]:
        # A line may be read while it is being printed.
        return re.findall(r"(BOOT-COMPLETE .*)\n", await agent.console_log(spec.server_id, None))

    async def enough() -> bool:
        return len(await said()) >= count

    await until(enough, BOOT_TIMEOUT)
    return await said()


async def prompt(agent: LibvirtHypervisor, spec: GuestSpec) -> None:
    """Wait for the shell that comes after the last boot; what is typed before it is lost."""

    async def ready() -> bool:
        return ":/# " in (await agent.console_log(spec.server_id, None)).rpartition("BOOT-COMPLETE")[2]

    await until(ready)


@contextmanager
def console(spec: GuestSpec) -> Iterator[int]:
    """The guest's terminal. QEMU looks only now and then whether it is open: it has to stay so."""
    terminal = os.open(virsh("ttyconsole", spec.instance_name).strip(), os.O_WRONLY | os.O_NOCTTY)
    try:
        yield terminal
    finally:
        os.close(terminal)


@asynchronous
async def test_from_the_first_boot_to_the_end(tmp_path: Path) -> None:
    images = LocalImages()
    agent = hypervisor(tmp_path, images)
    port = nic(str(uuid4()), 7)
    spec = guest_spec(images.add(tiny_disk()), port, name="Web_1")
    states = {power: GuestState(server_id=spec.server_id, epoch=1, power_state=power) for power in PowerState}
    news: asyncio.Queue[GuestState] = asyncio.Queue()

    async def listen() -> None:
        async with aclosing(agent.watch()) as events:
            async for event in events:
                news.put_nowait(event.state)

    listening = asyncio.create_task(listen())
    try:
        await agent.build(spec)

        # It boots, has the address that it was given, and answers there.
        (line,) = await boot_lines(agent, spec, 1)
        assert "hostname=web-1 addresses=eth0=10.5.0.7/24 boots=1" in line
        assert len((await agent.console_log(spec.server_id, 2)).splitlines()) == 2
        inside = ("ip", "netns", "exec", Names.of(str(tmp_path), port.network_id).namespace)
        page = "http://10.5.0.7/cgi-bin/index.cgi"
        answer = subprocess.run([*inside, "busybox", "wget", "-q", "-O", "-", page], capture_output=True, check=True)
        assert b"hostname=web-1" in answer.stdout

        # libvirt's other users see what it is; its screen is for this host alone.
        document = virsh("dumpxml", spec.instance_name)
        for fact in (spec.server_id, 'epoch="1"', "a-project", "m1.tiny", ">Web_1<", "OpenStack Compute"):
            assert fact in document
        (screen,) = re.findall(r"<listen type='socket' socket='(.*)'/>", document)
        assert not _can_open(screen)
        assert list(QEMU_LOGS.glob(f"{spec.instance_name}.log"))
        place = await agent.console(spec.server_id, "vnc")
        assert place
        reader, writer = await asyncio.open_connection(place.host, place.port)
        writer.write(place.greeting.encode())
        assert await reader.readexactly(12) == b"RFB 003.008\n"
        writer.close()

        # The power button, long before the time is up; what it wrote to its disk is there afterwards.
        assert await asyncio.wait_for(agent.stop(spec.server_id, 60), 30) == states[PowerState.SHUTDOWN]
        assert "power button pressed" in await agent.console_log(spec.server_id, None)
        assert await agent.start(spec) == states[PowerState.RUNNING]
        assert "boots=2" in (await boot_lines(agent, spec, 2))[-1]

        # A soft reboot asks, a hard one does not.
        await agent.reboot(spec, hard=False, timeout=60)
        assert (await agent.console_log(spec.server_id, None)).count("power button pressed") == 2
        await agent.reboot(spec, hard=True, timeout=0)
        await boot_lines(agent, spec, 3)
        assert (await agent.console_log(spec.server_id, None)).count("power button pressed") == 2

        # What was asked of it is no news; that it powers off from inside is.
        assert news.empty()
        await prompt(agent, spec)
        with console(spec) as terminal:
            os.write(terminal, b"\npoweroff\n")
            assert await asyncio.wait_for(news.get(), 30) == states[PowerState.SHUTDOWN]
        assert await agent.guests() == [states[PowerState.SHUTDOWN]]

        # So is what virsh does.
        for command, power_state in (
            ("start", PowerState.RUNNING),
            ("suspend", PowerState.PAUSED),
            ("resume", PowerState.RUNNING),
            ("destroy", PowerState.SHUTDOWN),
        ):
            virsh(command, spec.instance_name)
            assert await asyncio.wait_for(news.get(), 30) == states[power_state]
        virsh("start", spec.instance_name)
        await news.get()
        virsh("suspend", spec.instance_name)
        await news.get()
        # A guest that stands still hears no button: nobody waits for it.
        assert await asyncio.wait_for(agent.stop(spec.server_id, 60), 10) == states[PowerState.SHUTDOWN]
    finally:
        await agent.destroy(spec.server_id)
        listening.cancel()
        await asyncio.wait([listening])
        await agent.close()
    assert traces(tmp_path, port.network_id) == set()
    assert not list(QEMU_LOGS.glob(f"{spec.instance_name}*"))
