"""Disks of volumes and snapshots as raw, sparse files in one directory.

A disk is made under another name, flushed, and then gets its own: it is whole or not there. Raw, because what a guest
writes to its disk must never be read as a format that points to other files.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.disk_space import spare
from adapters.libvirt.commands import NO_SPACE, file_failures, run
from domain.errors import HostFailed

PART = ".part"
LOCK = ".lock"
LOCK_SECONDS = 0.5
"""Between two looks whether whoever makes disks is gone."""
COPY_SECONDS = 6 * 3600.0
NOT_MADE = "The volume's data could not be made."
NO_DIRECTORY = "The directory of the volumes cannot be used."
GIB = 1 << 30


class VolumeFiles:
    """Promises what ``handlers.neighbours.volume_bytes.Disks`` does. Programs that it runs hold its lock, too: while
    one goes on that a killed process has left, nobody else begins."""

    def __init__(self, directory: Path, images: Path) -> None:
        """``images`` is where images lie, each under its id."""
        self._directory = directory
        self._images = images
        self._locks: list[int] = []

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        with file_failures(NO_DIRECTORY):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not _locked(lock):  # noqa: ASYNC110 - no event tells that another process has ended
                await asyncio.sleep(LOCK_SECONDS)
            self._locks.append(lock)
            yield
        finally:
            self._locks.clear()
            os.close(lock)

    async def create(self, disk: str, size_gb: int) -> None:
        await self._make(disk, size_gb, "create", "-q", "-f", "raw", self._part(disk), str(size_gb * GIB))

    async def create_from_image(self, disk: str, image_id: str, disk_format: str, size_gb: int) -> None:
        image = self._images / image_id
        await self._convert(disk, image, disk_format, size_gb)

    async def copy(self, disk: str, original: str, size_gb: int) -> None:
        await self._convert(disk, self._directory / original, "raw", size_gb)

    async def grow(self, disk: str, size_gb: int) -> None:
        path = self._directory / disk
        with file_failures(NOT_MADE):
            if path.stat().st_size < size_gb * GIB:
                await self._qemu_img("resize", "-q", "-f", "raw", path, str(size_gb * GIB))
            await asyncio.to_thread(_flush, path)

    async def remove(self, disk: str) -> None:
        with file_failures(f"{disk} could not be removed."):
            self._part(disk).unlink(missing_ok=True)
            (self._directory / disk).unlink(missing_ok=True)
            await asyncio.to_thread(_flush, self._directory)

    async def all(self) -> Sequence[str]:
        with file_failures(NO_DIRECTORY):
            names = [path.name for path in self._directory.iterdir() if path.name != LOCK]
        return list({name.removesuffix(PART) for name in names})

    def _part(self, disk: str) -> Path:
        return self._directory / (disk + PART)

    async def _convert(self, disk: str, source: Path, source_format: str, size_gb: int) -> None:
        part = self._part(disk)
        with file_failures(NOT_MADE):
            if not (self._directory / disk).exists() and _allocated(source) > spare(self._directory):
                raise HostFailed(NO_SPACE, disk)
        await self._make(disk, size_gb, "convert", "-q", "-f", source_format, "-O", "raw", "-S", "64k", source, part)

    async def _make(self, disk: str, size_gb: int, *argv: str | Path) -> None:
        path, part = self._directory / disk, self._part(disk)
        if path.exists():
            return
        try:
            with file_failures(NOT_MADE):
                part.unlink(missing_ok=True)
                await self._qemu_img(*argv)
                if part.stat().st_size > size_gb * GIB:
                    raise HostFailed("The source is larger than the volume.", disk)
                if part.stat().st_size < size_gb * GIB:
                    await self._qemu_img("resize", "-q", "-f", "raw", part, str(size_gb * GIB))
                part.chmod(0o600)
                await asyncio.to_thread(_flush, part)
                part.rename(path)
                await asyncio.to_thread(_flush, self._directory)
        finally:
            part.unlink(missing_ok=True)

    async def _qemu_img(self, *argv: str | Path) -> None:
        await run(NOT_MADE, "qemu-img", *argv, seconds=COPY_SECONDS, keeps=self._locks)


def _allocated(path: Path) -> int:
    """Bytes that a sparse file takes."""
    return path.stat().st_blocks * 512


def _locked(lock: int) -> bool:
    with file_failures(NO_DIRECTORY):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _flush(path: Path) -> None:
    """Bring a file or directory to the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
