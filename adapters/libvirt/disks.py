"""A guest's root disk: an overlay on the cached image, of the size that the flavor says."""

import asyncio
from pathlib import Path
from typing import NamedTuple

from adapters.libvirt.commands import file_failures, run
from domain.errors import HostFailed

GIB = 1024**3
COPY_SECONDS = 600.0
"""As long as a server may take to be built."""


class BaseImage(NamedTuple):
    """A verified image on this host, which nobody may change."""

    path: Path
    disk_format: str
    virtual_size: int
    """Bytes that a guest sees."""


def disk_size(base: BaseImage, disk_gb: int, min_disk_gb: int = 0) -> int:
    """Bytes of the guest's disk: ``disk_gb``, or what the image has if that is 0.

    Raises HostFailed if the image does not fit.
    """
    if disk_gb == 0:
        return base.virtual_size
    needed = max(-(-base.virtual_size // GIB), min_disk_gb)
    if disk_gb < needed:
        raise HostFailed(f"The flavor's disk of {disk_gb} GB is too small: the image needs {needed} GB.")
    return disk_gb * GIB


async def ensure_own_disk(path: Path, base: BaseImage, size: int) -> None:
    """The same for a disk that stands alone: a copy of the image, of that size."""
    message = "The host could not make the guest's disk."
    fresh = path.with_suffix(".new")
    if await asyncio.to_thread(path.exists):
        return
    convert = ("qemu-img", "convert", "-f", base.disk_format, "-O", "qcow2", base.path, fresh)
    await run(message, *convert, seconds=COPY_SECONDS)
    await run(message, "qemu-img", "resize", "-q", "-f", "qcow2", fresh, str(size))
    with file_failures(message):
        await asyncio.to_thread(fresh.chmod, 0o600)
        await asyncio.to_thread(fresh.replace, path)


async def ensure_disk(path: Path, base: BaseImage, size: int) -> None:
    """Make the overlay, whole or not at all; one that is there holds a guest's data and is left alone."""
    message = "The host could not make the guest's disk."
    fresh = path.with_suffix(".new")
    if await asyncio.to_thread(path.exists):
        return
    backing = ("-F", base.disk_format, "-b", base.path)
    await run(message, "qemu-img", "create", "-q", "-f", "qcow2", *backing, fresh, str(size))
    with file_failures(message):
        await asyncio.to_thread(fresh.chmod, 0o600)
        await asyncio.to_thread(fresh.replace, path)
