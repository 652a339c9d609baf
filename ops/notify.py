"""Tells whoever started us that we are ready: systemd's notification protocol, see sd_notify(3)."""

import os
import socket


def ready() -> None:
    """Say READY=1; nothing to do where nobody listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        try:
            client.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            # Whoever started us has stopped listening; that is no reason not to work.
            return
