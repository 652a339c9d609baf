"""Remote consoles, console tokens and posted passwords, as Nova's API has them."""

from contextlib import AbstractAsyncContextManager
from urllib.parse import parse_qs, urlsplit

import pytest

from domain import console
from handlers.context import Context
from handlers.messages import ConsoleAddress, ConsoleAddressQuestion, encode
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.world import World, new_server
from tests.aio import asynchronous

SERVERS = "/compute/v2.1/servers"
SPICE = {"remote_console": {"protocol": "spice", "type": "spice-html5"}}
OLD_SPICE = {"os-getSPICEConsole": {"type": "spice-html5"}}
NOVNC = {"remote_console": {"protocol": "vnc", "type": "novnc"}}


def screens(here: World, place: ConsoleAddress | None) -> AbstractAsyncContextManager[None]:
    """Hosts whose guests' SPICE screens are at one place; None: they have none."""

    def answer(asked: ConsoleAddressQuestion) -> bytes:
        assert asked.protocol == "spice"
        return encode(place)

    return here.answering(answer)


async def active(here: World) -> str:
    amy = await here.client("amy")
    answer = await amy.post(SERVERS, new_server())
    assert answer.status == 202, answer
    server_id: str = answer.body["server"]["id"]
    await here.advance()
    return server_id


@asynchronous
async def test_a_screens_url(cloud: MakeWorld) -> None:
    async with cloud() as here:
        server = await active(here)
        amy = await here.client("amy", "2.6")
        answer = await amy.post(f"{SERVERS}/{server}/remote-consoles", NOVNC)
        assert answer.status == 200
        made = answer.body["remote_console"]
        assert (made["protocol"], made["type"]) == ("vnc", "novnc")
        url = urlsplit(made["url"])
        assert f"{url.scheme}://{url.netloc}{url.path}" == "http://consoles.test:6080/vnc_lite.html"
        (path,) = parse_qs(url.query)["path"]
        token = path.removeprefix("?token=")
        assert len(token) == 32
        held, _ = await here.services.consoles.grants.redeemable(token)
        assert held.server_id == server
        assert token not in repr(await here.store.load(console.aggregate(console.token_id(token))))
        serial = {"remote_console": {"protocol": "serial", "type": "serial"}}
        answer = await amy.post(f"{SERVERS}/{server}/remote-consoles", serial)
        assert answer.body["remote_console"]["url"].startswith("ws://consoles.test:6080/?token=")


@pytest.mark.parametrize(
    ("microversion", "protocol", "kind", "status"),
    [
        ("2.5", "vnc", "novnc", 404),
        ("2.6", "vnc", "serial", 400),
        ("2.6", "vnc", "nonsense", 400),
        ("2.6", "mks", "webmks", 400),
        ("2.8", "mks", "webmks", 400),
        ("2.98", "spice", "spice-direct", 400),
        ("2.99", "spice", "spice-direct", 400),
        ("2.6", "rdp", "rdp-html5", 400),
    ],
)
@asynchronous
async def test_consoles_that_are_not_to_be_had(
    cloud: MakeWorld, microversion: str, protocol: str, kind: str, status: int
) -> None:
    async with cloud() as here:
        server = await active(here)
        amy = await here.client("amy", microversion)
        wanted = {"remote_console": {"protocol": protocol, "type": kind}}
        assert (await amy.post(f"{SERVERS}/{server}/remote-consoles", wanted)).status == status


@asynchronous
async def test_spice_where_the_host_has_it(cloud: MakeWorld) -> None:
    async with cloud() as here:
        server = await active(here)
        amy = await here.client("amy", "2.6")
        async with screens(here, ConsoleAddress(host="127.0.0.1", port=0, tls_port=5901)):
            answer = await amy.post(f"{SERVERS}/{server}/remote-consoles", SPICE)
            assert answer.status == 200
            page, _, token = answer.body["remote_console"]["url"].partition("?path=%3Ftoken%3D")
            assert page == "http://consoles.test:6080/spice/spice_auto.html"
            old = await (await here.client("amy", "2.1")).post(f"{SERVERS}/{server}/action", OLD_SPICE)
            assert old.body["console"]["url"].startswith(f"{page}?path=%3Ftoken%3D")
            known = f"/compute/v2.1/os-console-auth-tokens/{token}"
            root = await here.client("root", "2.99")
            leads = {"instance_uuid": server, "host": "127.0.0.1", "internal_access_path": None}
            assert (await root.get(known)).body["console"] == {**leads, "port": None, "tls_port": 5901}
            assert (await root.at("2.98").get(known)).body["console"] == {**leads, "port": None}
        assert (await amy.post(f"{SERVERS}/{server}/remote-consoles", SPICE)).status == 503


@asynchronous
async def test_no_token_is_given_out_for_a_screen_that_is_not_there(cloud: MakeWorld) -> None:
    async with cloud() as here, screens(here, None):
        server = await active(here)
        for microversion, path, body in (("2.6", "remote-consoles", SPICE), ("2.1", "action", OLD_SPICE)):
            before = await here.store.last_position()
            answer = await (await here.client("amy", microversion)).post(f"{SERVERS}/{server}/{path}", body)
            assert answer.status == 400
            assert answer.body["badRequest"]["message"] == "Unavailable console type spice-html5."
            assert await here.store.last_position() == before
        amy = await here.client("amy")
        unplaced = (await amy.post(SERVERS, new_server())).body["server"]["id"]
        assert (await amy.post(f"{SERVERS}/{unplaced}/remote-consoles", SPICE)).status == 409


@asynchronous
async def test_viewers_that_speak_spice_themselves(cloud: MakeWorld) -> None:
    direct = {"remote_console": {"protocol": "spice", "type": "spice-direct"}}
    async with cloud() as here, screens(here, ConsoleAddress(host="127.0.0.1", port=5901)):
        path = f"{SERVERS}/{await active(here)}/remote-consoles"
        amy = await here.client("amy", "2.99")
        assert (await amy.post(path, direct)).status == 400
        direct_too = here.services.consoles._replace(spice_direct_url="https://spice.test/console.vv")
        object.__setattr__(here.services, "consoles", direct_too)
        assert (await amy.at("2.98").post(path, direct)).status == 400
        made = (await amy.post(path, direct)).body["remote_console"]
        page, _, token = made["url"].partition("?token=")
        assert (made["protocol"], made["type"], page) == ("spice", "spice-direct", "https://spice.test/console.vv")
        found = await (await here.client("root", "2.99")).get(f"/compute/v2.1/os-console-auth-tokens/{token}")
        assert (found.body["console"]["port"], found.body["console"]["tls_port"]) == (5901, None)


@asynchronous
async def test_the_old_actions(cloud: MakeWorld) -> None:
    async with cloud() as here:
        server = await active(here)
        old = await here.client("amy", "2.1")
        answer = await old.post(f"{SERVERS}/{server}/action", {"os-getVNCConsole": {"type": "novnc"}})
        assert answer.status == 200
        assert answer.body["console"]["type"] == "novnc"
        assert "vnc_lite.html?path=%3Ftoken%3D" in answer.body["console"]["url"]
        answer = await old.post(f"{SERVERS}/{server}/action", {"os-getSerialConsole": {"type": "serial"}})
        assert answer.body["console"]["url"].startswith("ws://")
        answer = await old.post(f"{SERVERS}/{server}/action", {"os-getRDPConsole": {"type": "rdp-html5"}})
        assert answer.status == 400
        new = await here.client("amy", "2.6")
        answer = await new.post(f"{SERVERS}/{server}/action", {"os-getVNCConsole": {"type": "novnc"}})
        assert answer.status in (400, 404)


@asynchronous
async def test_who_may(cloud: MakeWorld) -> None:
    async with cloud() as here:
        server = await active(here)
        path = f"{SERVERS}/{server}/remote-consoles"
        assert (await (await here.client("rob")).post(path, NOVNC)).status == 403
        assert (await (await here.client("eve")).post(path, NOVNC)).status == 404
        assert (await (await here.client("root")).post(path, NOVNC)).status == 200
        amy = await here.client("amy")
        unplaced = (await amy.post(SERVERS, new_server())).body["server"]["id"]
        assert (await amy.post(f"{SERVERS}/{unplaced}/remote-consoles", NOVNC)).status == 409


@asynchronous
async def test_tokens_are_for_administrators(cloud: MakeWorld) -> None:
    async with cloud() as here:
        path = "/compute/v2.1/os-console-auth-tokens/forged"
        assert (await (await here.client("amy")).get(path)).status == 403
        root = await here.client("root")
        assert (await root.get(path)).status == 404
        server = await active(here)
        url = (await root.post(f"{SERVERS}/{server}/remote-consoles", NOVNC)).body["remote_console"]["url"]
        known = f"/compute/v2.1/os-console-auth-tokens/{url.rpartition('%3D')[2]}"
        assert (await root.at("2.30").get(known)).status == 401
        await here.stop("node1", "node2")
        assert (await root.get(known)).status == 503


@asynchronous
async def test_the_posted_password(cloud: MakeWorld) -> None:
    async with cloud() as here:
        server = await active(here)
        amy = await here.client("amy")
        path = f"{SERVERS}/{server}/os-server-password"
        assert (await amy.get(path)).body == {"password": ""}
        await here.services.passwords.post(Context(request_id="req-guest"), server, "encrypted==")
        await here.project()
        assert (await amy.get(path)).body == {"password": "encrypted=="}
        assert (await (await here.client("eve")).get(path)).status == 404
        assert (await amy.delete(path)).status == 204
        assert (await amy.delete(path)).status == 204
        assert (await amy.get(path)).body == {"password": ""}
