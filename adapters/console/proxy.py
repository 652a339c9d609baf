"""The proxy: takes a viewer's WebSocket, has its token redeemed, and carries bytes to the guest's console and back.

It holds nothing that another proxy would need: tokens, their limits and their death are in the log.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from adapters.console import content_security, spice, vencrypt
from adapters.console.requests import (
    MAX_HEAD,
    Request,
    check_origin,
    find_file,
    head,
    media_type_of,
    read_request,
)
from adapters.console.websocket import CHUNK, NORMAL, POLICY, TRY_LATER, WebSocketStream
from domain.console import PROTOCOL_OF, SPICE, VNC
from domain.errors import LightcurveError, Refused, Unavailable
from handlers.consoles.sessions import Doorkeeper, Session
from handlers.context import current_request
from handlers.messages import ConsoleAddress

SPICE_PAGES = "/spice/"
CONNECT_SECONDS = 5.0
PING_SECONDS = 30.0
CLOSE_SECONDS = 2.0
"""How long the other end may take to take note of the end."""
FILE_SECONDS = 60.0
BACKLOG = 1024
"""Connections that wait to be taken up. The kernel drops what comes beyond, and the client does not notice."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ProxySettings:
    """What the operator decides."""

    web_dir: Path
    """noVNC's web client."""
    spice_dir: Path | None = None
    """SPICE's, which lies below SPICE_PAGES; None: there is none."""
    allowed_origins: tuple[str, ...] = ()
    max_connections: int = 2_000
    tls: ssl.SSLContext | None = None
    """With it, screens are carried from their hosts by TLS or not at all."""


class ConsoleProxy:
    """One process's share of all consoles."""

    def __init__(self, doorkeeper: Doorkeeper, settings: ProxySettings) -> None:
        self._doorkeeper = doorkeeper
        self._settings = settings
        self._connections: set[asyncio.StreamWriter] = set()
        self._knocking: dict[asyncio.StreamWriter, str] = {}
        """Those without a session, by address, the oldest first."""
        self.sessions = 0
        """Consoles open now."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, to its end."""
        request_id = f"req-{uuid4()}"
        current_request.set(request_id)
        address = (writer.get_extra_info("peername") or ("unknown",))[0]
        crowded = len(self._connections) >= self._settings.max_connections and not self._make_room()
        self._connections.add(writer)
        self._knocking[writer] = address
        try:
            if crowded:
                raise Refused("console.crowded", "This proxy has too many connections.", status=503)
            request = await read_request(reader)
            if request.is_upgrade:
                await self._console(request, reader, writer, address)
            else:
                await self._file(request, writer, request_id)
        except LightcurveError as error:
            log.info("console connection from %s refused: %s", address, error.code, extra={"source": address})
            body = f"{error.message}\n".encode()
            status = error.status if error.status in (400, 403, 404, 408, 431, 503) else 503
            if not writer.is_closing():
                writer.write(head(status, len(body), request_id) + body)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            log.debug("console connection from %s: %s", address, error or type(error).__name__)
        except Exception:
            # Nobody awaits this task: asyncio would tell of a bug that one viewer meets without its request's id.
            log.exception("console connection from %s", address, extra={"source": address})
        finally:
            self._connections.discard(writer)
            self._knocking.pop(writer, None)
            with contextlib.suppress(OSError, TimeoutError):
                writer.close()
                async with asyncio.timeout(CLOSE_SECONDS):
                    await writer.wait_closed()
            # Whoever has not taken it by now does not want it.
            writer.transport.abort()

    def _make_room(self) -> bool:
        """End the oldest connection without a session, of the address that has most of them: whoever means well
        has one for moments only. False if there is none."""
        if not self._knocking:
            return False
        ((loudest, _),) = Counter(self._knocking.values()).most_common(1)
        victim = next(writer for writer, address in self._knocking.items() if address == loudest)
        del self._knocking[victim]
        self._connections.discard(victim)
        victim.transport.abort()
        return True

    async def _file(self, request: Request, writer: asyncio.StreamWriter, request_id: str) -> None:
        root, path = self._settings.web_dir, "/vnc_lite.html" if request.path == "/" else request.path
        if self._settings.spice_dir and path.startswith(SPICE_PAGES):
            root, path = self._settings.spice_dir, path.removeprefix(SPICE_PAGES)
        file = await asyncio.to_thread(find_file, root, path)
        content = await asyncio.to_thread(file.read_bytes)
        media_type = media_type_of(file)
        rules = content_security.policy(content.decode(errors="replace")) if media_type == "text/html" else ""
        writer.write(head(200, len(content), request_id, media_type, rules))
        if request.method == "GET":
            writer.write(content)
        async with asyncio.timeout(FILE_SECONDS):
            await writer.drain()

    async def _console(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str
    ) -> None:
        check_origin(request, self._settings.allowed_origins)
        session = Session(request.token, address)
        async with self._doorkeeper.admitted(session) as admission:
            self._knocking.pop(writer, None)
            log.info("console session %s of server %s opened from %s", admission.session_id, admission.server_id,
                     address)  # fmt: skip
            protocol, place, tls = PROTOCOL_OF[admission.console_type], admission.place, self._settings.tls
            guest_reader, guest_writer = await _connect(place, tls if protocol == SPICE else None)
            self.sessions += 1
            try:
                if tls and protocol == VNC:
                    await vencrypt.secure(guest_reader, guest_writer, tls, place.host)
                viewer = WebSocketStream(reader, writer)
                viewer.accept(request.headers)
                if tls and protocol == VNC:
                    guest_writer.write(await vencrypt.welcome(viewer))
                await _carry(session, viewer, guest_reader, guest_writer, joins=admission.joins)
            finally:
                self.sessions -= 1
                guest_writer.transport.abort()
            log.info("console session %s ended: %s", admission.session_id, session.reason or "closed")


async def _connect(
    place: ConsoleAddress, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Call the host; by TLS from the first byte on, if ``tls`` says so."""
    port, server_name = (place.tls_port, place.host) if tls else (place.port, None)
    if not port:
        raise Unavailable(
            "The console's host does not encrypt, and this proxy must."
            if tls
            else "The console's host speaks TLS only, and this proxy has no certificate."
        )
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(
                place.host, port, limit=CHUNK, ssl=tls, server_hostname=server_name
            )
    except OSError as error:
        raise Unavailable(f"The console's host does not answer: {error}") from error
    writer.write(place.greeting.encode())
    return reader, writer


async def _carry(
    session: Session, viewer: WebSocketStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter,
    *, joins: bool,
) -> None:  # fmt: skip
    """Carry bytes both ways, until either end goes or the grant dies."""
    ended = asyncio.Event()

    async def to_guest() -> None:
        message = await spice.joining(viewer) if joins else await viewer.receive()
        while message is not None:
            session.bytes_in += len(message)
            writer.write(message)
            await writer.drain()
            message = await viewer.receive()

    async def to_viewer() -> None:
        while content := await reader.read(CHUNK):
            session.bytes_out += len(content)
            await viewer.send(content)

    async def keep_awake() -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            viewer.ping()

    session.on_cut(ended.set)
    work = [asyncio.create_task(part()) for part in (to_guest, to_viewer, keep_awake, ended.wait)]
    try:
        await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in work:
            task.cancel()
        outcomes = await asyncio.gather(*work, return_exceptions=True)
    failure = next((outcome for outcome in outcomes if isinstance(outcome, Exception)), None)
    if failure is not None and not session.reason:
        session.reason = _reason(failure)
    if session.reason:
        code = POLICY if session.reason.startswith("console.") else TRY_LATER
        viewer.close(code, session.reason)
    else:
        viewer.close(NORMAL, "")


def _reason(failure: Exception) -> str:
    if isinstance(failure, Refused):
        return failure.code
    return "lost" if isinstance(failure, OSError) else type(failure).__name__


async def start(proxy: ConsoleProxy, listener: socket.socket, tls: ssl.SSLContext | None = None) -> asyncio.Server:
    """Begin to serve on a listening socket."""
    return await asyncio.start_server(proxy.serve, sock=listener, ssl=tls, limit=MAX_HEAD, backlog=BACKLOG)
