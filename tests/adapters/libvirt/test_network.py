"""Tenants' networks, with real DHCP clients in namespaces of their own instead of guests."""

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.libvirt.dnsmasq import dhcp_plan, host_name
from adapters.libvirt.network import INTERFACES, Names, Networks
from adapters.libvirt.settings import LibvirtSettings
from domain.errors import HostFailed
from domain.guest import GuestSpec, Nic, Route
from tests.aio import asynchronous
from tests.real_libvirt import guest_spec, nic, traces
from tests.waiting import until

pytestmark = [pytest.mark.libvirt, pytest.mark.usefixtures("libvirtd")]


class Site:
    """A host with guests that exist only on paper."""

    def __init__(self, directory: Path) -> None:
        self.settings = LibvirtSettings(host_name="node1", state_dir=directory)
        self.guests: list[GuestSpec] = []
        self.network = str(uuid4())
        self.networks = self.agent()

    def agent(self) -> Networks:
        return Networks(self.settings.home, self.settings.run_dir, lambda: self.guests)

    def place(self, *nics: Nic, name: str = "web1") -> GuestSpec:
        self.guests.append(guest_spec(None, *nics, name=name))
        return self.guests[-1]

    def dnsmasq(self) -> int:
        return int((self.settings.run_dir / "networks" / self.network / "dnsmasq.pid").read_text())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    networks = {each.network_id for guest in site.guests for each in guest.nics} | {site.network}
    site.guests.clear()
    asyncio.run(site.networks.mend())
    assert traces(tmp_path, *networks) == set()


async def ask_dhcp(bridge: str, mac: str, seconds: int = 5) -> dict[str, str]:
    """What a client with this address is told on this bridge; nothing, if nobody answers."""
    name = f"t{secrets.token_hex(4)}"
    ip = ("ip", "-n", name)
    script = Path(f"/run/{name}.sh")
    script.write_text("#!/bin/sh\n[ $1 = bound ] && env\n")
    script.chmod(0o755)
    try:
        for argv in (
            ("ip", "netns", "add", name),
            ("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "address", mac, "netns", name),
            ("ip", "link", "set", name, "master", bridge, "up"),
            (*ip, "link", "set", "eth0", "up"),
        ):
            subprocess.run(argv, check=True)
        ask = ["busybox", "udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", str(seconds), "-T", "1", "-s", script]
        options = ["-O", "staticroutes", "-O", "mtu"]
        client = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", name, *ask, *options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output, _ = await client.communicate()
        return dict(line.split("=", 1) for line in output.decode().splitlines() if "=" in line)
    finally:
        script.unlink()
        subprocess.run(["ip", "netns", "delete", name], check=True)
        subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)


def told_address(answer: dict[str, str]) -> str | None:
    return answer.get("ip")


@asynchronous
async def test_what_a_guest_is_told(site: Site) -> None:
    port = nic(site.network, 7)
    site.place(port, name="Web Server_1.example.org")
    await site.networks.refresh(site.network)
    answer = await ask_dhcp(site.networks.bridge(site.network), port.mac_address)
    expected = {
        "ip": "10.5.0.7",
        "mask": "24",
        "mtu": "1400",
        "dns": "10.5.0.3",
        "router": "10.5.0.1",
        "hostname": "web-server-1",
        "staticroutes": "169.254.169.254/32 10.5.0.2 0.0.0.0/0 10.5.0.1",
        "lease": "86400",
    }
    assert {name: answer.get(name) for name in expected} == expected
    assert await ask_dhcp(site.networks.bridge(site.network), "fa:16:3e:ff:ff:ff", 1) == {}


@asynchronous
async def test_guests_come_and_go_under_one_server(site: Site) -> None:
    first, second = nic(site.network, 7), nic(site.network, 8)
    bridge = site.networks.bridge(site.network)
    site.place(first)
    await site.networks.refresh(site.network)
    pid = site.dnsmasq()
    leaving = site.place(second)
    await site.agent().refresh(site.network)
    assert told_address(await ask_dhcp(bridge, second.mac_address)) == "10.5.0.8"
    await site.agent().mend()
    assert site.dnsmasq() == pid
    # The address goes to another guest while its lease has a day to run.
    site.guests.remove(leaving)
    await site.networks.refresh(site.network)
    heir = nic(site.network, 8)
    site.place(heir)
    await site.networks.refresh(site.network)
    assert told_address(await ask_dhcp(bridge, heir.mac_address)) == "10.5.0.8"
    assert told_address(await ask_dhcp(bridge, first.mac_address)) == "10.5.0.7"


@asynchronous
async def test_what_is_lost_is_made_again(site: Site) -> None:
    port = nic(site.network, 7)
    site.place(port)
    await site.networks.refresh(site.network)
    names = Names.of(site.settings.home, site.network)

    async def works() -> bool:
        await site.agent().mend()
        return told_address(await ask_dhcp(names.bridge, port.mac_address)) == "10.5.0.7"

    os.kill(site.dnsmasq(), signal.SIGKILL)
    assert await works()
    subprocess.run(["ip", "link", "delete", names.bridge], check=True)
    assert await works()
    subprocess.run(["ip", "link", "delete", names.outside], check=True)
    assert await works()
    # As after a reboot of the machine: no process, no interface, no namespace.
    os.kill(site.dnsmasq(), signal.SIGKILL)
    for argv in (("netns", "delete", names.namespace), ("link", "delete", names.bridge)):
        subprocess.run(["ip", *argv], check=True)
    await until(lambda: not (INTERFACES / names.outside).exists())
    assert await works()


@asynchronous
async def test_a_tap_finds_its_bridge_again(site: Site) -> None:
    port = nic(site.network, 7)
    site.place(port)
    await site.networks.refresh(site.network)
    tap = f"tap{port.port_id[:11]}"
    subprocess.run(["ip", "tuntap", "add", "dev", tap, "mode", "tap"], check=True)
    try:
        bridge = site.networks.bridge(site.network)
        subprocess.run(["ip", "link", "delete", bridge], check=True)
        await site.networks.mend()
        assert (INTERFACES / tap / "master").resolve().name == bridge
    finally:
        subprocess.run(["ip", "link", "delete", tap], check=True)


@asynchronous
async def test_a_foreign_process_of_the_same_pid_is_left_alone(site: Site) -> None:
    site.place(nic(site.network))
    await site.networks.refresh(site.network)
    os.kill(site.dnsmasq(), signal.SIGKILL)
    stranger = await asyncio.create_subprocess_exec("tail", "-f", "/dev/null")
    try:
        pid_file = site.settings.run_dir / "networks" / site.network / "dnsmasq.pid"
        pid_file.write_text(f"{stranger.pid}\n")
        await site.networks.refresh(site.network)
        assert site.dnsmasq() != stranger.pid
        pid_file_of_another = pid_file.read_text()
        os.kill(site.dnsmasq(), signal.SIGKILL)
        pid_file.write_text(f"{stranger.pid}\n")
        site.guests.clear()
        await site.networks.refresh(site.network)
        assert pid_file_of_another
        assert stranger.returncode is None
    finally:
        with contextlib.suppress(ProcessLookupError):
            stranger.kill()
        await stranger.wait()


@asynchronous
async def test_two_tenants_with_equal_subnets(site: Site) -> None:
    other = str(uuid4())
    mine, theirs = nic(site.network, 7), nic(other, 7)
    site.place(mine)
    site.place(theirs)
    await site.networks.mend()
    bridge, others_bridge = (site.networks.bridge(network) for network in (site.network, other))
    assert told_address(await ask_dhcp(bridge, mine.mac_address)) == "10.5.0.7"
    assert told_address(await ask_dhcp(others_bridge, theirs.mac_address)) == "10.5.0.7"
    assert await ask_dhcp(bridge, theirs.mac_address, 1) == {}


@asynchronous
async def test_each_guest_of_a_subnet_is_told_what_its_port_was_made_with(site: Site) -> None:
    """The subnet has changed between two of them."""
    older, newer = nic(site.network, 7), nic(site.network, 8, gateway_ip="10.5.0.254", dns_nameservers=("10.5.0.9",))
    site.place(older)
    site.place(newer)
    await site.networks.refresh(site.network)
    bridge = site.networks.bridge(site.network)
    for port in (older, newer):
        answer = await ask_dhcp(bridge, port.mac_address)
        assert (answer["ip"], answer["dns"]) == (port.ip_address, " ".join(port.dns_nameservers))
        assert answer["staticroutes"].endswith(f"0.0.0.0/0 {port.gateway_ip}")


@asynchronous
async def test_a_network_without_dhcp_and_one_that_cannot_be(site: Site) -> None:
    site.place(nic(site.network, dhcp_ip=None))
    await site.networks.refresh(site.network)
    assert not (site.settings.run_dir / "networks" / site.network / "dnsmasq.pid").exists()
    impossible = str(uuid4())
    site.place(nic(impossible, mtu=10**9))
    with pytest.raises(HostFailed, match="could not make the guest's network") as failure:
        await site.networks.refresh(impossible)
    assert "mtu" in failure.value.details
    # One network's trouble is not another's.
    await site.networks.mend()


def test_the_plan_for_several_subnets() -> None:
    network = str(uuid4())
    ours = nic(network, 7, gateway_ip=None, dns_nameservers=())
    second = nic(network, 9, ip_address="10.6.0.9", cidr="10.6.0.0/25", dhcp_ip="10.6.0.2")
    six = nic(network, 9, ip_address="fd00::9", cidr="fd00::/64", dhcp_ip="fd00::2")
    plan = dhcp_plan([guest_spec(None, ours, six), guest_spec(None, second, nic(str(uuid4())))], network)
    assert set(plan.addresses) == {"10.5.0.2/24", "10.6.0.2/25"}
    assert [line.split(",")[2] for line in plan.hosts.splitlines()] == ["10.5.0.7", "10.6.0.9"]
    assert plan.config.count("dhcp-range=") == 2
    routed = nic(network, 7, host_routes=(Route("10.9.0.0/16", "10.5.0.253"),))
    assert (
        "/32,10.5.0.2,10.9.0.0/16,10.5.0.253,0.0.0.0/0,10.5.0.1"
        in dhcp_plan([guest_spec(None, routed)], network).config
    )
    assert any(line.endswith("option:router") for line in plan.config.splitlines())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web1", "web1"),
        ("Web 1", "web-1"),
        ("a.b.c", "a"),
        ("--", "server"),
        ("日本", "server"),
        ("x" * 99, "x" * 63),
    ],
)
def test_the_name_of_a_host(name: str, expected: str) -> None:
    assert host_name(name) == expected
