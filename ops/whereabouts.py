"""Where servers have been: on which host, from when until when."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from domain.log.kind import advance
from domain.log.record import Recorded
from domain.server.fold import KIND
from domain.server.state import DELETED, Server


class Stay(NamedTuple):
    """A server's time on a host."""

    host: str
    since: datetime
    until: datetime | None = None
    """None: it was there still, when the history ends."""


def stays(history: Iterable[Recorded]) -> Iterator[Stay]:
    """By what the server's own events say, in their order."""
    server: Server | None = None
    stay: Stay | None = None
    for recorded in history:
        server = advance(KIND, server, recorded)
        host = server.host if server and server.vm_state != DELETED else None
        if stay and host != stay.host:
            yield stay._replace(until=recorded.meta.time)
            stay = None
        if host and stay is None:
            stay = Stay(host, recorded.meta.time)
    if stay:
        yield stay
