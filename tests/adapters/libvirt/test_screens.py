"""Serial ports and screens, offered on TCP; a pair of pseudo-terminals stands for QEMU."""

import asyncio
import os
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapters.libvirt import screens
from adapters.libvirt.screens import Offers, graphics_address
from domain.errors import HostFailed
from handlers.messages import ConsoleAddress
from tests.aio import asynchronous
from tests.own_hosts import OwnHost
from tests.waiting import until


class Guest:
    """The guest's end of a serial port, and the domain that has it."""

    def __init__(self) -> None:
        self.end, self._ours = os.openpty()
        tty.setraw(self._ours)
        path = os.ttyname(self._ours)
        self.document = f"<domain><devices><serial type='pty'><source path='{path}'/></serial></devices></domain>"
        self.is_open = True

    def close(self) -> None:
        if self.is_open:
            os.close(self.end)
            os.close(self._ours)
            self.is_open = False


@pytest.fixture
def guest() -> Iterator[Guest]:
    made = Guest()
    yield made
    made.close()


async def call(place: ConsoleAddress | None, greeting: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    assert place
    reader, writer = await asyncio.open_connection(place.host, place.port)
    writer.write(greeting.encode())
    return reader, writer


@asynchronous
async def test_a_serial_port_carries_both_ways(guest: Guest) -> None:
    ports = Offers("127.0.0.1")
    place = await ports.serial(guest.document)
    assert place
    reader, writer = await call(place, place.greeting)
    writer.write(b"typed\n")
    assert await asyncio.to_thread(os.read, guest.end, 100) == b"typed\n"
    os.write(guest.end, b"\x00printed\xff")
    assert await reader.readexactly(9) == b"\x00printed\xff"
    with pytest.raises(OSError, match=r"."):
        await asyncio.open_connection(place.host, place.port)
    writer.close()
    await until(lambda: not ports._tasks)


@asynchronous
async def test_who_does_not_know_the_greeting_is_not_let_in(guest: Guest) -> None:
    ports = Offers("127.0.0.1")
    place = await ports.serial(guest.document)
    assert place
    reader, writer = await call(place, "x" * len(place.greeting) + "typed")
    assert await reader.read() == b""
    writer.close()
    reader, writer = await call(place, place.greeting)
    os.write(guest.end, b"hello")
    assert await reader.readexactly(5) == b"hello"
    writer.close()
    await until(lambda: not ports._tasks)


@asynchronous
async def test_the_guests_end_ends_the_session(guest: Guest) -> None:
    ports = Offers("127.0.0.1")
    place = await ports.serial(guest.document)
    assert place
    reader, writer = await call(place, place.greeting)
    os.write(guest.end, b"bye")
    assert await reader.readexactly(3) == b"bye"
    guest.close()
    assert await reader.read() == b""
    writer.close()
    await until(lambda: not ports._tasks)


@asynchronous
async def test_an_offer_that_nobody_takes_ends(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screens, "OFFER_SECONDS", 0.05)
    ports = Offers("127.0.0.1")
    assert await ports.serial(guest.document)
    await until(lambda: not ports._tasks)


@asynchronous
async def test_domains_without_a_port() -> None:
    assert await Offers("127.0.0.1").serial("<domain/>") is None
    off = "<domain><devices><serial type='pty'/></devices></domain>"
    assert await Offers("127.0.0.1").serial(off) is None
    gone = off.replace("<serial type='pty'/>", "<serial type='pty'><source path='/dev/pts/none'/></serial>")
    with pytest.raises(HostFailed, match="serial port"):
        await Offers("127.0.0.1").serial(gone)


class Screen:
    """A screen that echoes, on a socket as QEMU makes it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "vnc.sock"
        self.document = (
            f"<domain><devices><graphics type='vnc' socket='{self.path}'><listen type='socket' socket='{self.path}'/>"
            "</graphics></devices></domain>"
        )
        self.viewers = 0

    async def serve(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._echo, self.path)

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.viewers += 1
        while content := await reader.read(1 << 16):
            writer.write(content)
        writer.close()
        self.viewers -= 1


@asynchronous
async def test_a_screen_on_a_socket_is_offered_to_one_caller_who_knows_the_greeting(tmp_path: Path) -> None:
    screen, ports = Screen(tmp_path), Offers("127.0.0.1")
    async with await screen.serve():
        assert await ports.screen(screen.document, "spice") is None
        place = await ports.screen(screen.document, "vnc")
        assert place
        stranger, stranger_writer = await call(place, "x" * len(place.greeting))
        assert await stranger.read() == b""
        stranger_writer.close()
        assert screen.viewers == 0
        reader, writer = await call(place, place.greeting)
        writer.write(bytes(1 << 20))
        assert len(await reader.readexactly(1 << 20)) == 1 << 20
        assert screen.viewers == 1
        writer.close()
        await until(lambda: not ports._tasks and screen.viewers == 0)


@asynchronous
async def test_a_screen_that_has_gone(tmp_path: Path) -> None:
    screen, ports = Screen(tmp_path), Offers("127.0.0.1")
    place = await ports.screen(screen.document, "vnc")
    assert place
    reader, writer = await call(place, place.greeting)
    assert await reader.read() == b""
    writer.close()
    assert await ports.screen(screen.document.replace(f" socket='{screen.path}'", ""), "vnc") is None
    await until(lambda: not ports._tasks)


def test_a_screens_address() -> None:
    screen = "<domain><devices><graphics type='vnc' port='5901' listen='10.0.0.1'/></devices></domain>"
    assert graphics_address(screen, "vnc") == ConsoleAddress(host="10.0.0.1", port=5901)
    assert graphics_address(screen, "spice") is None
    assert graphics_address(screen.replace("5901", "-1"), "vnc") is None
    secure = screen.replace("'vnc' port='5901'", "'spice' tlsPort='5902' autoport='yes'")
    assert graphics_address(secure, "spice") == ConsoleAddress(host="10.0.0.1", port=0, tls_port=5902)
    assert graphics_address(secure.replace("5902", "-1"), "spice") is None


@pytest.mark.libvirt
@asynchronous
async def test_a_host_in_a_namespace_offers_in_another(
    own_hosts: Callable[[int], list[OwnHost]], guest: Guest
) -> None:
    (own,) = own_hosts(1)
    place = await Offers("127.0.0.1", own.host.network).serial(guest.document)
    assert place
    assert f"127.0.0.1:{place.port}" in own.run("ss", "-Hltn")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(place.host, place.port)
