"""The other end of ``ops.notify``: hears what the programs that we started say of themselves."""

import asyncio
import os
import secrets
import socket
import struct
from collections.abc import Callable
from pathlib import Path

LONGEST_NOTICE = 4096
CREDENTIALS = struct.Struct("3i")
"""The kernel's word on a sender: process, user, group; see unix(7)."""


class Notices:
    """A socket on which one program is heard. Other users of the machine can neither take its name, which nobody can
    guess, nor be taken for the program."""

    def __init__(self, heard: Callable[[bool], None], place: Path | None = None) -> None:
        """``heard`` is called for each notice; with True if the program says that it is ready. A name that is no
        file's is known in one network namespace only: who is heard in another needs a ``place``, where nobody else
        can put files. Raises OSError.
        """
        self._heard = heard
        self._place = place
        if place is not None:
            place.unlink(missing_ok=True)
        self.address = str(place) if place else f"@lightcurve-{secrets.token_hex(16)}"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._listener.bind(self.address if place else "\0" + self.address[1:])
        asyncio.get_running_loop().add_reader(self._listener, self._take)

    def close(self) -> None:
        """Hear no more."""
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        if self._place is not None:
            self._place.unlink(missing_ok=True)

    def _take(self) -> None:
        while True:
            try:
                notice, about, _, _ = self._listener.recvmsg(LONGEST_NOTICE, socket.CMSG_SPACE(CREDENTIALS.size))
            except BlockingIOError:
                return
            if _is_ours(about):
                self._heard(b"READY=1" in notice.split(b"\n"))


def _is_ours(about: list[tuple[int, int, bytes]]) -> bool:
    users = [
        CREDENTIALS.unpack(data)[1]
        for level, kind, data in about
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and len(data) == CREDENTIALS.size
    ]
    return bool(users) and users[0] in (0, os.geteuid())
