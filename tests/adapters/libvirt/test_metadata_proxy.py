"""169.254.169.254 on tenants' networks, asked from namespaces that stand for guests."""

import asyncio
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.libvirt import metadata_proxy
from adapters.libvirt.metadata_proxy import MAX_AT_ONCE, MetadataProxies, MetadataUpstream
from adapters.libvirt.network import Networks
from adapters.libvirt.settings import LibvirtSettings
from adapters.metadata import signing
from domain.errors import Invalid
from domain.guest import GuestSpec, Nic
from tests.aio import asynchronous
from tests.real_libvirt import guest_spec, nic, traces
from tests.waiting import until

pytestmark = [pytest.mark.libvirt, pytest.mark.usefixtures("libvirtd")]
SECRET = b"shared"


class Service:
    """Stands for the metadata service: answers with what it was told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.hold: asyncio.Event | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        body = await reader.readexactly(int(headers["content-length"]))
        self.asked.append((line, headers, body))
        if self.hold:
            await self.hold.wait()
        told = headers[signing.INSTANCE_ID].encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(told), told))
        writer.close()
        await writer.wait_closed()


class Site:
    """A host with guests that exist only on paper."""

    def __init__(self, directory: Path) -> None:
        self.settings = LibvirtSettings(host_name="node1", state_dir=directory)
        self.guests: list[GuestSpec] = []
        self.known: set[str] = set()
        self.service = Service()

    def place(self, *nics: Nic, project_id: str = "p") -> GuestSpec:
        self.guests.append(guest_spec(None, *nics, project_id=project_id))
        self.known |= {each.network_id for each in nics}
        return self.guests[-1]

    @asynccontextmanager
    async def agent(self) -> AsyncIterator[Networks]:
        """The host's networks in the hands of an agent."""
        server = await asyncio.start_server(self.service.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        proxies = MetadataProxies(MetadataUpstream(url, SECRET))
        networks = Networks(self.settings.home, self.settings.run_dir, lambda: self.guests, proxies)
        try:
            await networks.mend()
            yield networks
        finally:
            await proxies.close()
            server.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.guests.clear()
    asyncio.run(Networks(made.settings.home, made.settings.run_dir, list).mend())
    assert traces(tmp_path, *made.known) == set()


@asynccontextmanager
async def guest(bridge: str, address: str) -> AsyncIterator[str]:
    """A namespace on a network, with this address; what runs there is where a guest would be."""
    name = f"t{secrets.token_hex(4)}"
    for argv in (
        ("ip", "netns", "add", name),
        ("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name),
        ("ip", "link", "set", name, "master", bridge, "up"),
        ("ip", "-n", name, "link", "set", "eth0", "up"),
        ("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0"),
        ("ip", "-n", name, "route", "add", "169.254.169.254/32", "via", "10.5.0.2"),
    ):
        subprocess.run(argv, check=True)
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
        await until(lambda: not Path(f"/sys/class/net/{name}").exists())


async def ask(namespace: str, *words: str) -> tuple[int, str]:
    """Status and body of what curl is answered there."""
    url = words[-1] if words and words[-1].startswith("/") else "/openstack"
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", namespace, "curl", "-s", "--path-as-is", "--max-time", "8", "-w", "\n%{http_code}"),
        *(word for word in words if word != url),
        f"http://169.254.169.254{url}",
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    body, _, status = output.decode().rpartition("\n")
    return int(status), body


@asynchronous
async def test_a_guest_is_known_by_its_network_and_address(site: Site) -> None:
    """Two tenants have equal subnets, and their guests equal addresses."""
    mine, theirs = (site.place(nic(str(uuid4()), 7), project_id=project) for project in ("p", "q"))
    async with site.agent() as networks:
        for spec in (mine, theirs):
            bridge = networks.bridge(spec.nics[0].network_id)
            async with guest(bridge, "10.5.0.7") as there:
                forged = ("-H", f"X-Instance-ID: {mine.server_id}", "-H", "X-Forwarded-For: 10.5.0.9")
                status, body = await ask(there, *forged, "-H", "X-Instance-ID-Signature: 00", "/openstack/latest")
                assert (status, body) == (200, spec.server_id)
            async with guest(bridge, "10.5.0.8") as stranger:
                status, body = await ask(stranger, "-H", f"X-Instance-ID: {spec.server_id}")
                assert (status, body.strip()) == (404, "Not Found")
        assert len(site.service.asked) == 2
        line, headers, _ = site.service.asked[0]
        assert line == "GET /openstack/latest HTTP/1.1"
        assert headers[signing.TENANT_ID] == "p"
        assert headers[signing.FORWARDED_FOR] == "10.5.0.7"
        assert headers[signing.SIGNATURE] == signing.sign(SECRET, mine.server_id)


@asynchronous
async def test_requests_that_are_refused(site: Site) -> None:
    spec = site.place(nic(str(uuid4()), 7))
    async with site.agent() as networks, guest(networks.bridge(spec.nics[0].network_id), "10.5.0.7") as there:
        assert (await ask(there, "-X", "PUT"))[0] == 400
        assert (await ask(there, "-H", f"X: {'x' * 20_000}"))[0] == 431
        assert (await ask(there, "-d", "x" * 5000))[0] == 413
        assert (await ask(there, "-H", "Transfer-Encoding: chunked", "-d", "x"))[0] == 411
        assert (await ask(there, "-H", "Content-Length: x"))[0] == 400
        assert site.service.asked == []
        assert (await ask(there, "-d", "a-password", "/openstack/latest/password"))[0] == 200
        assert site.service.asked[0][2] == b"a-password"


@asynchronous
async def test_one_guest_cannot_take_it_all(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata_proxy, "REQUEST_SECONDS", 4.0)
    network = str(uuid4())
    site.place(nic(network, 7))
    site.place(nic(network, 8))
    async with site.agent() as networks:
        bridge = networks.bridge(network)
        async with guest(bridge, "10.5.0.7") as greedy, guest(bridge, "10.5.0.8") as modest:
            # They open a connection and say nothing.
            opening = f"for i in $(seq {MAX_AT_ONCE}); do sleep 6 | busybox nc 169.254.169.254 80 & done; wait"
            idle = await asyncio.create_subprocess_exec("ip", "netns", "exec", greedy, "sh", "-c", opening)
            # Only then: whoever asks before takes the place of one of them.
            await until(lambda: _connections(greedy) == MAX_AT_ONCE)
            assert (await ask(greedy))[0] == 429
            assert (await ask(modest))[0] == 200
            await until(lambda: _answers(greedy))
            await idle.wait()


def _connections(there: str) -> int:
    """How many are established there."""
    shown = ("ip", "netns", "exec", there, "cat", "/proc/net/tcp")
    rows = subprocess.run(shown, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    return sum(row.split()[3] == "01" for row in rows)


async def _answers(there: str) -> bool:
    return (await ask(there))[0] == 200


@asynchronous
async def test_another_agent_goes_on_and_what_is_lost_is_made_again(site: Site) -> None:
    spec = site.place(nic(str(uuid4()), 7))
    network = spec.nics[0].network_id
    async with site.agent() as networks, guest(networks.bridge(network), "10.5.0.7") as there:
        assert await ask(there) == (200, spec.server_id)
    async with site.agent() as networks:
        bridge = networks.bridge(network)
        async with guest(bridge, "10.5.0.7") as there:
            assert await ask(there) == (200, spec.server_id)
        subprocess.run(["ip", "link", "delete", bridge], check=True)
        await networks.mend()
        async with guest(bridge, "10.5.0.7") as there:
            assert await ask(there) == (200, spec.server_id)
        # The address goes to another.
        site.guests.clear()
        heir = site.place(nic(network, 7))
        await networks.refresh(network)
        async with guest(bridge, "10.5.0.7") as there:
            assert await ask(there) == (200, heir.server_id)


@asynchronous
async def test_a_service_that_is_away(site: Site) -> None:
    spec = site.place(nic(str(uuid4()), 7))
    async with site.agent() as networks, guest(networks.bridge(spec.nics[0].network_id), "10.5.0.7") as there:
        assert networks._metadata
        networks._metadata._port = 1
        assert (await ask(there))[0] == 503


def test_a_url_that_is_none() -> None:
    for url in ("", "127.0.0.1:8775", "ftp://host"):
        with pytest.raises(Invalid, match="URL"):
            MetadataProxies(MetadataUpstream(url, SECRET))
