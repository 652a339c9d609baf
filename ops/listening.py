"""Listening sockets that several processes share."""

import resource
import socket

from domain.errors import Unavailable

BACKLOG = 1024
MANY_FILES = 65_536
"""Not without a limit: programs that we start close, at their start, every file that they might have open."""


def listening_socket(address: str, port: int) -> socket.socket:
    """Listen on a port together with other processes of ours: the kernel spreads the connections.

    Raises Unavailable if the port is somebody else's.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        raise Unavailable(f"Cannot listen on {address}:{port}: {error.strerror}.") from None
    listener.listen(BACKLOG)
    return listener


def allow_many_files() -> None:
    """Let this process have MANY_FILES, or as many as the operator allows, not as few as is usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(MANY_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
