"""Who runs a stack. Its supervisor holds the lock as long as it lives: the kernel lets go of it, however that ends.

A process id alone proves nothing: after a crash or a reboot it is somebody else's.
"""

import fcntl
import os
import struct
from pathlib import Path

FLOCK = struct.Struct("hhqqi4x")
"""``struct flock`` of fcntl(2), where a long has 64 bits: type, whence, start, length, process."""


class StateLock:
    """One file that one process at a time can hold."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._held: int | None = None

    def take(self) -> bool:
        """Hold it until this process ends or lets it go; False if another holds it."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._held = descriptor
        return True

    def release(self) -> None:
        """Let it go; harmless if we do not hold it."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def holder(self) -> int | None:
        """The process id that the holder has written down; 0 if it has not done so yet; None if nobody holds it."""
        try:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            asked = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            found, *_ = FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))
            if found == fcntl.F_UNLCK:
                return None
            return int(os.pread(descriptor, 32, 0) or b"0")
        finally:
            os.close(descriptor)

    def exists(self) -> bool:
        """Whether anybody has ever held it."""
        return self._file.exists()
