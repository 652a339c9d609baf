"""How much room a disk has, and how much of it is not for everybody.

The log, the read database, images and guests may all lie on one disk. When it is full the log takes no event, and
nobody can be served; so whoever brings much (an upload, a download, a new guest) stops before that, and leaves the
reserve to those who bring little.
"""

import os
from enum import Enum
from pathlib import Path
from typing import NamedTuple

GIB = 1024**3
RESERVE_BYTES = 1 * GIB
"""What is kept free of a large disk."""
RESERVE_SHARE = 0.05
"""And of a small one, whatever is less."""
LOW_RESERVES = 3
"""A disk with less free than so many reserves is low: somebody should be told while there is time."""


class Level(Enum):
    """How a disk is."""

    FINE = "fine"
    LOW = "low"
    FULL = "full"
    """Only the reserve is left, or less."""


class Space(NamedTuple):
    """A disk's sizes in bytes, as an unprivileged program sees them."""

    free: int
    total: int

    @property
    def reserve(self) -> int:
        """Bytes that are kept free."""
        return min(RESERVE_BYTES, int(self.total * RESERVE_SHARE))

    @property
    def spare(self) -> int:
        """Bytes that may be written before the reserve is touched."""
        return max(0, self.free - self.reserve)

    @property
    def level(self) -> Level:
        if not self.spare:
            return Level.FULL
        return Level.LOW if self.free < LOW_RESERVES * self.reserve else Level.FINE


def space(path: Path) -> Space:
    """The disk on which ``path`` lies, or will lie once it is made. Raises OSError."""
    while not path.exists() and path != path.parent:
        path = path.parent
    found = os.statvfs(path)
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def spare(path: Path) -> int:
    """Bytes that may be written to the disk of ``path`` before its reserve is touched; 0: write nothing large.

    Cheap enough to ask before each mebibyte of a long upload. Raises OSError.
    """
    return space(path).spare
