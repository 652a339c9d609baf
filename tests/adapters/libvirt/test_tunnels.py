"""One network on several hosts: guests meet, and each host serves its own."""

import sys
from collections.abc import Callable
from ipaddress import IPv4Address
from uuid import uuid4

import pytest

from adapters.libvirt.tunnels import GROUPS, segment_of
from tests.adapters.libvirt.inside import Inside
from tests.aio import asynchronous
from tests.own_hosts import OwnHost


@pytest.mark.libvirt
@asynchronous
async def test_guests_meet_and_each_host_serves_its_own(own_hosts: Callable[[int], list[OwnHost]]) -> None:
    network = str(uuid4())
    first, second = [await Inside.of(own, network, 11 + place) for place, own in enumerate(own_hosts(2))]
    assert await first.ask("ping", "10.5.0.12")
    assert await second.ask("ping", "10.5.0.11")
    # Each has the server at the same addresses, of both kinds, and none is another's.
    for host in (first, second):
        assert await host.ask("ping", "10.5.0.2")
        assert segment_of(network).service_mac in str(await host.ask("neighbour", "10.5.0.2"))
    assert await first.ask("serve", "10.5.0.11")
    assert not await first.ask("serve", "10.5.0.12")
    told = await second.ask("dhcp", "fa:16:3e:00:00:0c")
    assert isinstance(told, dict)
    assert told["ip"] == "10.5.0.12"
    # The first host alone knows this one.
    assert await second.ask("dhcp", "fa:16:3e:00:00:0b") == {}
    # What is lost is made again, and goes with the last guest.
    await first.ask("mend")
    assert await first.ask("ping", "10.5.0.12")
    assert await first.ask("leave") == []
    assert await second.ask("leave") == []
    await first.close()
    await second.close()


def test_what_a_network_is_called_between_hosts() -> None:
    """For ever: hosts of different versions have to agree."""
    segment = segment_of("0c5bbf1e-2c9c-4a5e-8f3e-0c4f5e0d9a11")
    assert segment == (9363585, IPv4Address("239.194.90.177"), "0a:4d:f8:6d:46:64")
    many = [segment_of(str(uuid4())) for _ in range(2_000)]
    assert len({each[:2] for each in many}) == len(many)
    assert all(0 < each.vni < 2**24 and each.group in GROUPS for each in many)


@pytest.mark.libvirt
@asynchronous
async def test_more_networks_than_a_socket_usually_joins(own_hosts: Callable[[int], list[OwnHost]]) -> None:
    (own,) = own_hosts(1)
    script = """
import asyncio, sys
from uuid import uuid4
from adapters.libvirt.commands import run
from adapters.libvirt.tunnels import build_tunnel

async def work():
    await run("", "ip", "link", "add", "shared", "type", "bridge")
    for number in range(25):
        await build_tunnel(f"lcvx{number}", str(uuid4()), bridge="shared", device="fabric0", mtu=1400)

asyncio.run(work())
"""
    own.run(sys.executable, "-c", script)
    assert len(own.run("ip", "-o", "link", "show", "master", "shared", "up").splitlines()) == 25
