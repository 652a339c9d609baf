"""Screens by TLS from the guest's QEMU on, SPICE beside VNC, and tokens for single use: all by configuration."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.console.vencrypt import VENCRYPT, VERSION, client_context, secure
from domain.errors import Unavailable
from tests.aio import asynchronous
from tests.browser import Browser
from tests.certificates import Authority
from tests.e2e.guests import await_console, remote_console, story
from tests.e2e.live_stack import LiveStack, wait_until


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def secured(stack: LiveStack, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """The stack with what an operator writes into its configuration for this, until the end of the module."""
    if "libvirtd" not in stack.programs():
        pytest.skip("libvirtd is the machine's own: its configuration is not ours to change")
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = authority.issue("server")
    for name, file in (("ca-cert", authority.certificate), ("server-cert", certificate), ("server-key", key)):
        (directory / f"{name}.pem").write_bytes(file.read_bytes())
    certificate, key = authority.issue("proxy")
    compute = f'spice = true\nscreen_tls_dir = "{directory}"\n'
    console = f'single_use = true\nvencrypt_ca = "{authority.certificate}"\n'
    console += f'vencrypt_certificate = "{certificate}"\nvencrypt_key = "{key}"\n'
    plain = stack.config_file.read_text()
    stack.restart(
        plain.replace("[compute]\n", f"[compute]\n{compute}").replace("[console]\n", f"[console]\n{console}")
    )
    try:
        yield stack
    finally:
        stack.restart(plain)


@pytest.fixture
def guest(secured: LiveStack) -> Iterator[str]:
    """A server that has booted."""
    server = secured.create("secured")
    try:
        secured.await_status(server, "ACTIVE")
        await_console(secured, server, "BOOT-COMPLETE")
        yield server
    finally:
        secured.delete_all()


def _use(stack: LiveStack, server: str, url: str, directory: Path) -> None:
    with Browser(directory) as browser:
        browser.open(url)
        browser.use_shell(directory / "screen.png")
        stack.await_status(server, "SHUTOFF")


def _leads_to(stack: LiveStack, url: str) -> dict[str, Any]:
    """What proxies are told about a token."""
    found = stack.call("GET", f"/compute/v2.1/os-console-auth-tokens/{url.rpartition('%3D')[2]}")
    told: dict[str, Any] = found.json()["console"]
    return told


def test_the_vnc_screen_in_a_browser(secured: LiveStack, guest: str, tmp_path: Path) -> None:
    _use(secured, guest, remote_console(secured, guest, "novnc"), tmp_path)


@asynchronous
async def test_who_has_no_certificate_sees_no_vnc_screen(
    secured: LiveStack, guest: str, authority: Authority, tmp_path: Path
) -> None:
    """Whoever calls QEMU itself is refused by QEMU itself."""
    port = _leads_to(secured, remote_console(secured, guest, "novnc"))["port"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await reader.readexactly(len(VERSION)) == VERSION
    writer.write(VERSION)
    assert list(await reader.readexactly(2)) == [1, VENCRYPT]
    writer.close()
    nobody = ssl.create_default_context(cafile=authority.certificate)
    forged = client_context(authority.certificate, *Authority(tmp_path, "stranger").issue("proxy"))
    trusted = client_context(authority.certificate, *authority.issue("another-proxy"))
    assert [await _is_let_in(port, tls) for tls in (nobody, forged, trusted)] == [False, False, True]


async def _is_let_in(port: int, tls: ssl.SSLContext) -> bool:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await secure(reader, writer, tls, "127.0.0.1")
    except Unavailable:
        return False
    finally:
        writer.transport.abort()
    return True


def test_the_spice_screen_in_a_browser(secured: LiveStack, guest: str, tmp_path: Path) -> None:
    """One session of many channels, of which nothing goes in the clear; the token is good for no second one."""
    url = remote_console(secured, guest, "spice")
    place = _leads_to(secured, url)
    assert place["port"] is None
    assert place["tls_port"] >= 5900
    _use(secured, guest, url, tmp_path)
    wait_until(lambda: _told(secured, guest, "closed") == _told(secured, guest, "opened"), 10, "all channels ended")
    # The main channel, the display, the inputs, the cursor.
    assert _told(secured, guest, "opened") >= 4
    token = url.rpartition("%3D")[2]
    assert secured.call("GET", f"/compute/v2.1/os-console-auth-tokens/{token}").status == 404
    assert token not in story(secured, guest)


def _told(stack: LiveStack, server: str, what: str) -> int:
    return story(stack, server).count(f" console.{what}, ")
