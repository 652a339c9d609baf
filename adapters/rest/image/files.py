"""The bytes of images: one file each, whole or not there at all.

An upload goes to ``<id>.part``, is flushed to the disk and only then gets its name. The part is locked (flock),
so that two uploads of one image cannot mix, whichever workers they reach; a crash frees the lock.
"""

import fcntl
import hashlib
import os
from pathlib import Path
from typing import BinaryIO, NamedTuple

from adapters.rest.image.formats import HEADER_BYTES
from domain.errors import Refused
from domain.log.record import Recorded
from domain.neighbours.image import ImageDeleted


class Stored(NamedTuple):
    """What was written."""

    size: int
    md5: str
    sha512: str
    head: bytes
    """The first bytes."""


class ImageFile:
    """Where an image's bytes are."""

    def __init__(self, directory: Path, image_id: str) -> None:
        self.path = directory / image_id
        self._directory = directory
        self._part = directory / f"{image_id}.part"

    def open_part(self) -> "Part":
        """A new, locked, empty part; raises Refused (409) if an upload is under way."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for _ in range(3):
            file = self._part.open("ab")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                break
            mine = os.fstat(file.fileno())
            try:
                current = self._part.stat().st_ino == mine.st_ino
            except FileNotFoundError:
                current = False
            if current and mine.st_nlink == 1:
                file.truncate(0)
                return Part(self, file)
            if current:
                # A crash between naming the file and forgetting the part: the inode is the image's by now.
                self._part.unlink(missing_ok=True)
            file.close()
        raise Refused("image.uploading", f"The data of image {self.path.name} is being uploaded already.")

    def is_there(self) -> bool:
        """Whether a whole file is there."""
        return self.path.exists()

    def publish(self, *, replace: bool) -> None:
        """Give the part its name."""
        if replace:
            os.replace(self._part, self.path)  # noqa: PTH105 - Path.replace says the same
        else:
            os.link(self._part, self.path)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def forget_part(self) -> None:
        """Remove the part's name."""
        self._part.unlink(missing_ok=True)


class Part:
    """An upload on its way. All of it blocks: call it in a thread."""

    def __init__(self, image: ImageFile, file: BinaryIO) -> None:
        self.image = image
        self._file = file
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha512 = hashlib.sha512()
        self._size = 0
        self._head = b""

    def write(self, data: bytes) -> None:
        if len(self._head) < HEADER_BYTES:
            self._head = (self._head + data)[:HEADER_BYTES]
        self._file.write(data)
        self._md5.update(data)
        self._sha512.update(data)
        self._size += len(data)

    def flush(self) -> Stored:
        """Bring it all to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return Stored(self._size, self._md5.hexdigest(), self._sha512.hexdigest(), self._head)

    def close(self) -> None:
        """Remove the part's name and unlock."""
        self.image.forget_part()
        self._file.close()


def forget_deleted(directory: Path, recorded: Recorded) -> None:
    """Remove the bytes of an image of which an event tells that it is deleted, whoever did it."""
    if isinstance(recorded.event, ImageDeleted):
        ImageFile(directory, recorded.aggregate.id).path.unlink(missing_ok=True)
