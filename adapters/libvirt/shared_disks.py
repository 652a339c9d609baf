"""Guests' root disks in a directory that several hosts have in common.

A host that needs a disk holds it: a file beside the disk says which host, for which assignment of the server. Who
leaves a disk lets go of it, and the last one removes it. So a host never removes what another runs on, and one that
comes to a server's disk while the other host is dead finds out which it is. On one host everything else is as without
such a directory: where the disk would be there is a link to it.
"""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from adapters.libvirt.commands import PASSAGE, make_directory
from domain.guest import GuestSpec

HELD = ".held-by-"


class Hold(msgspec.Struct, frozen=True):
    """What a host says of a disk that it needs."""

    epoch: int
    images: tuple[str, ...]
    """Those that the guest's disks are made of: they are kept in common, too."""


class Held(NamedTuple):
    """A disk, and a host that needs it."""

    disk: Path
    host: str
    hold: Hold


class SharedDisks:
    """What one host does with them. All methods are quick, block, and raise OSError."""

    def __init__(self, directory: Path, host: str) -> None:
        self._dir = directory
        self._host = host

    def fresh(self, spec: GuestSpec) -> Path:
        """Where the disk of an assignment, and of a rebuild of it, is to be made."""
        return self._dir / spec.server_id / f"disk-{spec.epoch}-{spec.generation}.qcow2"

    def newest(self, spec: GuestSpec) -> Path | None:
        """The disk that the server had before this assignment, wherever it was; None if none can be seen here."""
        before = [held for held in self._of(spec.server_id) if held.hold.epoch < spec.epoch and held.disk.exists()]
        return max(before, key=lambda held: held.hold.epoch).disk if before else None

    def hold(self, disk: Path, spec: GuestSpec) -> None:
        """Need it for that assignment."""
        make_directory(disk.parent, PASSAGE)
        images = tuple(image.id for image in (spec.image, spec.rescue_image) if image)
        fresh = disk.parent / f".{disk.name}{HELD}{self._host}"
        fresh.write_bytes(msgspec.json.encode(Hold(spec.epoch, images)))
        fresh.replace(disk.parent / f"{disk.name}{HELD}{self._host}")

    def let_go(self, server_id: str, but: Iterable[Path] = ()) -> None:
        """Need none of the server's disks any more ``but`` those; harmless if that is so."""
        kept = {disk.name for disk in but}
        for held in list(self._of(server_id)):
            if held.host == self._host and held.disk.name not in kept:
                held.disk.with_name(f"{held.disk.name}{HELD}{held.host}").unlink(missing_ok=True)
        self._sweep(server_id)

    def end(self, server_id: str) -> None:
        """The server is no more. What another host needs for a newer assignment stays all the same."""
        holds = list(self._of(server_id))
        mine = max((held.hold.epoch for held in holds if held.host == self._host), default=0)
        if all(held.hold.epoch <= mine for held in holds):
            shutil.rmtree(self._dir / server_id, ignore_errors=True)
        else:
            self.let_go(server_id)

    def images(self) -> set[str]:
        """What all disks here are made of."""
        return {image for path in self._dir.glob("*") for held in self._of(path.name) for image in held.hold.images}

    def _sweep(self, server_id: str) -> None:
        """Remove what nobody needs."""
        directory = self._dir / server_id
        needed = {held.disk.name for held in self._of(server_id)}
        if not needed:
            shutil.rmtree(directory, ignore_errors=True)
            return
        for disk in directory.glob("disk-*.qcow2"):
            if disk.name not in needed:
                disk.unlink(missing_ok=True)

    def _of(self, server_id: str) -> Iterator[Held]:
        for path in sorted((self._dir / server_id).glob(f"disk-*{HELD}*")):
            disk, _, host = path.name.partition(HELD)
            if (hold := _read(path)) is not None:
                yield Held(path.with_name(disk), host, hold)


def _read(path: Path) -> Hold | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Hold)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
