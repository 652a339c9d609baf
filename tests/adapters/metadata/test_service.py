"""What a guest is told, and what nobody else is."""

import asyncio
import base64
import http.server
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.metadata import signing
from adapters.metadata.openstack_tree import VERSIONS
from adapters.metadata.pages import Pages
from adapters.metadata.service import MAX_PASSWORD, MetadataService
from adapters.metadata.vendor_data import Target, VendorData
from domain.errors import Invalid
from domain.server.creation import ServerPlaced
from domain.server.details import ServerRenamed
from domain.server.moves import cold
from domain.server.moves.course import ServerTargetChosen
from domain.server.state import existing
from handlers.metadata import Passwords, ServerFacts
from tests.adapters.rest.client import Answer, Client
from tests.aio import asynchronous
from tests.cell import NIC, Cell
from tests.waiting import until

SECRET = b"shared"
HOST_SECRETS = {"node1": b"one", "node2": b"two"}
"""Servers are on node1."""
SCRIPT = b"#!/bin/sh\necho \xff\n"
KEY = "ssh-ed25519 AAAAC3Nza me@home"
SECRETS = json.dumps(
    {
        "user_data": base64.b64encode(SCRIPT).decode(),
        "admin_pass": "correct horse",
        "personality": [{"path": "/etc/motd", "contents": base64.b64encode(b"hello").decode()}],
    }
).encode()


class Site:
    """A service over a cell, and the proxies of its hosts."""

    def __init__(self, vendor: VendorData) -> None:
        self.cell = Cell()
        passwords = Passwords(self.cell.cells)
        self.facts = ServerFacts(self.cell.store, self.cell.vault, self.cell.stamp)
        pages = Pages(self.facts, passwords, vendor)
        self.client = Client(MetadataService(self.facts, passwords, pages, HOST_SECRETS.get, SECRET, self.cell.stamp))

    async def server(self, **more: Any) -> str:
        facts = {
            "name": "Web One",
            "secrets": SECRETS,
            "key_name": "k1",
            "public_key": KEY,
            "metadata": {"role": "db"},
        }
        return await self.cell.server(**facts | more)

    async def ask(self, server_id: str, path: str, body: bytes | None = None, **changes: str | None) -> Answer:
        """As a proxy asks for a guest; ``changes`` are headers that are otherwise."""
        told = {
            "X-Instance-ID": server_id,
            "X-Tenant-ID": "p",
            "X-Instance-ID-Signature": signing.sign(SECRET, server_id),
            "X-Forwarded-For": "10.5.0.5",
        } | {name.replace("_", "-"): value for name, value in changes.items()}
        headers = {name: value for name, value in told.items() if value is not None}
        return await self.client.request("GET" if body is None else "POST", path, body, headers=headers)

    async def json(self, server_id: str, path: str) -> Any:
        answer = await self.ask(server_id, path)
        assert answer.status == 200, answer
        return answer.body


@asynccontextmanager
async def site(vendor: VendorData | None = None) -> AsyncIterator[Site]:
    made = Site(vendor or VendorData())
    following = asyncio.create_task(made.facts.run())
    try:
        await made.facts.ready()
        yield made
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@asynchronous
async def test_the_openstack_tree() -> None:
    async with site() as cloud:
        server = await cloud.server(reservation_id="r-1")
        assert (await cloud.ask(server, "/openstack")).content.decode().split("\n") == list(VERSIONS)
        listed = (await cloud.ask(server, "/openstack/latest/")).content.decode().split("\n")
        assert listed == ["meta_data.json", "user_data", "password", "vendor_data.json", "network_data.json",
                          "vendor_data2.json"]  # fmt: skip
        told = await cloud.json(server, "/openstack/latest/meta_data.json")
        assert len(base64.b64decode(told.pop("random_seed"))) == 512
        assert told == {
            "uuid": server,
            "hostname": "web-one",
            "name": "Web One",
            "launch_index": 0,
            "availability_zone": "nova",
            "meta": {"role": "db"},
            "public_keys": {"k1": KEY},
            "keys": [{"name": "k1", "type": "ssh", "data": KEY}],
            "files": [{"content_path": "/content/0000", "path": "/etc/motd"}],
            "project_id": "p",
            "devices": [],
            "dedicated_cpus": [],
        }
        assert (await cloud.ask(server, "/openstack/latest/user_data")).content == SCRIPT
        assert (await cloud.ask(server, "/openstack/content/0000")).content == b"hello"
        assert await cloud.json(server, "/openstack/latest/vendor_data.json") == {}
        network = await cloud.json(server, "/openstack/latest/network_data.json")
        assert network["links"][0]["ethernet_mac_address"] == NIC.mac_address
        assert network["networks"][0]["type"] == "ipv4_dhcp"
        assert network["services"] == [{"type": "dns", "address": "10.5.0.3"}]


@asynchronous
async def test_old_versions_have_less() -> None:
    async with site() as cloud:
        server = await cloud.server()
        oldest = await cloud.json(server, "/openstack/2012-08-10/meta_data.json")
        assert not {"random_seed", "project_id", "devices", "keys"} & oldest.keys()
        for version, name in (("2012-08-10", "password"), ("2013-04-04", "vendor_data.json"),
                              ("2013-10-17", "network_data.json"), ("2016-06-30", "vendor_data2.json"),
                              ("1999-01-01", "meta_data.json")):  # fmt: skip
            assert (await cloud.ask(server, f"/openstack/{version}/{name}")).status == 404


@asynchronous
async def test_the_ec2_tree() -> None:
    async with site() as cloud:
        server = await cloud.server()

        async def text(path: str) -> str:
            answer = await cloud.ask(server, path)
            assert answer.status == 200, path
            return answer.content.decode()

        assert "latest\nopenstack" in await text("/")
        assert await text("/latest") == "meta-data/\nuser-data"
        listed = (await text("/latest/meta-data/")).split("\n")
        assert {"instance-id", "local-ipv4", "placement/", "public-keys/"} <= set(listed)
        assert await text("/2009-04-04/meta-data/instance-id") == f"i-{server[:8]}"
        assert await text("/latest/meta-data/local-ipv4") == "10.5.0.5"
        assert await text("/latest/meta-data/public-keys/") == "0=k1"
        assert await text("/latest/meta-data/public-keys/0/openssh-key") == KEY
        assert await text("/latest/meta-data/placement/availability-zone") == "nova"
        assert (await cloud.ask(server, "/latest/user-data")).content == SCRIPT
        for path in ("/latest/meta-data/nothing", "/latest/meta-data/instance-id/more", "/2009/meta-data"):
            assert (await cloud.ask(server, path)).status == 404


@asynchronous
async def test_who_is_not_the_guest_learns_nothing() -> None:
    async with site() as cloud:
        server, other = await cloud.server(), await cloud.server()
        path = "/openstack/latest/meta_data.json"
        assert (await cloud.ask(server, path)).status == 200
        assert (await cloud.ask(server, path, X_Instance_ID=None)).status == 404
        assert (await cloud.ask(server, path, X_Instance_ID=other)).status == 403
        assert (await cloud.ask(server, path, X_Instance_ID_Signature=None)).status == 403
        assert (await cloud.ask(server, path, X_Instance_ID_Signature="\xe4")).status == 403
        assert (await cloud.ask(server, path, X_Tenant_ID="q")).status == 404
        assert (await cloud.ask(server, path, X_Forwarded_For="10.5.0.6")).status == 404
        assert (await cloud.ask(server, path, X_Forwarded_For=None)).status == 404
        unknown = "00000000-0000-4000-8000-000000000000"
        assert (await cloud.ask(unknown, path)).status == 404
        assert (await cloud.client.request("GET", path)).status == 404


@pytest.mark.parametrize(
    "path",
    ["/openstack/../etc/passwd", "/openstack/./latest", "/openstack/latest/%00", "/openstack\\latest", "/latest/..",
     "/openstack/content/0001", "/openstack/content/../latest/user_data", "//", "/lightcurve/config_drive"],
)  # fmt: skip
@asynchronous
async def test_tricks_with_paths(path: str) -> None:
    async with site() as cloud:
        answer = await cloud.ask(await cloud.server(), path)
        assert answer.status == (200 if path == "//" else 404)


@asynchronous
async def test_a_password_is_posted_once() -> None:
    async with site() as cloud:
        server = await cloud.server()
        path = "/openstack/latest/password"
        assert (await cloud.ask(server, path)).content == b""
        assert (await cloud.ask(server, path, b"x" * (MAX_PASSWORD + 1))).status == 413
        assert (await cloud.ask(server, path, b"\xff")).status == 400
        assert (await cloud.ask(server, "/openstack/latest/user_data", b"x")).status == 404
        assert (await cloud.ask(server, path, b"encrypted==")).status == 200
        assert (await cloud.ask(server, path, b"another==")).status == 409
        await until(lambda: _password_is(cloud, server, b"encrypted=="))
        log = await cloud.cell.store.load(_aggregate(server))
        assert "encrypted" not in repr(log)


async def _password_is(cloud: Site, server: str, wanted: bytes) -> bool:
    return (await cloud.ask(server, "/openstack/latest/password")).content == wanted


def _aggregate(server: str) -> Any:
    from domain.server.state import aggregate

    return aggregate(server)


@asynchronous
async def test_changes_show_and_the_deleted_are_gone() -> None:
    async with site() as cloud:
        server = await cloud.server()
        path = "/openstack/latest/meta_data.json"
        await cloud.json(server, path)
        await cloud.cell.tell(server, ServerRenamed(name="other"))
        await until(lambda: _name_is(cloud, server, "other"))
        moved = ServerPlaced(
            host="node2", host_id="h2", epoch=2, availability_zone="nova", nics=(_with_address("10.5.0.9"),)
        )
        await cloud.cell.tell(server, moved)
        await until(lambda: _status_is(cloud, server, path, 404))
        assert (await cloud.ask(server, path, X_Forwarded_For="10.5.0.9")).status == 200
        await cloud.cell.delete(server)
        await until(lambda: _status_is(cloud, server, path, 404, X_Forwarded_For="10.5.0.9"))


async def _name_is(cloud: Site, server: str, name: str) -> bool:
    return (await cloud.json(server, "/openstack/latest/meta_data.json"))["name"] == name


async def _status_is(cloud: Site, server: str, path: str, status: int, **more: str) -> bool:
    return (await cloud.ask(server, path, **more)).status == status


def _with_address(address: str) -> Any:
    import msgspec

    return msgspec.structs.replace(NIC, ip_address=address)


@asynchronous
async def test_a_destroyed_key_leaves_no_user_data() -> None:
    async with site() as cloud:
        server = await cloud.server()
        await cloud.cell.vault.destroy(server)
        assert (await cloud.ask(server, "/openstack/latest/user_data")).status == 404


async def as_host(
    cloud: Site, server: str, path: str, secret: bytes, host: str | None, signed: str | None = None
) -> Answer:
    """As a host asks that signs with a secret."""
    signature = signing.sign(secret, signed or server)
    return await cloud.ask(server, path, X_Lightcurve_Host=host, X_Instance_ID_Signature=signature)


@asynchronous
async def test_a_host_is_told_of_its_own_guests_only() -> None:
    async with site() as cloud:
        server, path = await cloud.server(), "/openstack/latest/user_data"
        assert (await as_host(cloud, server, path, b"one", "node1")).content == SCRIPT
        assert (await as_host(cloud, server, path, b"two", "node2")).status == 404
        for secret, host in ((SECRET, "node1"), (b"two", "node1"), (b"one", None), (b"one", "node3"), (b"", "node3")):
            assert (await as_host(cloud, server, path, secret, host)).status == 403
        await cloud.cell.tell(server, ServerPlaced(host="node2", host_id="h2", epoch=2, availability_zone="nova",
                                                   nics=(NIC,)))  # fmt: skip
        await until(lambda: _is_told(cloud, server, path, b"two", "node2"))
        assert (await as_host(cloud, server, path, b"one", "node1")).status == 404


async def _is_told(cloud: Site, server: str, path: str, secret: bytes, host: str) -> bool:
    return (await as_host(cloud, server, path, secret, host)).status == 200


@asynchronous
async def test_a_config_drive_is_for_hosts_only() -> None:
    async with site() as cloud:
        server = await cloud.server()
        drive, whole = signing.CONFIG_DRIVE_PATH, signing.CONFIG_DRIVE + server
        refused: list[tuple[bytes, str | None, str]] = [
            (SECRET, None, server), (SECRET, None, whole), (SECRET, "node1", whole), (b"one", "node1", server),
            (b"two", "node2", whole), (b"two", "node1", whole), (b"one", "node3", whole), (b"one", None, whole),
            (b"", "node3", whole),
        ]  # fmt: skip
        for secret, host, signed in refused:
            assert (await as_host(cloud, server, drive, secret, host, signed)).status == 404
        answer = await as_host(cloud, server, drive, b"one", "node1", whole)
        assert answer.status == 200
        files = {name: base64.b64decode(content) for name, content in answer.body.items()}
        assert files["openstack/latest/user_data"] == SCRIPT
        assert files["openstack/content/0000"] == b"hello"
        assert json.loads(files["openstack/latest/meta_data.json"])["admin_pass"] == "correct horse"
        assert "admin_pass" not in await cloud.json(server, "/openstack/latest/meta_data.json")
        assert {name.split("/")[1] for name in files} == {*VERSIONS, "content"}


@asynchronous
async def test_the_host_to_which_a_server_is_on_its_way_makes_its_config_drive() -> None:
    async with site() as cloud:
        server = await cloud.server()
        drive, whole = signing.CONFIG_DRIVE_PATH, signing.CONFIG_DRIVE + server
        assert (await as_host(cloud, server, drive, b"two", "node2", whole)).status == 404
        now = cloud.cell.stamp.clock.now()
        state = await cloud.facts.present(server)
        await cloud.cell.tell(server, cold.migrate(existing(state, server), now, None, None))
        await cloud.cell.tell(
            server, ServerTargetChosen(host="node2", host_id="h2", epoch=2, availability_zone="nova")
        )
        for secret, host in ((b"two", "node2"), (b"one", "node1")):
            assert (await as_host(cloud, server, drive, secret, host, whole)).status == 200


class Endpoint(http.server.BaseHTTPRequestHandler):
    """A vendor's endpoint."""

    asked: list[dict[str, Any]] = []
    release = threading.Event()

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(question)
        if self.path == "/slow":
            self.release.wait(20)
        status = 500 if self.path == "/broken" else 200
        body = b"not json" if self.path == "/nonsense" else json.dumps({"at": self.path}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@contextmanager
def endpoint() -> Iterator[str]:
    Endpoint.asked.clear()
    Endpoint.release.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            Endpoint.release.set()
            server.shutdown()
            thread.join()


@asynchronous
async def test_vendor_data(tmp_path: Path) -> None:
    file = tmp_path / "vendor.json"
    file.write_text('{"cloud-init": "#cloud-config"}')
    with endpoint() as url:
        targets = tuple(Target.parse(f"{name}@{url}/{name}") for name in ("good", "broken", "nonsense", "slow"))
        async with site(VendorData(file, targets, timeout=0.5)) as cloud:
            server = await cloud.server()
            static = {"cloud-init": "#cloud-config"}
            assert await cloud.json(server, "/openstack/latest/vendor_data.json") == static
            joined = await cloud.json(server, "/openstack/latest/vendor_data2.json")
            assert joined == {"static": static, "good": {"at": "/good"}, "broken": {}, "nonsense": {}, "slow": {}}
            assert Endpoint.asked[0]["instance-id"] == server
            assert Endpoint.asked[0]["metadata"] == {"role": "db"}
        async with site(VendorData(file, targets, timeout=0.5, fatal=True)) as cloud:
            server = await cloud.server()
            assert (await cloud.ask(server, "/openstack/latest/vendor_data2.json")).status == 503


def test_wrong_vendor_settings(tmp_path: Path) -> None:
    for text in ("", "name", "name@ftp://x", "@http://x"):
        with pytest.raises(Invalid, match="must have the form"):
            Target.parse(text)
    file = tmp_path / "vendor.json"
    for content in ("[]", "{"):
        file.write_text(content)
        with pytest.raises(Invalid, match=r"vendor\.json"):
            VendorData(file)
