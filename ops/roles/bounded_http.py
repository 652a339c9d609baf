"""HTTP connections that cost no more than they may: uvicorn's protocol, with bounds on what a client can hold.

Its parser keeps heads of any length, and nothing limits how long a client takes or how many connections it has.
"""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from adapters.rest.kit.event_stream import LASTS

log = logging.getLogger(__name__)

TOO_MANY = "Too many connections."


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a client may have of one process. Sizes in bytes, times in seconds."""

    head_bytes: int = 64 * 1024
    """Of a request's line and header fields, and of trailers."""
    head_seconds: float = 10.0
    """In which a head has to be there, once the connection or the request has begun."""
    body_seconds: float = 60.0
    body_bytes: int = 1024
    """So many at least have to come in that time, as long as somebody waits for them."""
    reading_seconds: float = 60.0
    """How long a client may take nothing of what waits for it."""
    look_seconds: float = 2.5
    """How often a connection is looked at."""
    connections: int = 4096
    of_one_address: int = 1024
    """So that one cannot keep out the others."""


@dataclass
class Crowd:
    """Who is connected to this process."""

    bounds: Bounds = field(default_factory=Bounds)
    by_address: Counter[str] = field(default_factory=Counter)

    def admits(self, address: str) -> bool:
        """Whether another connection from there may be held."""
        return (
            self.by_address.total() < self.bounds.connections
            and self.by_address[address] < self.bounds.of_one_address
        )


class Door(asyncio.Protocol):
    """Where a connection comes in. One that may not be held is sent away before anything is made for it: a crowd at
    the door must not cost those inside."""

    def __init__(self, *words: Any, crowd: Crowd, **more: Any) -> None:
        self._crowd = crowd
        self._words, self._more = words, more

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        address = _address(transport)
        if not self._crowd.admits(address):
            _log(address, TOO_MANY)
            transport.write(_refusal(503, TOO_MANY))
            transport.close()
            return
        inside = BoundedHttp(*self._words, crowd=self._crowd, address=address, **self._more)
        transport.set_protocol(inside)
        inside.connection_made(transport)


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *words: Any, crowd: Crowd, address: str, **more: Any) -> None:
        super().__init__(*words, **more)
        self._crowd = crowd
        self._bounds = crowd.bounds
        self._address = address
        self._watch: asyncio.TimerHandle | None = None
        self._head_since: float | None = None
        """When the head began that is not complete yet; None between requests and in a body."""
        self._head_bytes = 0
        self._in_body = False
        self._body_since = 0.0
        self._body_bytes = 0
        self._unread_since: float | None = None
        self._steps = 0
        """Heads, pieces of bodies and ends that the parser has found."""
        self._stepless = 0
        """Bytes that it has kept since without finding any."""

    # -- of the transport ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._crowd.by_address[self._address] += 1
        self._head_since = self.loop.time()
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._crowd.by_address[self._address] -= 1
        if not self._crowd.by_address[self._address]:
            del self._crowd.by_address[self._address]
        super().connection_lost(exc)

    def shutdown(self) -> None:
        super().shutdown()
        if self.cycle and not self.cycle.response_complete and LASTS in self.cycle.scope:
            # Nobody waits for what has no end of its own; its reader goes on elsewhere.
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        before = self._steps
        self._body_bytes += len(data)
        super().data_received(data)
        self._stepless = self._stepless + len(data) if self._steps == before else 0
        if self._stepless > self._bounds.head_bytes and not self.transport.is_closing():
            self._refuse(431, "The head of the request is too large.")

    def pause_writing(self) -> None:
        self._unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since = None
        super().resume_writing()

    # -- of the parser ---------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        if self._head_since is None:
            self._head_since = self.loop.time()

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        # Trailers come after the head and mean nothing to anybody here.
        if self._head_bytes <= self._bounds.head_bytes and not self._in_body:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._steps += 1
        self._head_since = None
        self._in_body = True
        self._body_since, self._body_bytes = self.loop.time(), 0
        if self._head_bytes <= self._bounds.head_bytes:
            super().on_headers_complete()
            return
        app, self.app = self.app, _too_large
        try:
            super().on_headers_complete()
        finally:
            self.app = app

    def on_body(self, body: bytes) -> None:
        self._steps += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._steps += 1
        self._in_body = False
        super().on_message_complete()

    # -- ours ------------------------------------------------------------------------------------------

    def _look_later(self) -> None:
        self._watch = self.loop.call_later(self._bounds.look_seconds, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        if self.transport.is_closing() and self._unread_since is None:
            # What it has been told waits for a client that may never take it.
            self._unread_since = now
        if self._unread_since is not None and now - self._unread_since > self._bounds.reading_seconds:
            _log(self._address, "does not read its answer")
            self.transport.abort()
        elif self.transport.is_closing():
            pass
        elif self._head_since is not None and now - self._head_since > self._bounds.head_seconds:
            self._refuse(408, "The request took too long.")
        elif self._in_body:
            self._look_at_body(now)
        self._look_later()

    def _look_at_body(self, now: float) -> None:
        if self.flow.read_paused or self._body_bytes >= self._bounds.body_bytes:
            self._body_since, self._body_bytes = now, 0
        elif now - self._body_since > self._bounds.body_seconds:
            _log(self._address, "does not send its body")
            self.transport.abort()

    def _refuse(self, status: int, words: str) -> None:
        """Answer, where no other answer is under way, and close."""
        _log(self._address, words)
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_refusal(status, words))
        self.transport.close()


def _address(transport: asyncio.Transport) -> str:
    """Whose connection it is; empty for one of this machine that has no address."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _refusal(status: int, words: str) -> bytes:
    retry = b"retry-after: 1\r\n" if status == 503 else b""
    body = words.encode()
    return b"%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n%bconnection: close\r\n\r\n%b" % (
        STATUS_LINE[status],
        len(body),
        retry,
        body,
    )


def _log(address: str, words: str) -> None:
    log.info("connection from %s: %s", address, words, extra={"source": address})


async def _too_large(_scope: Any, _receive: Any, send: Any) -> None:
    """The application of those whose head is too large: it must not reach the true one, in part."""
    body = b"The head of the request is too large."
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 431, "headers": headers})
    await send({"type": "http.response.body", "body": body})
