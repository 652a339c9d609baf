"""Console proxies: who gets in, who is thrown out, and what it all leaves in the log."""

import asyncio
import random
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from adapters.console.websocket import POLICY, TRY_LATER
from domain import console
from domain.console import (
    PROXY_STOPPED,
    ConsoleClosed,
    ConsoleGranted,
    ConsoleOpened,
    ConsoleRefused,
    ConsoleRevoked,
)
from domain.server.creation import ServerPlaced
from handlers.messages import ConsoleAddress
from ops.listening import allow_many_files
from tests.adapters.console.site import USER, Site, nobody_listens, site
from tests.adapters.console.viewer import CLOSE, PING, Denied, Viewer, denied
from tests.aio import asynchronous
from tests.domain.server.servers import BUILT, DELETE
from tests.waiting import until

MOVED = ServerPlaced(host="node1", host_id="h1", epoch=2, availability_zone="nova")


@asynchronous
async def test_a_session_and_what_the_log_says_of_it(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        proxy = await here.proxy()
        token = await here.token(await here.server())
        viewer = await Viewer.connect(proxy.port, token, Origin=f"http://127.0.0.1:{proxy.port}")
        assert await viewer.echo(b"hello") == b"hello"
        big = bytes(range(256)) * 512
        assert await viewer.echo(big) == big
        await viewer.send(b"are you there", PING)
        await viewer.send(b"\x03\xe8", CLOSE)
        await viewer.ended()
        await until(lambda: _has(here, token, ConsoleClosed))
        granted, opened, closed = [recorded.event for recorded in await here.story(token)]
        assert isinstance(granted, ConsoleGranted)
        assert isinstance(opened, ConsoleOpened)
        assert isinstance(closed, ConsoleClosed)
        assert opened.address == "127.0.0.1"
        assert opened.proxy == "console-1"
        assert (closed.bytes_in, closed.bytes_out, closed.reason) == (5 + len(big), 5 + len(big), "")
        assert closed.session_id == opened.session_id
        assert token not in repr(await here.story(token))
        assert here.asked[0].protocol == "vnc"


async def _has(here: Site, token: str, kind: type, count: int = 1) -> bool:
    return sum(isinstance(recorded.event, kind) for recorded in await here.story(token)) >= count


@asynchronous
async def test_a_path_with_the_token_inside_as_in_novas_urls(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        proxy = await here.proxy()
        token = await here.token(await here.server(), "serial")
        viewer = await Viewer.connect(proxy.port, "", path=f"/websockify?path=%3Ftoken%3D{token}")
        assert await viewer.echo(b"hello") == b"hello"
        assert here.asked[0].protocol == "serial"
        viewer.close()


@asynchronous
async def test_tokens_that_open_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        proxy = await here.proxy()
        server = await here.server()
        for forged in ("", "x" * 32, console.token_id(await here.token(server)), "%00"):
            assert await denied(proxy.port, forged) == 403
        expired = await here.token(server, grants=here.grants(seconds=0))
        assert await denied(proxy.port, expired) == 403
        assert await _has(here, expired, ConsoleRefused)
        here.rights.clear()
        valid = await here.token(server)
        assert await denied(proxy.port, valid) == 403
        here.rights.add(("u", "p"))
        (await Viewer.connect(proxy.port, valid)).close()
        assert here.asked


@asynchronous
async def test_refusals_do_not_fill_the_log(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        proxy = await here.proxy()
        token = await here.token(await here.server(), grants=here.grants(seconds=0))
        for _ in range(console.MAX_REFUSALS + 5):
            assert await denied(proxy.port, token) == 403
        assert len(await here.story(token)) == 1 + console.MAX_REFUSALS


@pytest.mark.parametrize("death", ["revoked", "deleted", "moved", "rebuilt"])
@asynchronous
async def test_a_grants_death_cuts_its_sessions_within_a_second(tmp_path: Path, death: str) -> None:
    async with site(tmp_path) as here:
        proxies = [await here.proxy(f"console-{number}") for number in range(2)]
        server = await here.server()
        token, others = await here.token(server), await here.token(await here.server())
        viewers = [await Viewer.connect(proxy.port, token) for proxy in proxies]
        bystander = await Viewer.connect(proxies[0].port, others)
        for viewer in viewers:
            assert await viewer.echo(b"alive") == b"alive"
        match death:
            case "revoked":
                await here.consoles.revoke(USER, console.token_id(token))
            case "deleted":
                await here.cell.tell(server.id, DELETE)
            case "moved":
                await here.cell.tell(server.id, MOVED)
            case "rebuilt":
                await here.cell.tell(server.id, BUILT)
        await asyncio.gather(*(viewer.ended(1.0) for viewer in viewers))
        assert {viewer.close_code for viewer in viewers} == {POLICY}
        assert await denied(proxies[1].port, token) == 403
        assert await bystander.echo(b"me too") == b"me too"
        bystander.close()
        await until(lambda: _has(here, token, ConsoleClosed, 2))
        reasons = {r.event.reason for r in await here.story(token) if isinstance(r.event, ConsoleClosed)}
        assert all(reason.startswith("console.") for reason in reasons)


@asynchronous
async def test_a_lost_right_cuts_the_users_sessions_and_nobody_elses(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        here.rights.add(("v", "p"))
        proxy = await here.proxy()
        server = await here.server()
        token = await here.token(server)
        others = await here.consoles.issue(replace(USER, user_id="v"), server, "novnc")
        viewer, bystander = [await Viewer.connect(proxy.port, each) for each in (token, others)]
        here.rights.remove(("u", "p"))
        proxy.doorkeeper.judge_anew()
        await viewer.ended(1.0)
        assert viewer.close_code == POLICY
        assert await denied(proxy.port, token) == 403
        await until(lambda: _has(here, token, ConsoleClosed))
        reasons = [r.event.reason for r in await here.story(token) if isinstance(r.event, ConsoleClosed)]
        assert reasons == ["console.not_entitled"]
        assert await bystander.echo(b"still") == b"still"
        bystander.close()


@asynchronous
async def test_a_proxy_that_stops_records_the_ends_of_its_sessions(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        proxy, other = [await here.proxy(f"console-{number}") for number in range(2)]
        token = await here.token(await here.server())
        viewers = [await Viewer.connect(each.port, token) for each in (proxy, proxy, other)]
        async with asyncio.timeout(5):
            await proxy.doorkeeper.end_all()
        closed = [r.event for r in await here.story(token) if isinstance(r.event, ConsoleClosed)]
        assert [event.reason for event in closed] == [PROXY_STOPPED, PROXY_STOPPED]
        for viewer in viewers[:2]:
            await viewer.ended(1.0)
        assert {viewer.close_code for viewer in viewers[:2]} == {TRY_LATER}
        assert await viewers[2].echo(b"still") == b"still"
        viewers[2].close()


@asynchronous
async def test_one_of_a_thousand_redeems_a_token_for_single_use(tmp_path: Path) -> None:
    allow_many_files()
    async with site(tmp_path) as here:
        proxies = [await here.proxy(f"console-{number}") for number in range(3)]
        token = await here.token(await here.server(), grants=here.grants(single_use=True))

        async def attempt(number: int) -> Viewer | None:
            try:
                return await Viewer.connect(proxies[number % 3].port, token)
            except Denied:
                return None

        viewers = [viewer for viewer in await asyncio.gather(*map(attempt, range(1000))) if viewer]
        assert len(viewers) == 1
        assert await viewers[0].echo(b"mine") == b"mine"
        assert sum(isinstance(r.event, ConsoleOpened) for r in await here.story(token)) == 1
        assert len(here.asked) == 1
        viewers[0].close()


@asynchronous
async def test_three_proxies_behind_a_random_balancer(tmp_path: Path) -> None:
    """Proxies are killed and started at random: every valid token works, none a second after its revocation."""
    chance = random.Random(4)
    async with site(tmp_path) as here:
        alive = [await here.proxy(f"console-{number}") for number in range(3)]
        servers = [await here.server() for _ in range(5)]
        tokens: list[str] = []
        revoked: dict[str, float] = {}
        open_now: list[tuple[str, Viewer]] = []
        for round_ in range(120):
            proxy = chance.choice(alive)
            match chance.choice(("issue", "open", "open", "open", "kill", "revoke")):
                case "issue":
                    tokens.append(await here.token(chance.choice(servers)))
                case "open" if tokens:
                    token = chance.choice(tokens)
                    viewer = await Viewer.connect(proxy.port, token)
                    assert await viewer.echo(b"%d" % round_) == b"%d" % round_
                    open_now.append((token, viewer))
                case "kill":
                    alive.remove(proxy)
                    await proxy.kill()
                    alive.append(await here.proxy(f"console-{round_}"))
                case "revoke" if tokens:
                    token = tokens.pop(chance.randrange(len(tokens)))
                    await here.consoles.revoke(USER, console.token_id(token))
                    revoked[token] = time.monotonic()
        for token, viewer in open_now:
            if token in revoked:
                await viewer.ended(max(0.01, revoked[token] + 1.0 - time.monotonic()))
        for token in revoked:
            for proxy in alive:
                assert await denied(proxy.port, token) == 403
        for token in tokens:
            for proxy in alive:
                viewer = await Viewer.connect(proxy.port, token)
                assert await viewer.echo(b"still") == b"still"
                viewer.close()
        assert revoked
        assert tokens


@pytest.mark.parametrize(
    "origin", ["http://evil.test", "https://127.0.0.1", "null", "", "http://127.0.0.1.evil.test", "file://"]
)
@asynchronous
async def test_a_page_of_another_site_opens_nothing(tmp_path: Path, origin: str) -> None:
    async with site(tmp_path) as here:
        proxy = await here.proxy(allowed_origins=("https://dashboard.test",))
        token = await here.token(await here.server())
        assert await denied(proxy.port, token, Origin=origin) == 403
        assert not await _has(here, token, ConsoleOpened)
        (await Viewer.connect(proxy.port, token, Origin="https://dashboard.test")).close()


@asynchronous
async def test_a_guest_that_does_not_answer(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        proxy = await here.proxy()
        token = await here.token(await here.server())
        place = here.place
        here.place = ConsoleAddress(host="127.0.0.1", port=nobody_listens())
        assert await denied(proxy.port, token) == 503
        assert isinstance((await here.story(token))[-1].event, ConsoleClosed)
        here.place = None
        assert await denied(proxy.port, token) == 400
        here.place = place
        viewer = await Viewer.connect(proxy.port, token)
        assert await viewer.echo(b"again") == b"again"
        viewer.close()


@asynchronous
async def test_revoking_twice_is_harmless(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        token = await here.token(await here.server())
        grant_id = console.token_id(token)
        assert await here.consoles.revoke(USER, grant_id) > 0
        assert await here.consoles.revoke(USER, grant_id) == 0
        assert await here.consoles.revoke(USER, console.token_id("never was")) == 0
        assert sum(isinstance(r.event, ConsoleRevoked) for r in await here.story(token)) == 1
