"""Removes a stack's guests from this machine: for erasing the stack, when nobody is left to be told."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from adapters.libvirt.hypervisor import LibvirtHypervisor
from adapters.libvirt.settings import LibvirtSettings
from domain.errors import HostFailed, Unavailable
from ops.embedded.libvirt import EmbeddedLibvirt
from ops.supervisor import Supervisor

KEPT = "Guests or their networks may be left on this machine, so nothing is erased: see to that, and try again."
START_SECONDS = 60.0
"""In which libvirt must answer."""


class _NoImages:
    async def download(self, image_id: str, target: Path) -> None:
        """Nothing is built any more."""
        raise HostFailed(f"Image {image_id} is not to be had.", str(target))

    async def upload(self, image_id: str, source: BinaryIO) -> None:
        """Nor is any image made."""
        raise HostFailed(f"Image {image_id} is not sent.", str(source))


async def remove_guests(state_dir: Path, libvirt: EmbeddedLibvirt, log_dir: Path) -> None:
    """Destroy every guest of the agent whose state is there, and all that they had on this machine.

    Raises Unavailable if that cannot be done; then the state directory knows all that is left, and it can be tried
    again. libvirt is started for it where it does not run.
    """
    try:
        async with _served(libvirt, log_dir):
            hypervisor = LibvirtHypervisor(LibvirtSettings(host_name="erased", state_dir=state_dir), _NoImages())
            try:
                for server_id in await hypervisor.remove_everything():
                    print(f"guest {server_id} is removed")
            finally:
                await hypervisor.close()
    except HostFailed as error:
        raise Unavailable(f"{error.message} {error.details} {KEPT}") from None
    except Unavailable as error:
        raise Unavailable(f"{error.message} {KEPT}") from None


@asynccontextmanager
async def _served(libvirt: EmbeddedLibvirt, log_dir: Path) -> AsyncIterator[None]:
    """libvirt answers: the machine's own, or one that is started for as long as it is needed."""
    programs = [daemon.kept() for daemon in libvirt.programs()] if shutil.which("libvirtd") else None
    if programs is None:
        raise Unavailable("Guests cannot be looked for without libvirt: apt-get install libvirt-daemon-system.")
    if not programs:
        yield
        return
    supervisor = Supervisor(programs, log_dir, log_dir.parent / "run" / "erasing.json")
    running = asyncio.create_task(supervisor.run())
    up = asyncio.create_task(supervisor.up())
    try:
        await asyncio.wait({running, up}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not up.done():
            why = running.exception() if running.done() else f"see {log_dir}"
            raise Unavailable(f"Guests cannot be looked for, since libvirt does not start: {why}.")
        yield
    finally:
        up.cancel()
        supervisor.stop()
        await asyncio.gather(running, return_exceptions=True)
