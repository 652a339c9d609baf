"""Sockets in other network namespaces, for a process that stays in its own."""

import ctypes
import os
import socket
import threading
from pathlib import Path

from adapters.libvirt.commands import file_failures

NAMESPACES = Path("/run/netns")
CLONE_NEWNET = 0x40000000
BACKLOG = 64


def listen_in(namespace: str | Path, address: str, port: int) -> socket.socket:
    """A TCP socket that listens in a namespace: of that name, or of that path. Blocks for moments. Raises HostFailed.

    A socket stays in the namespace where it was made, and only the thread that makes it goes there.
    """
    made: list[socket.socket] = []
    failed: list[OSError] = []

    def work() -> None:
        try:
            _enter(NAMESPACES / namespace)
            made.append(_listen(address, port))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=work, name=f"netns {namespace}")
    thread.start()
    thread.join()
    with file_failures("The host could not listen where it should."):
        if failed:
            raise failed[0]
    return made[0]


def _enter(namespace: Path) -> None:
    """Take the calling thread there, for good."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(namespace))
    finally:
        os.close(descriptor)


def _listen(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
