"""The images on this host: downloaded once, verified, and read-only from then on."""

import asyncio
import hashlib
import json
import os
import re
import struct
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import mkstemp
from threading import Lock
from weakref import WeakValueDictionary

import msgspec

from adapters.disk_space import spare
from adapters.libvirt.commands import file_failures, run
from adapters.libvirt.disks import BaseImage
from domain.errors import HostFailed
from domain.guest import ImageSource
from handlers.ports import ImageFiles

FORMATS = ("qcow2", "raw")
ALGORITHMS = ("sha512", "sha256")
PART_PREFIX = ".part-"
INFO_LIMITS = ("--as=1073741824", "--cpu=30")
"""Bytes and seconds for QEMU to look at an image of unknown origin; honest ones need a fraction."""
QCOW2_MAGIC = b"QFI\xfb"
MAX_BYTES = 200 * 1024**3
"""Of all cached images, unless told otherwise."""
RECENT_SECONDS = 600.0
"""An image that was looked for in the last ten minutes may be about to become a guest's."""
EXTERNAL_DATA_FILE = 1 << 2
"""An incompatible feature bit of qcow2: the data is in another file of the image's choice."""


class Seal(msgspec.Struct, frozen=True):
    """What is known of a verified file. A file that no longer matches is verified again."""

    checksum: str
    disk_format: str
    virtual_size: int
    size: int
    inode: int
    modified_ns: int


class ImageCache:
    """Cached images in one directory: ``<image>`` beside ``<image>.seal``."""

    def __init__(
        self,
        directory: Path,
        files: ImageFiles,
        *,
        used: Callable[[], set[str]] = set,
        max_bytes: int = MAX_BYTES,
        host: str = "",
    ) -> None:
        """``used`` tells the images that guests are made of; it may block. All together take ``max_bytes`` at most,
        and never what is kept free of the disk. Where several hosts have one directory, ``host`` tells them apart."""
        self._dir = directory
        self._files = files
        self._used = used
        self._part = f"{PART_PREFIX}{host}-" if host else PART_PREFIX
        self._max_bytes = max_bytes
        self._coming: dict[Path, int] = {}
        """Bytes of the images that are being downloaded."""
        self._room = Lock()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def ensure(self, image: ImageSource) -> BaseImage:
        """The image on this host, downloaded if it is not there or not what it was when it was verified.

        One download at a time for an image. Raises HostFailed if the image is not what its record says, refers
        to other files, or does not fit on the disk; what ``ImageFiles`` raises passes.
        """
        if not re.fullmatch(r"[0-9A-Za-z-]{1,64}", image.id):
            raise HostFailed("The id of the image is not valid.", repr(image.id))
        if image.disk_format not in FORMATS:
            raise HostFailed(f"Images of format {image.disk_format} cannot be booted; use {' or '.join(FORMATS)}.")
        if image.checksum_algorithm not in ALGORITHMS:
            raise HostFailed(f"Image {image.id} has a checksum of unknown kind {image.checksum_algorithm}.")
        lock = self._locks.setdefault(image.id, asyncio.Lock())
        async with lock:
            with file_failures("The host could not store the image."):
                path = self._dir / image.id
                seal = await asyncio.to_thread(_check_seal, path, image, self._part) or await self._fetch(path, image)
                await asyncio.to_thread(os.utime, _seal_of(path))
        return BaseImage(path, seal.disk_format, seal.virtual_size)

    def evict(self, used: set[str], unused_for: float) -> list[str]:
        """Remove the images that no guest uses and none has used for ``unused_for`` seconds; returns their ids."""
        gone = []
        for mark in self._dir.glob("*.seal"):
            path = mark.with_suffix("")
            if path.name in used or path.name in self._locks:
                continue
            if time.time() - mark.stat().st_mtime >= unused_for:
                path.unlink(missing_ok=True)
                mark.unlink()
                gone.append(path.name)
        return sorted(gone)

    def sweep(self) -> None:
        """Remove what interrupted downloads left. Only right while none is under way."""
        for path in self._dir.glob(f"{self._part}*"):
            path.unlink(missing_ok=True)

    async def _fetch(self, path: Path, image: ImageSource) -> Seal:
        part = self._new_part()
        try:
            await asyncio.to_thread(self._make_room, part, image)
            await self._files.download(image.id, part)
            await asyncio.to_thread(_check_bytes, part, image)
            virtual_size = await _inspect(part, image)
            return await asyncio.to_thread(_install, part, path, image, virtual_size, self._part)
        finally:
            self._coming.pop(part, None)
            _forget(part)

    def _make_room(self, part: Path, image: ImageSource) -> None:
        """Remove the images that were not used for longest until there is room for another. Raises HostFailed."""
        with self._room:
            coming = image.size + sum(self._coming.values())
            kept = {mark.with_suffix("") for mark in self._dir.glob("*.seal")}
            sizes = {path: path.stat().st_size for path in kept if path.exists()}
            too_much = max(coming + sum(sizes.values()) - self._max_bytes, coming - spare(self._dir))
            if too_much > 0:
                for name in self._by_age(self._used()):
                    too_much -= sizes.get(self._dir / name, 0)
                    (self._dir / name).unlink(missing_ok=True)
                    _seal_of(self._dir / name).unlink(missing_ok=True)
                    if too_much <= 0:
                        break
            if too_much > 0:
                raise HostFailed("The host has no room for another image.", f"{too_much} bytes are missing")
            self._coming[part] = image.size

    def _by_age(self, used: set[str]) -> list[str]:
        """The images that may go, the one first that was not used for longest."""
        marks = [(mark.stat().st_mtime, mark.stem) for mark in self._dir.glob("*.seal")]
        recent = time.time() - RECENT_SECONDS
        return [name for at, name in sorted(marks) if at < recent and name not in used and name not in self._locks]

    def _new_part(self) -> Path:
        self._dir.mkdir(parents=True, exist_ok=True)
        handle, name = mkstemp(dir=self._dir, prefix=self._part)
        os.close(handle)
        return Path(name)


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)


def _check_seal(path: Path, image: ImageSource, part: str) -> Seal | None:
    """The seal of a file that is as it was when verified; one that seems changed is verified again. ``part`` is
    what the names of unfinished files begin with."""
    try:
        seal = msgspec.json.decode(_seal_of(path).read_bytes(), type=Seal)
        found = path.stat()
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    if seal.checksum != image.checksum or seal.disk_format != image.disk_format:
        return None
    if (found.st_size, found.st_ino, found.st_mtime_ns) == (seal.size, seal.inode, seal.modified_ns):
        return seal
    if _digest(path, image.checksum_algorithm) != image.checksum:
        return None
    return _put_seal(path, image, seal.virtual_size, part)


def _check_bytes(part: Path, image: ImageSource) -> None:
    size = part.stat().st_size
    if image.size and size != image.size:
        raise HostFailed(f"Image {image.id} is damaged: {size} bytes came of {image.size}.")
    if _digest(part, image.checksum_algorithm) != image.checksum:
        raise HostFailed(f"Image {image.id} is damaged: its checksum is not the recorded one.")


def _install(part: Path, path: Path, image: ImageSource, virtual_size: int, prefix: str) -> Seal:
    # Root ignores the mode, but it stops everybody else, and says what is meant.
    part.chmod(0o444)
    _seal_of(path).unlink(missing_ok=True)
    part.replace(path)
    return _put_seal(path, image, virtual_size, prefix)


def _seal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.seal")


def _put_seal(path: Path, image: ImageSource, virtual_size: int, prefix: str) -> Seal:
    found = path.stat()
    facts = (found.st_size, found.st_ino, found.st_mtime_ns)
    seal = Seal(image.checksum, image.disk_format, virtual_size, *facts)
    fresh = path.with_name(f"{prefix}{path.name}.seal")
    fresh.write_bytes(msgspec.json.encode(seal))
    fresh.replace(_seal_of(path))
    return seal


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


async def _inspect(path: Path, image: ImageSource) -> int:
    """The bytes a guest would see. Raises HostFailed for an image that would read another file of the host.

    The header is looked at first, because older QEMUs open an external data file to describe it. The
    format is always the declared one: a guest may write any header into a raw disk.
    """
    if image.disk_format == "qcow2":
        await asyncio.to_thread(_check_qcow2_header, path, image.id)
    message = f"Image {image.id} is not a valid {image.disk_format} image."
    look = ("qemu-img", "info", "-f", image.disk_format, "--output=json", path)
    info = json.loads(await run(message, "prlimit", *INFO_LIMITS, *look))
    specific = info.get("format-specific", {}).get("data", {})
    if any(key in info for key in ("backing-filename", "full-backing-filename")) or "data-file" in specific:
        raise _refers_outside(image.id)
    return int(info["virtual-size"])


def _check_qcow2_header(path: Path, image_id: str) -> None:
    """Format: https://www.qemu.org/docs/master/interop/qcow2.html."""
    with path.open("rb") as file:
        header = file.read(80)
    if len(header) < 72 or header[:4] != QCOW2_MAGIC:
        raise HostFailed(f"Image {image_id} is not a valid qcow2 image.", "no qcow2 header")
    version, backing_offset = struct.unpack_from(">IQ", header, 4)
    features = struct.unpack_from(">Q", header, 72)[0] if version >= 3 and len(header) == 80 else 0
    if backing_offset or features & EXTERNAL_DATA_FILE:
        raise _refers_outside(image_id)


def _refers_outside(image_id: str) -> HostFailed:
    return HostFailed(f"Image {image_id} refers to another file; upload an image that stands alone.")
