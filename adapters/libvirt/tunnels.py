"""A network's way to the other hosts that have guests on it: a VXLAN (RFC 7348) on the network between hosts.

Its number and its multicast group follow from the network's id, so that nobody has to hand them out, and only hosts
that have guests on a network hear of it. What a host does for its own guests alone, DHCP and metadata, stays on that
host: two isolated ports of a bridge exchange no frames, while guests reach both.
"""

import hashlib
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import NamedTuple

from adapters.libvirt.commands import file_failures, run

FAILURE = "The host could not connect the guest's network with other hosts."
PORT = 4789
GROUPS = IPv4Network("239.192.0.0/14")
"""The organization's own, as RFC 2365 has it."""
MEMBERSHIPS = Path("/proc/sys/net/ipv4/igmp_max_memberships")
"""How many groups one socket may join. All tunnels of a host share one, and the kernel's usual limit is 20."""
MANY = 1_000_000


class Segment(NamedTuple):
    """What a network is called between hosts."""

    vni: int
    group: IPv4Address
    service_mac: str
    """Of every host's DHCP server and metadata proxy there: a guest that moves finds them where they were."""


def segment_of(network_id: str) -> Segment:
    """Two networks would have to agree in 24 bits and in 18 others to meet. Pure."""
    digest = hashlib.sha256(network_id.encode()).digest()
    group = GROUPS[int.from_bytes(digest[3:6], "big") % GROUPS.num_addresses]
    service_mac = ":".join(f"{byte:02x}" for byte in (0x0A, *digest[6:11]))
    return Segment(max(1, int.from_bytes(digest[:3], "big")), group, service_mac)


async def build_tunnel(name: str, network_id: str, *, bridge: str, device: str, mtu: int) -> None:
    """Have the tunnel on the bridge; harmless if it is there. Raises HostFailed."""
    if not (Path("/sys/class/net") / name).exists():
        _allow_many_groups()
        segment = segment_of(network_id)
        across = ("type", "vxlan", "id", str(segment.vni), "group", str(segment.group), "dev", device)
        await run(FAILURE, "ip", "link", "add", name, *across, "dstport", str(PORT))
    # A tunnel that is too narrow for the network is refused here.
    await run(FAILURE, "ip", "link", "set", "dev", name, "mtu", str(mtu), "master", bridge, "up")
    await isolate(name)


def _allow_many_groups() -> None:
    with file_failures(FAILURE):
        if int(MEMBERSHIPS.read_text()) < MANY:
            MEMBERSHIPS.write_text(str(MANY))


async def isolate(port: str) -> None:
    """Have a port of a bridge exchange frames with guests only. Raises HostFailed."""
    await run(FAILURE, "ip", "link", "set", "dev", port, "type", "bridge_slave", "isolated", "on")


def is_isolated(port: Path) -> bool:
    """Whether it is on a bridge, and so; ``port`` is its directory in /sys/class/net."""
    flag = port / "brport" / "isolated"
    return flag.exists() and flag.read_text().strip() == "1"
