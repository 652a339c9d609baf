"""Port security, frame by frame: taps that a guest's QEMU would hold are held by the test."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.libvirt.domain_xml import tap_name
from adapters.libvirt.network import INTERFACES, Names, Networks
from adapters.libvirt.port_security import table_of
from adapters.libvirt.settings import LibvirtSettings
from domain.errors import HostFailed
from domain.guest import GuestSpec, Nic
from tests.adapters.libvirt.frames import (
    ADDRESS,
    DHCP,
    DROPPED,
    FALSE_ADDRESS,
    FALSE_CLAIM,
    MAC,
    NEIGHBOUR,
    NEIGHBOUR_MAC,
    NOBODYS_MAC,
    PASSING,
    TO_ANOTHER,
    TO_HOST,
    Tap,
    claim,
    ip,
)
from tests.aio import asynchronous
from tests.real_libvirt import guest_spec, nic, traces
from tests.waiting import until

pytestmark = [pytest.mark.libvirt, pytest.mark.usefixtures("libvirtd")]


class Site:
    """Two guests on one network, held by nobody but the test."""

    def __init__(self, directory: Path) -> None:
        self.settings = LibvirtSettings(host_name="node1", state_dir=directory)
        self.network = str(uuid4())
        self.guests: list[GuestSpec] = []
        self.networks = self.agent()
        self.names = Names.of(self.settings.home, self.network)
        self.table = table_of(self.settings.run_dir)
        self._taps: list[Tap] = []

    def agent(self) -> Networks:
        return Networks(self.settings.home, self.settings.run_dir, lambda: self.guests)

    def place(self, mac: str, address: str, **changes: object) -> Nic:
        port = nic(self.network, mac_address=mac, ip_address=address, **changes)
        self.guests.append(guest_spec(None, port))
        return port

    def plug(self, port: Nic) -> Tap:
        self._taps.append(Tap(port, self.names.bridge))
        return self._taps[-1]

    def unplug(self) -> None:
        while self._taps:
            self._taps.pop().close()

    def dropped(self) -> dict[str, int]:
        """How many frames each rule has dropped."""
        listed = json.loads(nft("-j", "list", "table", "bridge", self.table))["nftables"]
        rules = [entry["rule"] for entry in listed if "rule" in entry]
        return {
            rule["comment"]: part["counter"]["packets"]
            for rule in rules
            for part in rule["expr"]
            if "counter" in part
        }

    async def drops(self, before: dict[str, int]) -> set[str]:
        """The rules that have dropped something since, once there are any."""
        await until(lambda: self.dropped() != before)
        after = self.dropped()
        return {rule for rule in after if after[rule] != before[rule]}

    def places(self, mac: str) -> set[str]:
        """Where the bridge believes this address to be."""
        show = ["bridge", "-j", "fdb", "show", "br", self.names.bridge]
        listed = json.loads(subprocess.run(show, capture_output=True, check=True).stdout)
        return {entry["ifname"] for entry in listed if entry["mac"] == mac}


def nft(*words: str) -> str:
    return subprocess.run(["nft", *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.unplug()
    made.guests.clear()
    asyncio.run(made.networks.mend())
    assert traces(tmp_path, made.network) == set()


@asynchronous
async def test_what_passes_and_what_does_not(site: Site) -> None:
    port, other = site.place(MAC, ADDRESS), site.place(NEIGHBOUR_MAC, NEIGHBOUR)
    await site.networks.refresh(site.network)
    guest, neighbour = site.plug(port), site.plug(other)
    for name, frame in PASSING.items():
        guest.send(frame)
        assert await neighbour.hears(frame), name
    for name, (frame, reason) in DROPPED.items():
        before = site.dropped()
        guest.send(frame)
        assert await site.drops(before) == {reason}, name
        assert frame not in neighbour.received(), name


@asynchronous
async def test_from_the_first_frame_to_the_last(site: Site) -> None:
    port, other = site.place(MAC, ADDRESS), site.place(NEIGHBOUR_MAC, NEIGHBOUR)
    await site.networks.refresh(site.network)
    before = site.dropped()
    site.plug(port).send(ip(NEIGHBOUR, DHCP))
    assert await site.drops(before) == {FALSE_ADDRESS}
    site.unplug()
    await site.agent().refresh(site.network, without=site.guests[0].server_id)
    rules = nft("list", "table", "bridge", site.table)
    assert tap_name(port.port_id) not in rules
    assert tap_name(other.port_id) in rules


@asynchronous
async def test_nobody_hears_what_is_meant_for_another(site: Site) -> None:
    port, other = site.place(MAC, ADDRESS), site.place(NEIGHBOUR_MAC, NEIGHBOUR)
    await site.networks.refresh(site.network)
    guest, neighbour = site.plug(port), site.plug(other)
    before = site.dropped()
    # A bridge that does not know where somebody is asks everywhere.
    guest.send(ip(ADDRESS, "10.5.0.9", to=NOBODYS_MAC))
    assert await site.drops(before) == {TO_ANOTHER}
    assert not any(frame.startswith(bytes.fromhex(NOBODYS_MAC.replace(":", ""))) for frame in neighbour.received())


@asynchronous
async def test_the_host_is_out_of_reach(site: Site) -> None:
    """An address of the host would otherwise answer on any of its interfaces."""
    port = site.place(MAC, ADDRESS)
    await site.networks.refresh(site.network)
    guest = site.plug(port)
    host = (INTERFACES / site.names.bridge / "address").read_text().strip()
    for target in (host, "01:80:c2:00:00:02"):
        before = site.dropped()
        guest.send(ip(ADDRESS, "10.0.0.1", to=target))
        assert await site.drops(before) == {TO_HOST}


@asynchronous
async def test_a_false_sender_leads_nothing_astray(site: Site) -> None:
    """The kernel learns from frames to the addresses of IEEE 802.1D, too, and hands them past most rules."""
    port, other = site.place(MAC, ADDRESS), site.place(NEIGHBOUR_MAC, NEIGHBOUR)
    await site.networks.refresh(site.network)
    # A bridge from before there was port security.
    mask = INTERFACES / site.names.bridge / "bridge" / "group_fwd_mask"
    mask.write_text("0")
    await site.networks.mend()
    guest, neighbour = site.plug(port), site.plug(other)
    truth = {tap_name(other.port_id)}
    neighbour.send(ip(NEIGHBOUR, ADDRESS, to=MAC, mac=NEIGHBOUR_MAC))
    await until(lambda: site.places(NEIGHBOUR_MAC) == truth)
    for last in range(16):
        guest.send(ip(NEIGHBOUR, DHCP, mac=NEIGHBOUR_MAC, to=f"01:80:c2:00:00:{last:02x}"))
        honest = ip(ADDRESS, NEIGHBOUR, to=NEIGHBOUR_MAC, ports=(last, 999))
        guest.send(honest)
        assert await neighbour.hears(honest), last
        assert site.places(NEIGHBOUR_MAC) == truth, last


@asynchronous
async def test_rules_that_somebody_flushed_are_made_again(site: Site) -> None:
    port = site.place(MAC, ADDRESS)
    await site.networks.refresh(site.network)
    guest = site.plug(port)
    nft("delete", "table", "bridge", site.table)
    await site.networks.mend()
    before = site.dropped()
    guest.send(ip(NEIGHBOUR, DHCP))
    assert await site.drops(before) == {FALSE_ADDRESS}
    counted = site.dropped()
    await site.networks.mend()
    assert site.dropped() == counted


@asynchronous
async def test_a_host_without_guests_misses_no_rules(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    await site.networks.mend()
    await site.networks.mend()
    assert caplog.messages == []


@asynchronous
async def test_two_installations(site: Site, tmp_path: Path) -> None:
    site.place(MAC, ADDRESS)
    await site.networks.refresh(site.network)
    rules = nft("list", "table", "bridge", site.table)
    another = Site(tmp_path / "another")
    another.place(MAC, ADDRESS)
    await another.networks.refresh(another.network)
    another.guests.clear()
    await another.networks.mend()
    assert traces(tmp_path / "another", another.network) == set()
    assert nft("list", "table", "bridge", site.table) == rules


@asynchronous
async def test_a_port_without_an_ipv4_address(site: Site) -> None:
    port = site.place(MAC, "fd00::7", cidr="fd00::/64", dhcp_ip=None)
    await site.networks.refresh(site.network)
    guest = site.plug(port)
    for frame, reason in ((ip(ADDRESS, DHCP), FALSE_ADDRESS), (claim(MAC, ADDRESS), FALSE_CLAIM)):
        before = site.dropped()
        guest.send(frame)
        assert await site.drops(before) == {reason}


@asynchronous
async def test_a_host_without_nft(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in ("ip", "dnsmasq"):
        (programs / program).symlink_to(str(shutil.which(program)))
    site.place(MAC, ADDRESS)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(programs))
        with pytest.raises(HostFailed, match="hold the guest to its addresses") as failure:
            await site.networks.refresh(site.network)
        assert "apt-get install nftables" in failure.value.details
        assert not (INTERFACES / site.names.bridge).exists()
    await site.networks.refresh(site.network)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(programs))
        # Guests can be listed and removed all the same.
        await site.networks.mend()
        await site.networks.refresh(site.network, without=site.guests[0].server_id)
    assert not (INTERFACES / site.names.bridge).exists()
