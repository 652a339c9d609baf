"""Running guests move between two real hosts, and whatever dies in the middle, exactly one has them."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.libvirt.cpu_check import check_cpu, cpu_of
from adapters.libvirt.holding import Holding, Keeper, go_on, keeper, let_go
from adapters.libvirt.live_migration import GONE
from domain.errors import HostFailed, Unavailable
from tests.adapters.libvirt.inside import Inside
from tests.adapters.libvirt.paper_host import TRAVELLERS_ADDRESS, travellers_nic
from tests.adapters.libvirt.traveller import Traveller
from tests.aio import asynchronous
from tests.own_hosts import OwnHost, OwnHosts
from tests.waiting import until, wait_until

pytestmark = pytest.mark.libvirt
SLOWLY = 1
"""MiB a second: it would take a minute and more."""


@pytest.fixture(scope="module")
def hosts() -> Iterator[OwnHosts]:
    with OwnHosts() as started:
        started.start(2)
        yield started


@pytest.fixture
def both(hosts: OwnHosts) -> list[OwnHost]:
    return hosts.start(2)


@pytest.fixture
def guest(both: list[OwnHost]) -> Iterator[Traveller]:
    traveller = Traveller(both)
    traveller.make_disk(1)
    traveller.await_boot()
    yield traveller
    traveller.end()


@pytest.fixture
def sharing(hosts: OwnHosts, both: list[OwnHost]) -> Iterator[Traveller]:
    hosts.embedded.shared.mkdir(exist_ok=True)
    hosts.embedded.shared.chmod(0o711)
    traveller = Traveller(both, hosts.embedded.shared)
    traveller.await_boot()
    yield traveller
    traveller.end()


async def leaves(guest: Traveller) -> None:
    """Until memory is being sent."""
    looks = guest.leaving()

    async def is_sent() -> bool:
        found = await looks.progress(guest.id)
        return found is not None and 0 < found.memory_remaining < found.memory_total

    await until(is_sent, 30)
    await looks.close()


@asynchronous
async def test_with_its_disk_and_back_again(guest: Traveller) -> None:
    guest.say(0, "echo kept > /boot/kept; sync; echo written=$((40+2))", "written=42")
    there = guest.leaving(0)
    report = await there.run(guest.migration())
    assert report is not None
    assert report.sent > 1_000_000
    assert guest.held() == (Holding.NOTHING, Holding.ON)
    guest.say(1, "cat /boot/kept; echo read=$((40+3))", "read=43")
    # What the image says did not travel, nor did what is empty.
    assert guest.disk(1).stat().st_blocks * 512 < 20_000_000
    with guest.libvirt(1) as conn:
        assert 'epoch="2"' in conn.lookupByUUIDString(guest.id).XMLDesc()
        assert str(guest.homes[0]) not in conn.lookupByUUIDString(guest.id).XMLDesc()
    with pytest.raises(HostFailed, match=GONE):
        await there.run(guest.migration())
    await there.close()
    guest.disk(0).unlink()
    guest.make_disk(0)
    back = guest.leaving(1)
    assert await back.run(guest.migration(to=0))
    await back.close()
    assert guest.held() == (Holding.ON, Holding.NOTHING)
    guest.say(0, "echo back=$((40+4))", "back=44")


@asynchronous
async def test_on_a_shared_disk(sharing: Traveller) -> None:
    there = sharing.leaving()
    report = await there.run(sharing.migration())
    await there.close()
    assert report is not None
    assert 0 < report.downtime_ms < report.seconds * 1000
    assert sharing.held() == (Holding.NOTHING, Holding.ON)
    sharing.say(1, "echo kept > /boot/kept; sync; echo written=$((40+2))", "written=42")


@asynchronous
async def test_its_network_goes_with_it(both: list[OwnHost]) -> None:
    """Neighbours on both hosts reach it before and after; DHCP is there wherever it is."""
    network = str(uuid4())
    neighbours = [await Inside.of(own, network, 11 + place) for place, own in enumerate(both)]
    address = f"10.5.0.{TRAVELLERS_ADDRESS}"
    guest = Traveller(both, nic=travellers_nic(network))
    try:
        guest.make_disk(1)
        guest.await_boot()
        assert f"eth0={address}/24" in guest.printed(0)
        there = guest.leaving()
        for place in range(2):
            assert all([await each.ask("ping", address) for each in neighbours])
            guest.say(place, f"busybox ping -c1 10.5.0.2 && echo served=$((40+{place}))", f"served={40 + place}")
            if place == 0:
                assert await there.run(guest.migration())
        await there.close()
    finally:
        guest.end()
    for each in neighbours:
        await each.ask("leave")
        await each.close()


@asynchronous
async def test_it_is_watched_and_stays_when_it_is_aborted(guest: Traveller) -> None:
    there = guest.leaving()
    assert await there.progress(guest.id) is None
    assert not await there.abort(guest.id)
    assert not await there.complete(guest.id)
    moving = asyncio.create_task(there.run(guest.migration(bandwidth=SLOWLY)))
    await leaves(guest)
    found = await there.progress(guest.id)
    assert found is not None
    assert found.seconds > 0
    assert guest.held() == (Holding.LEAVING, Holding.COMING)
    assert keeper(*guest.held()) is Keeper.UNDECIDED
    # Who asks for it again, as an agent that was started anew, waits for the same one.
    again = guest.leaving()
    joined = asyncio.create_task(again.run(guest.migration()))
    assert await there.abort(guest.id)
    for waiting in (moving, joined):
        with pytest.raises(HostFailed, match="aborted"):
            await waiting
    assert guest.held() == (Holding.ON, Holding.NOTHING)
    guest.say(0, "echo here=$((40+2))", "here=42")
    await again.close()
    await there.close()


@pytest.mark.parametrize("post_copy", [False, True])
@asynchronous
async def test_it_is_made_to_end(sharing: Traveller, post_copy: bool) -> None:
    there = sharing.leaving()
    moving = asyncio.create_task(there.run(sharing.migration(bandwidth=20, post_copy=post_copy)))
    await leaves(sharing)
    assert await there.complete(sharing.id, post_copy=post_copy)
    assert await moving
    await there.close()
    assert sharing.held() == (Holding.NOTHING, Holding.ON)
    sharing.say(1, "echo there=$((40+2))", "there=42")


@asynchronous
async def test_a_guest_that_ends_on_its_way(guest: Traveller) -> None:
    there = guest.leaving()
    moving = asyncio.create_task(there.run(guest.migration(bandwidth=SLOWLY)))
    await leaves(guest)
    of_guest = guest.hosts[0].run("pgrep", "-f", f"guest={guest.spec.instance_name}").split()
    (qemu,) = {int(pid) for pid in of_guest} & set(guest.hosts[0].host.inhabitants())
    os.kill(qemu, signal.SIGKILL)
    with pytest.raises(HostFailed):
        await moving
    await there.close()
    assert guest.held() == (Holding.OFF, Holding.NOTHING)
    assert keeper(*guest.held()) is Keeper.SOURCE


@pytest.mark.parametrize("place", [0, 1])
@asynchronous
async def test_one_libvirtd_dies_on_the_way(guest: Traveller, place: int) -> None:
    there = guest.leaving()
    moving = asyncio.create_task(there.run(guest.migration(bandwidth=SLOWLY)))
    await leaves(guest)
    guest.hosts[place].kill_libvirtd()
    with pytest.raises(Unavailable if place == 0 else HostFailed):
        await moving
    await there.close()
    guest.hosts[place].restart_libvirtd()
    wait_until(lambda: keeper(*guest.held()) is Keeper.SOURCE, 30)
    with guest.libvirt(0) as conn:
        go_on(conn, str(guest.homes[0]), guest.id)
    with guest.libvirt(1) as conn:
        let_go(conn, str(guest.homes[1]), guest.id)
        let_go(conn, str(guest.homes[1]), guest.id)
    assert guest.held() == (Holding.ON, Holding.NOTHING)
    guest.say(0, "echo here=$((40+2))", "here=42")
    # And it can be tried again.
    guest.disk(1).unlink()
    guest.make_disk(1)
    there = guest.leaving()
    assert await there.run(guest.migration())
    await there.close()
    assert guest.held() == (Holding.NOTHING, Holding.ON)


@asynchronous
async def test_a_target_that_cannot_be_reached_or_has_no_disk(guest: Traveller) -> None:
    there = guest.leaving()
    with pytest.raises(HostFailed):
        await there.run(guest.migration(target_uri="qemu+tcp://nowhere/system"))
    guest.disk(1).unlink()
    with pytest.raises(HostFailed):
        await there.run(guest.migration())
    await there.close()
    assert guest.held() == (Holding.ON, Holding.NOTHING)


def test_the_processor_of_the_target(guest: Traveller) -> None:
    with guest.libvirt(0) as conn:
        cpu = cpu_of(conn, conn.lookupByUUIDString(guest.id).XMLDesc())
        shown = cpu_of(conn, "<domain type='kvm'><os><type/></os><cpu mode='host-passthrough'/></domain>")
        with pytest.raises(HostFailed):
            cpu_of(conn, "<domain type='kvm'/>")
    assert "Nehalem" in cpu.xml
    with guest.libvirt(1) as conn:
        check_cpu(conn, cpu)
        check_cpu(conn, shown)
        other = cpu._replace(xml=cpu.xml.replace("Nehalem", "EPYC"))
        with pytest.raises(HostFailed, match="lacks what the server uses") as refused:
            check_cpu(conn, other)
    assert refused.value.details


def test_who_goes_on_whatever_both_ends_hold(tmp_path: Path) -> None:
    """One of them, if any has it; and never one beside a target that runs it."""
    for source in Holding:
        for target in Holding:
            found = keeper(source, target)
            torn, leaving = Holding.TORN in (source, target), Holding.LEAVING in (source, target)
            if torn:
                assert found is Keeper.NOBODY
            elif leaving:
                assert found is Keeper.UNDECIDED
            elif target is Holding.ON:
                assert found is Keeper.TARGET
            elif source in (Holding.ON, Holding.SENT, Holding.OFF):
                assert found is Keeper.SOURCE
            else:
                assert found is (Keeper.TARGET if target is Holding.OFF else Keeper.NOBODY)


@asynchronous
async def test_a_guest_that_is_off_does_not_leave(both: list[OwnHost]) -> None:
    """One that has gone is still defined for a moment at its source."""
    guest = Traveller(both)
    leaving = guest.leaving()
    try:
        with guest.libvirt(0) as conn:
            conn.lookupByUUIDString(guest.id).destroy()
        assert await leaving.progress(guest.id) is None
        assert await leaving.abort(guest.id) is False
        assert await leaving.complete(guest.id) is False
    finally:
        await leaving.close()
        guest.end()
