"""Where a running guest's screen and serial port are for a console proxy, which may be on another machine."""

import asyncio
import contextlib
import fcntl
import hmac
import logging
import os
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from xml.etree import ElementTree as ET

from adapters.libvirt.commands import file_failures
from adapters.libvirt.namespaces import listen_in
from handlers.messages import ConsoleAddress

OFFER_SECONDS = 15.0
"""How long an offered serial port waits for its caller."""
CHUNK = 64 * 1024
MAX_WAITING = 256 * 1024
"""Bytes that a slow viewer may leave unread before the guest is made to wait."""

log = logging.getLogger(__name__)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def graphics_address(document: str, protocol: str) -> ConsoleAddress | None:
    """The ports at which a running domain's VNC or SPICE server listens itself; None if it listens on none."""
    for graphics in ET.fromstring(document).iterfind(f"devices/graphics[@type='{protocol}']"):  # noqa: S314
        # libvirt says -1 for what a domain does not have, or does not have yet.
        port, tls_port = (max(0, int(graphics.get(name, "0"))) for name in ("port", "tlsPort"))
        if port or tls_port:
            return ConsoleAddress(host=graphics.get("listen", "127.0.0.1"), port=port, tls_port=tls_port)
    return None


class Offers:
    """Offers guests' serial ports and screens on TCP: each to one caller, who knows the greeting.

    What is offered can be opened by root alone: a user of this machine gets to it only as everybody does, by a token.
    """

    def __init__(self, listen: str, namespace: Path | None = None) -> None:
        """``namespace`` is that of the network to which the address belongs, if it is not our own."""
        self._listen = listen
        self._namespace = namespace
        self._tasks: set[asyncio.Task[None]] = set()

    async def serial(self, document: str) -> ConsoleAddress | None:
        """The domain's serial port, on a port that waits OFFER_SECONDS for its one caller; None if it has none now.

        Raises HostFailed if it cannot be opened.
        """
        source = ET.fromstring(document).find("devices/serial[@type='pty']/source")  # noqa: S314 (from libvirtd)
        path = source.get("path") if source is not None else None
        if not path:
            return None
        with file_failures("The host could not open the serial port."):
            terminal = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.fcntl(terminal, fcntl.F_SETFL, os.O_NONBLOCK)
        return await self._offer(partial(_join, terminal), partial(os.close, terminal))

    async def screen(self, document: str, protocol: str) -> ConsoleAddress | None:
        """The domain's VNC or SPICE screen on a socket of this host, likewise; None if it has none now."""
        found = ET.fromstring(document).find(  # noqa: S314 (from libvirtd)
            f"devices/graphics[@type='{protocol}']/listen[@type='socket'][@socket]"
        )
        if found is None:
            return None
        # It is opened for its caller only: QEMU takes few connections, and many an offer is not taken.
        return await self._offer(partial(_carry, found.attrib["socket"]), lambda: None)

    async def _offer(self, serve: Serve, close: Callable[[], None]) -> ConsoleAddress:
        greeting = f"{secrets.token_hex(16)}\n"
        called: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        called = asyncio.get_running_loop().create_future()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(OFFER_SECONDS):
                    said = await reader.readexactly(len(greeting))
                if hmac.compare_digest(said, greeting.encode()) and not called.done():
                    called.set_result((reader, writer))
                    return
            writer.close()

        try:
            if self._namespace is None:
                server = await asyncio.start_server(answer, self._listen, 0, limit=CHUNK)
            else:
                listener = await asyncio.to_thread(listen_in, self._namespace, self._listen, 0)
                server = await asyncio.start_server(answer, sock=listener, limit=CHUNK)
        except BaseException:
            close()
            raise
        task = asyncio.create_task(_serve(server, called, serve, close))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        host, port = server.sockets[0].getsockname()[:2]
        return ConsoleAddress(host=host, port=port, greeting=greeting)


async def _serve(
    server: asyncio.Server,
    called: "asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]",
    serve: Serve,
    close: Callable[[], None],
) -> None:
    try:
        try:
            async with asyncio.timeout(OFFER_SECONDS):
                reader, writer = await called
        finally:
            server.close()
        await serve(reader, writer)
    except TimeoutError:
        log.info("nobody called for a console that was offered")
    finally:
        close()


async def _carry(path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes both ways between a screen and its viewer until either end closes; who is slow is waited for."""
    try:
        guest_reader, guest_writer = await asyncio.open_unix_connection(path, limit=CHUNK)
    except OSError as error:
        log.warning("a screen cannot be opened: %s", error)
        writer.close()
        return

    async def one_way(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while content := await source.read(CHUNK):
            target.write(content)
            await target.drain()

    ways = [
        asyncio.create_task(one_way(guest_reader, writer)),
        asyncio.create_task(one_way(reader, guest_writer)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        guest_writer.transport.abort()
        with contextlib.suppress(OSError):
            writer.close()


async def _join(terminal: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes both ways until either end closes."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def on_output() -> None:
        try:
            content = os.read(terminal, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if not content:
            ended.set()
        elif writer.transport.get_write_buffer_size() <= MAX_WAITING:
            writer.write(content)
        # A viewer who does not read loses lines, as at a real terminal: the guest must not hang on it.

    async def carry_input() -> None:
        while content := await reader.read(CHUNK):
            await _write(terminal, content)
        ended.set()

    loop.add_reader(terminal, on_output)
    typing = asyncio.create_task(carry_input())
    try:
        await ended.wait()
    finally:
        loop.remove_reader(terminal)
        typing.cancel()
        await asyncio.gather(typing, return_exceptions=True)
        with contextlib.suppress(OSError):
            writer.close()


async def _write(terminal: int, content: bytes) -> None:
    loop = asyncio.get_running_loop()
    while content:
        try:
            content = content[os.write(terminal, content) :]
        except BlockingIOError:
            writable = asyncio.Event()
            loop.add_writer(terminal, writable.set)
            try:
                await writable.wait()
            finally:
                loop.remove_writer(terminal)
