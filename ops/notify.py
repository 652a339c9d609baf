"""Tells whoever started us how we are: systemd's notification protocol, see sd_notify(3)."""

import asyncio
import os
import socket

from ops import garbage

BEAT_SECONDS = 10.0
"""How often a process says that it lives, unless who started it wants to hear it more often."""
EXTENSION_SECONDS = 60
"""How much longer than the last sign of life a start may take, whatever the service manager's limit is."""


def ready() -> None:
    """Say that we are ready, if anybody listens. What was made until now stays."""
    garbage.begin()
    _say("READY=1")


async def keep_saying_alive() -> None:
    """Say that the event loop turns, again and again until cancelled: a start that takes long is no failure, and a
    process that hangs is noticed by its silence."""
    seconds = _wanted_seconds()
    while True:
        _say(f"WATCHDOG=1\nEXTEND_TIMEOUT_USEC={EXTENSION_SECONDS * 1_000_000}")
        await asyncio.sleep(seconds)


def _wanted_seconds() -> float:
    """A third of the time after which silence counts; sd_watchdog_enabled(3) says how it is told."""
    try:
        limit = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
    except ValueError:
        limit = 0.0
    return min(BEAT_SECONDS, limit / 3) if limit > 0 else BEAT_SECONDS


def _say(words: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as client:
        try:
            client.sendto(words.encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            # Whoever started us has stopped listening, or does not keep up; that is no reason not to work.
            return
