"""WebSockets on asyncio: the protocol is websockify's, the waiting is ours.

websockify speaks to a socket that would block. It gets one that never does: what has arrived is handed to it,
what it sends goes to a transport. So thousands of idle viewers cost memory, not processes.
"""

import asyncio
import errno
from collections.abc import Mapping

from websockify.websocket import WebSocket, WebSocketWantReadError

from domain.errors import Invalid

CHUNK = 64 * 1024
MAX_MESSAGE = 1024 * 1024
"""Bytes of one message of a viewer: what is pasted, at most. Longer ones end the session."""
WRITE_LIMIT = 256 * 1024
"""Bytes that wait for a slow viewer before the guest's side is no longer read."""
READING_SECONDS = 120.0
"""How long a viewer may take nothing of what waits for it."""
SUBPROTOCOL = "binary"

NORMAL, PROTOCOL_ERROR, POLICY, TOO_BIG, TRY_LATER = 1000, 1002, 1008, 1009, 1013
"""Codes of closing: https://www.rfc-editor.org/rfc/rfc6455#section-7.4."""


class _Pipe:
    """What websockify takes for its socket."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._arrived = b""
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Bytes have arrived; none of them is the end."""
        self._arrived += data
        self._ended = self._ended or not data

    def recv(self, _size: int) -> bytes:
        """All that has arrived."""
        if not self._arrived and not self._ended:
            raise OSError(errno.EWOULDBLOCK, "nothing has arrived")
        data, self._arrived = self._arrived, b""
        return data

    def send(self, data: bytes) -> int:
        """Takes everything; whoever sends much waits for ``drain``."""
        if not self._writer.is_closing():
            self._writer.write(data)
        return len(data)

    def close(self) -> None:
        """Close the connection once all is sent."""
        self._writer.close()


class _Protocol(WebSocket):  # type: ignore[misc]
    def select_subprotocol(self, protocols: list[str]) -> str:
        """``binary`` is the only one that consoles speak; old clients name none."""
        return next((name for name in protocols if name.strip() == SUBPROTOCOL), "")


class WebSocketStream:
    """The server's end of one WebSocket. Messages are binary."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._pipe = _Pipe(writer)
        self._protocol = _Protocol()
        self._unread = 0
        writer.transport.set_write_buffer_limits(WRITE_LIMIT)

    def accept(self, headers: Mapping[str, str]) -> None:
        """Complete the handshake; ``headers`` have lower-case names. Raises Invalid for one that is none."""
        try:
            self._protocol.accept(self._pipe, _AnyCase(headers))
        except Exception as error:  # noqa: BLE001 - websockify has no exceptions of its own for this
            raise Invalid(f"This is no WebSocket handshake: {error}") from None

    async def receive(self) -> bytes | None:
        """The next message; None at the end. A message that is too long ends the connection."""
        while True:
            try:
                message: bytes | None = self._protocol.recvmsg()
            except WebSocketWantReadError:
                if self._unread > MAX_MESSAGE:
                    self.close(TOO_BIG, "too long")
                    return None
                # It answers pings by itself: whoever sends them has to take the answers before more are read.
                await self._drain()
                data = await self._reader.read(CHUNK)
                self._unread += len(data)
                self._pipe.feed(data)
                continue
            self._unread = 0
            await self._drain()
            return message

    async def send(self, data: bytes) -> None:
        """Send one message; waits while the viewer is slow. Raises ConnectionError once it is gone, or has taken
        nothing for READING_SECONDS."""
        self._protocol.sendmsg(data)
        if not await self._drain():
            await self._writer.drain()

    async def _drain(self) -> bool:
        """If too much waits for the viewer, wait until it has taken it; whether that was so."""
        if self._writer.transport.get_write_buffer_size() <= WRITE_LIMIT or self._writer.is_closing():
            return False
        try:
            async with asyncio.timeout(READING_SECONDS):
                await self._writer.drain()
        except TimeoutError:
            raise ConnectionError("the viewer reads nothing") from None
        return True

    def ping(self) -> None:
        """Keep balancers from thinking that nobody is there."""
        self._protocol.ping()

    def close(self, code: int, reason: str) -> None:
        """Say goodbye, and go; harmless if the other end has gone."""
        if not self._writer.is_closing():
            self._protocol.close(code, reason)


class _AnyCase(dict[str, str]):
    """Headers by whatever case websockify asks for."""

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        return super().get(name.lower(), default)
