"""What a flavor gives a guest beside its root disk: an empty file system (ephemeral disk) and swap, as Nova does."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from adapters.libvirt.commands import file_failures, run
from adapters.libvirt.disks import GIB
from domain.guest import GuestSpec

FAILURE = "The host could not make the guest's disks."
MIB = 1024**2
WINDOWS = "windows"
"""The ``os_type`` of an image whose system finds its disk without a file system."""

Format = Callable[[Path], Awaitable[object]]


async def ensure_ephemeral(path: Path, spec: GuestSpec) -> None:
    """Have the guest's ephemeral disk, whole or not at all; one that is there holds a guest's data and stays."""
    os_type = spec.image.properties.get("os_type") if spec.image else None
    await _ensure(path, spec.ephemeral_gb * GIB, None if os_type == WINDOWS else _file_system)


async def ensure_swap(path: Path, spec: GuestSpec) -> None:
    """Likewise, for swap."""
    await _ensure(path, spec.swap_mb * MIB, _swap)


async def _file_system(raw: Path) -> None:
    await run(FAILURE, "mkfs.ext4", "-q", "-F", "-L", "ephemeral0", "-E", "lazy_itable_init=1", raw)


async def _swap(raw: Path) -> None:
    await run(FAILURE, "mkswap", raw)


async def _ensure(path: Path, size: int, fill: Format | None) -> None:
    if await asyncio.to_thread(path.exists):
        return
    raw, fresh = path.with_suffix(".raw"), path.with_suffix(".new")
    try:
        with file_failures(FAILURE):
            await asyncio.to_thread(_empty, raw, size)
        if fill:
            await fill(raw)
        await run(FAILURE, "qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", raw, fresh)
        with file_failures(FAILURE):
            await asyncio.to_thread(fresh.chmod, 0o600)
            await asyncio.to_thread(fresh.replace, path)
    finally:
        raw.unlink(missing_ok=True)


def _empty(raw: Path, size: int) -> None:
    with raw.open("wb") as file:
        file.truncate(size)
