"""Frames that a guest may send, frames that it may not, and a tap to send them: what QEMU does, without a guest."""

import contextlib
import fcntl
import os
import struct
import subprocess
from ipaddress import IPv4Address

from adapters.libvirt.domain_xml import tap_name
from domain.guest import Nic
from tests.waiting import until

IPV4, ARP, VLAN, QINQ, IPV6, RARP = 0x0800, 0x0806, 0x8100, 0x88A8, 0x86DD, 0x8035
EVERYBODY = "ff:ff:ff:ff:ff:ff"
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000

MAC, NEIGHBOUR_MAC, NOBODYS_MAC = "fa:16:3e:aa:00:07", "fa:16:3e:aa:00:08", "fa:16:3e:aa:00:09"
ADDRESS, NEIGHBOUR, GATEWAY, DHCP = "10.5.0.7", "10.5.0.8", "10.5.0.1", "10.5.0.2"
METADATA = "169.254.169.254"
FALSE_MAC, FALSE_ADDRESS, FALSE_CLAIM = "not its MAC address", "not its IP address", "claims what is not its own"
FALSE_CLIENT, FALSE_SERVER = "asks for another's lease", "answers as a DHCP server"
FALSE_KIND = "neither IPv4 nor ARP"
TO_HOST, TO_ANOTHER = "the host is no neighbour", "meant for another"


class Tap:
    """A guest's end of its port; gone when it is closed."""

    def __init__(self, nic: Nic, bridge: str) -> None:
        self._fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        name = tap_name(nic.port_id)
        fcntl.ioctl(self._fd, TUNSETIFF, struct.pack("16sH14x", name.encode(), IFF_TAP | IFF_NO_PI))
        subprocess.run(["ip", "link", "set", name, "master", bridge, "up"], check=True)

    def close(self) -> None:
        os.close(self._fd)

    def send(self, frame: bytes) -> None:
        os.write(self._fd, frame)

    def received(self) -> list[bytes]:
        """What has come since the last look."""
        frames = []
        while True:
            try:
                frames.append(os.read(self._fd, 65536))
            except BlockingIOError:
                return frames

    async def hears(self, frame: bytes) -> bool:
        """Whether the frame comes, within two seconds."""
        with contextlib.suppress(AssertionError):
            await until(lambda: frame in self.received(), 2)
            return True
        return False


def ethernet(source: str, target: str, kind: int, payload: bytes) -> bytes:
    addresses = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in (target, source))
    return (addresses + struct.pack("!H", kind) + payload).ljust(60, b"\0")


def tagged(frame: bytes, tag: int, kind: int = VLAN) -> bytes:
    """The frame in a VLAN; 0 is a priority without a VLAN, which receivers take as if there were no tag."""
    return frame[:12] + struct.pack("!HH", kind, tag) + frame[12:]


def udp(source: str, target: str, source_port: int, target_port: int, data: bytes = bytes(40)) -> bytes:
    datagram = struct.pack("!HHHH", source_port, target_port, 8 + len(data), 0) + data
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0)
    head += IPv4Address(source).packed + IPv4Address(target).packed
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + datagram


def arp(sender_mac: str, sender: str, target: str, operation: int = 1, mac_length: int = 6) -> bytes:
    mac = bytes.fromhex(sender_mac.replace(":", ""))
    head = struct.pack("!HHBBH", 1, IPV4, mac_length, 4, operation)
    return head + mac + IPv4Address(sender).packed + bytes(6) + IPv4Address(target).packed


def _checksum(head: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(head) // 2}H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def ip(
    source: str, target: str, *, mac: str = MAC, to: str = EVERYBODY, ports: tuple[int, int] = (999, 999)
) -> bytes:
    return ethernet(mac, to, IPV4, udp(source, target, *ports))


def lease(source: str, target: str, *, client: str = MAC, mac: str = MAC, to: str = EVERYBODY) -> bytes:
    """What a DHCP client asks, as far as its ``chaddr``."""
    message = bytes(28) + bytes.fromhex(client.replace(":", "")) + bytes(202)
    return ethernet(mac, to, IPV4, udp(source, target, 68, 67, message))


def claim(
    mac: str, address: str, *, source: str = MAC, kind: int = ARP, operation: int = 1, length: int = 6
) -> bytes:
    return ethernet(source, EVERYBODY, kind, arp(mac, address, GATEWAY, operation, length))


PASSING = {
    "its own address": ip(ADDRESS, NEIGHBOUR, to=NEIGHBOUR_MAC),
    "to everybody": ip(ADDRESS, "255.255.255.255"),
    "to some": ip(ADDRESS, "224.0.0.251", to="01:00:5e:00:00:fb"),
    "asks for an address": lease("0.0.0.0", "255.255.255.255"),
    "renews its address": lease(ADDRESS, DHCP, to=NEIGHBOUR_MAC),
    "asks who has an address": claim(MAC, ADDRESS),
    "says who it is": claim(MAC, ADDRESS, operation=2),
}
DROPPED = {
    "a neighbour's address": (ip(NEIGHBOUR, DHCP), FALSE_ADDRESS),
    "the gateway's address": (ip(GATEWAY, NEIGHBOUR), FALSE_ADDRESS),
    "the DHCP server's address": (ip(DHCP, NEIGHBOUR), FALSE_ADDRESS),
    "the metadata service's address": (ip(METADATA, NEIGHBOUR), FALSE_ADDRESS),
    "no address": (ip("0.0.0.0", NEIGHBOUR), FALSE_ADDRESS),
    "no address, as if asking for one": (lease("0.0.0.0", NEIGHBOUR), FALSE_ADDRESS),
    "a neighbour's MAC": (ip(ADDRESS, DHCP, mac=NEIGHBOUR_MAC), FALSE_MAC),
    "a neighbour's MAC and address": (ip(NEIGHBOUR, DHCP, mac=NEIGHBOUR_MAC), FALSE_MAC),
    "nobody's MAC": (ip(ADDRESS, DHCP, mac=NOBODYS_MAC), FALSE_MAC),
    "asks for a neighbour's lease": (lease("0.0.0.0", "255.255.255.255", client=NEIGHBOUR_MAC), FALSE_CLIENT),
    "gives a neighbour's lease back": (lease(ADDRESS, DHCP, client=NEIGHBOUR_MAC), FALSE_CLIENT),
    "asks for a lease as the neighbour": (lease("0.0.0.0", "255.255.255.255", mac=NEIGHBOUR_MAC), FALSE_MAC),
    "offers a lease": (ip(ADDRESS, NEIGHBOUR, ports=(67, 68)), FALSE_SERVER),
    "offers a lease from another port": (ip(ADDRESS, NEIGHBOUR, ports=(999, 68)), FALSE_SERVER),
    "is the neighbour": (claim(MAC, NEIGHBOUR, operation=2), FALSE_CLAIM),
    "is the gateway": (claim(MAC, GATEWAY), FALSE_CLAIM),
    "is a neighbour's machine": (claim(NEIGHBOUR_MAC, ADDRESS), FALSE_CLAIM),
    "is the neighbour altogether": (claim(NEIGHBOUR_MAC, NEIGHBOUR, source=NEIGHBOUR_MAC), FALSE_MAC),
    "asks without an address": (claim(MAC, "0.0.0.0"), FALSE_CLAIM),
    "ARP of another length": (claim(MAC, ADDRESS, length=8), FALSE_KIND),
    "RARP": (claim(MAC, ADDRESS, kind=RARP, operation=3), FALSE_KIND),
    "IPv6": (ethernet(MAC, "33:33:00:00:00:01", IPV6, bytes(40)), FALSE_KIND),
    "a VLAN": (tagged(ip(NEIGHBOUR, DHCP), 5), FALSE_KIND),
    "a priority tag": (tagged(ip(NEIGHBOUR, DHCP), 0), FALSE_KIND),
    "its own address, with a priority tag": (tagged(ip(ADDRESS, DHCP), 0), FALSE_KIND),
    "ARP with a priority tag": (tagged(claim(MAC, GATEWAY), 0), FALSE_KIND),
    "two tags": (tagged(tagged(ip(NEIGHBOUR, DHCP), 0), 0, QINQ), FALSE_KIND),
    "an empty tag": (ethernet(MAC, EVERYBODY, VLAN, b""), FALSE_KIND),
    "a bridge's protocol": (ethernet(MAC, "01:80:c2:00:00:00", 0x26, b"\x42\x42\x03"), FALSE_KIND),
    "another Ethernet": (
        ethernet(MAC, EVERYBODY, 46, b"\xaa\xaa\x03\0\0\0\x08\0" + udp(NEIGHBOUR, DHCP, 1, 1)),
        FALSE_KIND,
    ),
    "LLDP": (ethernet(NEIGHBOUR_MAC, "01:80:c2:00:00:0e", 0x88CC, b""), FALSE_MAC),
}
