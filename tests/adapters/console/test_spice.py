"""SPICE: many connections with one token, and a real guest's screen in a real browser."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.console.spice import MAIN
from adapters.console.vencrypt import client_context
from adapters.console.websocket import POLICY
from adapters.libvirt.hypervisor import LibvirtHypervisor
from adapters.libvirt.settings import LibvirtSettings
from domain import console
from domain.console import ConsoleClosed
from domain.guest import PowerState
from handlers.messages import ConsoleAddress
from ops.web_clients import SPICE, web_client
from tests.adapters.console.site import USER, Site, nobody_listens, site
from tests.adapters.console.spice_viewer import (
    BAD_CONNECTION_ID,
    DISPLAY,
    INPUTS,
    INPUTS_INIT,
    MAIN_INIT,
    OK,
    SpiceViewer,
    greeting,
)
from tests.adapters.console.viewer import Denied, Viewer
from tests.aio import asynchronous
from tests.browser import Browser
from tests.certificates import Authority
from tests.real_libvirt import IMAGE_CACHE, LocalImages, guest_spec, tiny_disk
from tests.waiting import until

BOOT_SECONDS = 90


async def used_once(here: Site) -> str:
    return await here.token(await here.server(), "spice-html5", here.grants(single_use=True))


async def recorded(here: Site, token: str, kind: type, count: int = 1) -> bool:
    return sum(isinstance(each.event, kind) for each in await here.story(token)) >= count


@asynchronous
async def test_a_token_for_single_use_is_for_one_session_of_many_channels(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        proxies = [await here.proxy(f"console-{number}") for number in range(2)]
        token = await used_once(here)
        main = await Viewer.connect(proxies[0].port, token)
        assert await main.echo(greeting(0, MAIN)) == greeting(0, MAIN)
        for proxy in proxies:
            channel = await Viewer.connect(proxy.port, token)
            # In two pieces, as the network may cut it; what follows is not lost.
            await channel.send(greeting(7, DISPLAY)[:5])
            assert await channel.echo(greeting(7, DISPLAY)[5:] + b"more") is not None
        assert here.typed.count(greeting(7, DISPLAY) + b"more") == len(proxies)


@pytest.mark.parametrize(
    "said",
    [greeting(0, MAIN), greeting(7, MAIN), greeting(0, DISPLAY), greeting(7, DISPLAY, b"GET ")],
    ids=["new main", "main", "no session", "HTTP"],
)
@asynchronous
async def test_a_used_token_begins_no_second_session(tmp_path: Path, said: bytes) -> None:
    """Also while the first is open; not a byte of it reaches the guest."""
    async with site(tmp_path) as here:
        proxy = await here.proxy()
        token = await used_once(here)
        main = await Viewer.connect(proxy.port, token)
        assert await main.echo(b"first") == b"first"
        thief = await Viewer.connect(proxy.port, token)
        await thief.send(said)
        await thief.ended()
        assert thief.close_code == POLICY
        await until(lambda: recorded(here, token, ConsoleClosed))
        assert [r.event.reason for r in await here.story(token) if isinstance(r.event, ConsoleClosed)] == [
            "console.used"
        ]
        assert here.typed == b"first"
        assert await main.echo(b"still") == b"still"


@asynchronous
async def test_with_its_session_a_token_for_single_use_is_over(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        proxy = await here.proxy()
        token = await used_once(here)
        main = await Viewer.connect(proxy.port, token)
        channel = await Viewer.connect(proxy.port, token)
        assert await channel.echo(greeting(7, DISPLAY)) == greeting(7, DISPLAY)
        channel.close()
        await until(lambda: recorded(here, token, ConsoleClosed))
        (await Viewer.connect(proxy.port, token)).close()
        main.close()
        await until(lambda: recorded(here, token, ConsoleClosed, 3))
        with pytest.raises(Denied) as refusal:
            await Viewer.connect(proxy.port, token)
        assert refusal.value.status == 403


@asynchronous
async def test_a_revoked_tokens_channels_all_end(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        proxy = await here.proxy()
        token = await used_once(here)
        viewers = [await Viewer.connect(proxy.port, token) for _ in range(3)]
        assert await viewers[0].echo(b"main") == b"main"
        assert await viewers[1].echo(greeting(7, DISPLAY)) == greeting(7, DISPLAY)
        await here.consoles.revoke(USER, console.token_id(token))
        # The third has not said what it wants; it ends, too.
        await asyncio.gather(*(viewer.ended(1.0) for viewer in viewers))


@asynchronous
async def test_a_proxy_that_must_encrypt_does_so_or_refuses(tmp_path: Path) -> None:
    """Encrypted from the first byte on, to a host that is whom the certificate names; nothing goes in the clear."""
    authority, stranger = Authority(tmp_path / "authority"), Authority(tmp_path / "stranger", "stranger")
    identity = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    identity.load_cert_chain(*authority.issue("server"))
    async with site(tmp_path) as here:
        assert here.place
        secure = await asyncio.start_server(here._echo, "127.0.0.1", 0, ssl=identity)
        tls_port = secure.sockets[0].getsockname()[1]
        plain = await here.proxy("plain")
        wary = await here.proxy("wary", tls=client_context(stranger.certificate, *authority.issue("client")))
        proxy = await here.proxy(tls=client_context(authority.certificate, *authority.issue("client")))
        token, clear = await here.token(await here.server(), "spice-html5"), here.place.port
        for port, tls, asked in ((clear, 0, proxy), (0, tls_port, plain), (0, tls_port, wary), (0, clear, proxy)):
            here.place = ConsoleAddress(host="127.0.0.1", port=port, tls_port=tls)
            with pytest.raises(Denied) as refusal:
                await Viewer.connect(asked.port, token)
            assert refusal.value.status == 503
        here.place = ConsoleAddress(host="127.0.0.1", port=nobody_listens(), tls_port=tls_port)
        viewer = await Viewer.connect(proxy.port, token)
        assert await viewer.echo(b"hello") == b"hello"
        secure.close()


@asynccontextmanager
async def guest(directory: Path) -> AsyncIterator[tuple[LibvirtHypervisor, str]]:
    """A real guest with both kinds of screen."""
    images = LocalImages()
    settings = LibvirtSettings(host_name="node1", state_dir=directory / "state", spice="any")
    hypervisor = LibvirtHypervisor(settings, images)
    spec = guest_spec(images.add(tiny_disk()))
    try:
        await hypervisor.describe()
        await hypervisor.build(spec)
        yield hypervisor, spec.server_id
    finally:
        await hypervisor.destroy(spec.server_id)
        await hypervisor.close()


def look(directory: Path, url: str) -> None:
    with Browser(directory) as browser:
        browser.open(url)
        browser.use_shell(directory / "screen.png")


@pytest.mark.libvirt
@pytest.mark.usefixtures("libvirtd")
@asynchronous
async def test_a_session_is_known_by_a_number_and_ends_with_its_main_channel(tmp_path: Path) -> None:
    """What tokens for single use rely on: QEMU takes no channel without its session's number."""
    async with site(tmp_path) as here, guest(tmp_path) as (hypervisor, server_id):
        here.screen = lambda: hypervisor.console(server_id, "spice")
        proxy = await here.proxy()
        token = await used_once(here)

        async def channel() -> tuple[SpiceViewer, Viewer]:
            viewer = await Viewer.connect(proxy.port, token)
            return SpiceViewer(viewer), viewer

        (main, main_viewer), (inputs, inputs_viewer), (guesser, _) = [await channel() for _ in range(3)]
        assert await main.link(0, MAIN) == OK
        session = int.from_bytes((await main.message(MAIN_INIT))[:4], "little")
        assert session != 0
        assert await guesser.link(session ^ 1, INPUTS) == BAD_CONNECTION_ID
        assert await inputs.link(session, INPUTS) == OK
        await inputs.message(INPUTS_INIT)
        main_viewer.close()
        await inputs_viewer.ended()


@pytest.mark.libvirt
@pytest.mark.usefixtures("libvirtd")
@asynchronous
async def test_the_screen_in_a_browser(tmp_path: Path) -> None:
    async with site(tmp_path) as here, guest(tmp_path) as (hypervisor, server_id):

        async def has_booted() -> bool:
            return "BOOT-COMPLETE" in await hypervisor.console_log(server_id, None)

        await until(has_booted, BOOT_SECONDS)
        assert await hypervisor.console(server_id, "vnc")
        here.screen = lambda: hypervisor.console(server_id, "spice")
        assert here.place
        pages = await asyncio.to_thread(web_client, SPICE, IMAGE_CACHE.parent)
        proxy = await here.proxy(spice_dir=pages)
        token = await used_once(here)
        path = f"spice/spice_auto.html?path=%3Ftoken%3D{token}"
        await asyncio.to_thread(look, tmp_path, f"http://127.0.0.1:{proxy.port}/{path}")
        await until(lambda: _is_off(hypervisor))
        await until(lambda: recorded(here, token, ConsoleClosed, 4))


async def _is_off(hypervisor: LibvirtHypervisor) -> bool:
    return {each.power_state for each in await hypervisor.guests()} == {PowerState.SHUTDOWN}
