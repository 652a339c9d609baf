"""VeNCrypt between the proxy and a real QEMU, which asks for the proxy's certificate."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.console.vencrypt import client_context
from domain.errors import Invalid
from handlers.messages import ConsoleAddress
from tests.adapters.console.site import nobody_listens, site
from tests.adapters.console.viewer import Denied, Viewer
from tests.aio import asynchronous
from tests.certificates import Authority
from tests.waiting import until

pytestmark = pytest.mark.libvirt
VNC_BASE = 5900


@asynccontextmanager
async def qemu(directory: Path | None) -> AsyncIterator[ConsoleAddress]:
    """A machine without anything but a screen; with ``directory`` it speaks TLS only, and checks who calls."""
    port = nobody_listens()
    while port < VNC_BASE:
        port = nobody_listens()
    screen, secrets = f"127.0.0.1:{port - VNC_BASE}", []
    if directory:
        secrets = ["-object", f"tls-creds-x509,id=tls0,dir={directory},endpoint=server,verify-peer=yes"]
        screen += ",tls-creds=tls0"
    machine = ("-M", "none", "-display", "none", "-nodefaults", "-vga", "none")
    process = await asyncio.create_subprocess_exec("qemu-system-x86_64", *machine, *secrets, "-vnc", screen)

    async def listens() -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return True
        return False

    try:
        await until(listens, 20)
        yield ConsoleAddress(host="127.0.0.1", port=port)
    finally:
        process.kill()
        await process.wait()


def hypervisor(authority: Authority, directory: Path) -> Path:
    """The directory from which QEMU takes its certificates, with its names for them."""
    directory.mkdir()
    certificate, key = authority.issue("server")
    (directory / "ca-cert.pem").write_bytes(authority.certificate.read_bytes())
    certificate.rename(directory / "server-cert.pem")
    key.rename(directory / "server-key.pem")
    return directory


async def size_of_screen(viewer: Viewer) -> int:
    """Greet as a VNC viewer does; the width of the screen, which only the guest's QEMU knows."""
    assert await viewer.read(12) == b"RFB 003.008\n"
    await viewer.send(b"RFB 003.008\n")
    assert await viewer.read(2) == b"\x01\x01"
    # The choice and what follows it, in one message.
    await viewer.send(b"\x01\x01")
    answer = await viewer.read(4 + 24)
    assert answer[:4] == bytes(4)
    return int.from_bytes(answer[4:6])


@asynchronous
async def test_a_screen_through_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    tls = client_context(authority.certificate, *authority.issue("client"))
    async with site(tmp_path) as here, qemu(hypervisor(authority, tmp_path / "tls")) as place:
        here.place = place
        proxy = await here.proxy(tls=tls)
        token = await here.token(await here.server())
        viewer = await Viewer.connect(proxy.port, token)
        assert await size_of_screen(viewer) > 0
        viewer.close()


@asynchronous
async def test_who_is_not_trusted_sees_nothing(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "authority"), Authority(tmp_path / "stranger", "stranger")
    good = client_context(authority.certificate, *authority.issue("client"))
    forged = client_context(authority.certificate, *stranger.issue("client"))
    wary = client_context(stranger.certificate, *authority.issue("client2"))
    async with site(tmp_path) as here, qemu(hypervisor(authority, tmp_path / "tls")) as place, qemu(None) as plain:
        token = await here.token(await here.server())
        for tls, where in ((forged, place), (wary, place), (good, plain)):
            here.place = where
            proxy = await here.proxy(tls=tls)
            with pytest.raises(Denied) as refusal:
                await Viewer.connect(proxy.port, token)
            assert refusal.value.status == 503


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(Invalid, match="VeNCrypt"):
        client_context(tmp_path / "x", tmp_path / "x", tmp_path / "x")
