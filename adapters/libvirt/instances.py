"""A directory a guest: what we were told of it, its disk, its console log.

What we were told is written before anything else is made and removed after everything else is gone, so
that whatever interrupts us, the next attempt knows what there may be.
"""

import os
import shutil
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec

from adapters.libvirt.commands import PASSAGE, file_failures, make_directory
from adapters.libvirt.shared_disks import SharedDisks
from domain.errors import HostFailed
from domain.guest import GuestSpec

GUEST_FILE = "guest.json"
DISK = "disk.qcow2"
"""The root disk, or a link to it where it is in a directory that hosts have in common."""
EPHEMERAL = "ephemeral.qcow2"
SWAP = "swap.qcow2"
CONSOLE_LOG = "console.log"
GIVEN = "given"
"""There is a file of this name where only the disk counts."""
COMING = "coming"
"""And of this, where a running guest is expected."""
ASIDE = "before"
"""What the guest was before it was moved within this host."""
FORGOTTEN = "forgotten"
"""What was set aside and is not wanted any more: it has a name of its own, so that half of it is never put back."""
SAVED = "image-"
"""How names begin of what is kept for an image."""
RESCUE_CONFIG_DRIVE = "config-drive.rescue.img"


class Saved(NamedTuple):
    """A guest's disk as it was at one moment."""

    file: Path
    """Whole, or not there."""
    part: Path
    """While it is made."""
    sent: Path
    """Tells that the image service has it, in its place."""

    def is_kept(self) -> bool:
        """Whether it is here, or was sent."""
        return self.file.exists() or self.sent.exists()

    def note_sent(self) -> None:
        self.sent.touch()
        self.file.unlink(missing_ok=True)


class Instances:
    """The guests' directories of one host. All methods are quick and block."""

    def __init__(self, directory: Path, shared: SharedDisks | None = None) -> None:
        self._dir = directory
        self._shared = shared

    def directory(self, server_id: str) -> Path:
        """Where the guest's files are. Raises HostFailed if ``server_id`` is no UUID: it becomes a path."""
        try:
            return self._dir / str(UUID(server_id))
        except ValueError as error:
            raise HostFailed("The id of the server is not a UUID.", repr(server_id)) from error

    def disk(self, server_id: str) -> Path:
        """The guest's root disk."""
        return _target(self.directory(server_id) / DISK)

    def place(self, spec: GuestSpec, *, found: bool = False) -> None:
        """Settle where the guest's disk shall be made, unless it is; with ``found`` it is the one that the server had
        on another host, if that can be seen from here."""
        link = self.directory(spec.server_id) / DISK
        if self._shared is None:
            return
        with file_failures("The host could not find a place for the guest's disk."):
            if not os.path.lexists(link):
                disk = (self._shared.newest(spec) if found else None) or self._shared.fresh(spec)
                self._shared.hold(disk, spec)
                link.symlink_to(disk)

    def has_found(self, spec: GuestSpec) -> bool:
        """Whether the guest's disk is the one that the server had on another host."""
        link = self.directory(spec.server_id) / DISK
        return self._shared is not None and link.is_symlink() and link.readlink() != self._shared.fresh(spec)

    def ephemeral(self, server_id: str) -> Path:
        """The second disk, if the flavor has one."""
        return self.directory(server_id) / EPHEMERAL

    def swap(self, server_id: str) -> Path:
        """The disk for swap, if the flavor has one."""
        return self.directory(server_id) / SWAP

    def rescue_disk(self, server_id: str) -> Path:
        """What it starts from while it is being rescued."""
        return self.directory(server_id) / "rescue.qcow2"

    def config_drive(self, spec: GuestSpec) -> Path:
        """Its metadata as a disk, if it asked for one; the rescue system has one of its own."""
        name = RESCUE_CONFIG_DRIVE if spec.rescue_image else "config-drive.img"
        return self.directory(spec.server_id) / name

    def console_log(self, server_id: str) -> Path:
        """What the guest's serial console printed; virtlogd writes and rotates it."""
        return self.directory(server_id) / CONSOLE_LOG

    def saved(self, server_id: str, image_id: str) -> "Saved":
        """Where the guest's disk is kept as it was, for an image. Raises HostFailed if ``image_id`` is no UUID."""
        try:
            name = f"{SAVED}{UUID(image_id)}"
        except ValueError as error:
            raise HostFailed("The id of the image is not a UUID.", repr(image_id)) from error
        directory = self.directory(server_id)
        return Saved(directory / f"{name}.qcow2", directory / f"{name}.part", directory / f"{name}.sent")

    def forget_saved(self, server_id: str) -> None:
        """Remove all that was kept for images; harmless if nothing was."""
        with file_failures("The host could not remove what was kept for an image."):
            for path in self.directory(server_id).glob(f"{SAVED}*"):
                path.unlink(missing_ok=True)

    def save(self, spec: GuestSpec) -> None:
        """Write down what we were told, whole or not at all."""
        with file_failures("The host could not write down the guest."):
            directory = self.directory(spec.server_id)
            # QEMU's user has to pass through; nobody else gets through the directory above.
            make_directory(directory, PASSAGE)
            if self._shared and (directory / DISK).is_symlink():
                self._shared.hold(self.disk(spec.server_id), spec)
            fresh = directory / f"{GUEST_FILE}.new"
            fresh.write_bytes(msgspec.json.encode(spec))
            fresh.replace(directory / GUEST_FILE)

    def load(self, server_id: str) -> GuestSpec | None:
        """What we were told of the guest; None if nothing, or nothing legible, is there."""
        return _read(self.directory(server_id) / GUEST_FILE)

    def all(self) -> list[GuestSpec]:
        """Every guest of which there is a directory, in the order of their ids; without those that were given."""
        files = sorted(self._dir.glob(f"*/{GUEST_FILE}"))
        found = (_read(path) for path in files if not (path.parent / GIVEN).exists())
        return [spec for spec in found if spec is not None]

    def everything(self) -> list[GuestSpec]:
        """All that anything is kept of: also what was given, and what was set aside."""
        files = sorted([*self._dir.glob(f"*/{GUEST_FILE}"), *self._dir.glob(f"*/{ASIDE}/{GUEST_FILE}")])
        return [spec for path in files if (spec := _read(path)) is not None]

    def is_given(self, server_id: str) -> bool:
        """Whether only the guest's disk counts."""
        return (self.directory(server_id) / GIVEN).exists()

    def give(self, server_id: str) -> None:
        """Write down that only the guest's disk counts from now on."""
        with file_failures("The host could not write down that the server leaves it."):
            (self.directory(server_id) / GIVEN).touch()

    def expect(self, server_id: str) -> None:
        """Write down that the guest, of which it is known what it will be, comes here while it runs."""
        with file_failures("The host could not write down that the server comes."):
            (self.directory(server_id) / COMING).touch()

    def expected(self) -> list[str]:
        """Whom to expect; some may have come meanwhile."""
        return [path.parent.name for path in self._dir.glob(f"*/{COMING}") if not (path.parent / GIVEN).exists()]

    def stop_expecting(self, server_id: str) -> None:
        """The guest has come."""
        with file_failures("The host could not write down that the server has come."):
            (self.directory(server_id) / COMING).unlink(missing_ok=True)

    def take_back(self, server_id: str) -> None:
        """The guest counts again; harmless if it does."""
        with file_failures("The host could not write down that the server stays."):
            (self.directory(server_id) / GIVEN).unlink(missing_ok=True)

    def aside(self, server_id: str) -> GuestSpec | None:
        """What was set aside of the guest, if anything was."""
        return _read(self.directory(server_id) / ASIDE / GUEST_FILE)

    def aside_disk(self, server_id: str) -> Path:
        """The disk of that."""
        return _target(self.directory(server_id) / ASIDE / DISK)

    def aside_ephemeral(self, server_id: str) -> Path:
        return self.directory(server_id) / ASIDE / EPHEMERAL

    def set_aside(self, server_id: str) -> None:
        """Keep all that there is of the guest as what it was, but for its console; what is told of it goes last, so
        that an interruption is gone on with."""
        directory = self.directory(server_id)
        with file_failures("The host could not set the server's disk aside."):
            make_directory(directory / ASIDE, PASSAGE)
            self._move(directory, directory / ASIDE)

    def keeps_aside(self, server_id: str) -> bool:
        """Whether anything is set aside of the guest, or a part of it: an interruption may have left that."""
        return (self.directory(server_id) / ASIDE).is_dir()

    def put_back(self, server_id: str) -> None:
        """Have what was set aside in the place of what there is; harmless if nothing was.

        What is told of a guest goes last from either place. So where that is missing here, all else is gone already,
        and what is here has come back; where it is missing aside, not all had left.
        """
        directory = self.directory(server_id)
        with file_failures("The host could not take back the server's disk."):
            if not self.keeps_aside(server_id):
                return
            if (directory / ASIDE / GUEST_FILE).exists() and (directory / GUEST_FILE).exists():
                self._let_go(server_id, but=self.aside_disk(server_id))
                for path in _with_its_guest_file_last(directory):
                    path.unlink()
            self._move(directory / ASIDE, directory)
            shutil.rmtree(directory / ASIDE)

    def discard_aside(self, server_id: str) -> None:
        """Forget what was set aside."""
        self.forget(server_id)
        with file_failures("The host could not remove the server's former disk."):
            (self.directory(server_id) / ASIDE).replace(self.directory(server_id) / FORGOTTEN)
        self.forget(server_id)

    def forget(self, server_id: str) -> None:
        """Remove what is not wanted any more, where that was interrupted; harmless if nothing is left of it."""
        forgotten = self.directory(server_id) / FORGOTTEN
        with file_failures("The host could not remove the server's former disk."):
            if forgotten.exists():
                self._let_go(server_id, but=self.disk(server_id))
                shutil.rmtree(forgotten)

    def end(self, server_id: str) -> None:
        """The server is no more: nobody needs what hosts have of it in common."""
        if self._shared:
            with file_failures("The host could not remove the server's disks."):
                self._shared.end(str(UUID(server_id)))

    def images(self) -> set[str]:
        """What the guests here, and all disks that hosts have in common, are made of."""
        here = {image.id for spec in self.everything() for image in (spec.image, spec.rescue_image) if image}
        return here | self._shared.images() if self._shared else here

    def _let_go(self, server_id: str, *, but: Path | None = None) -> None:
        if self._shared:
            self._shared.let_go(server_id, [but] if but else [])

    def _move(self, source: Path, target: Path) -> None:
        for path in _with_its_guest_file_last(source):
            path.replace(target / path.name)

    def discard_disks(self, server_id: str) -> None:
        """Remove the guest's disks and all that was made of its metadata; what we were told stays."""
        directory = self.directory(server_id)
        with file_failures("The host could not remove the guest's disk."):
            self._let_go(server_id, but=self.aside_disk(server_id))
            for path in (
                directory / DISK,
                directory / EPHEMERAL,
                directory / SWAP,
                *directory.glob("config-drive*.img"),
            ):
                path.unlink(missing_ok=True)
        self.discard_rescue(server_id)

    def discard_rescue(self, server_id: str) -> None:
        """Remove the rescue system; harmless if there is none."""
        with file_failures("The host could not remove the rescue disk."):
            self.rescue_disk(server_id).unlink(missing_ok=True)
            (self.directory(server_id) / RESCUE_CONFIG_DRIVE).unlink(missing_ok=True)

    def remove(self, server_id: str) -> None:
        """Remove the guest's files; harmless if there are none."""
        directory = self.directory(server_id)
        with file_failures("The host could not remove the guest's files."):
            if not directory.exists():
                return
            self._let_go(server_id)
            for path in directory.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != GUEST_FILE:
                    path.unlink()
            shutil.rmtree(directory)


def _with_its_guest_file_last(directory: Path) -> list[Path]:
    """The files of a guest's directory, without its console's."""
    files = [path for path in directory.iterdir() if path.is_file() and path.name != CONSOLE_LOG]
    return sorted(files, key=lambda path: path.name == GUEST_FILE)


def _target(path: Path) -> Path:
    return path.readlink() if path.is_symlink() else path


def _read(path: Path) -> GuestSpec | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=GuestSpec)
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return None
