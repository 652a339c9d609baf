"""What a guest may send: frames of its own port and nobody else's, as Neutron's port security has it.

One table of nftables an installation, replaced whole and at once. It names the guests' taps, which need not exist
yet: a guest is held to its addresses before its first frame. The rules are the kernel's, so neither we nor libvirtd
have to live for them to hold. Syntax and semantics: nft(8).
"""

import logging
import shutil
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

from adapters.libvirt.commands import run
from adapters.libvirt.domain_xml import tap_name
from domain.errors import HostFailed
from domain.guest import Nic

FAILURE = "The host could not hold the guest to its addresses."
FORWARD_ALL = "0xfff8"
"""A bridge's ``group_fwd_mask``: frames to 01:80:c2:00:00:xx are forwarded like others, and so meet the rules. The
kernel would hand them to the host past all of these, and believe their source. It allows no bit for three of them:
STP's are forwarded anyhow while the bridge does none, PAUSE's are dropped, and LACP's meet ``to_host``."""

CHAINS = """\
chain sent {
    iifname . ether saddr != @macs counter drop comment "not its MAC address"
    ether type ip goto sent_ip
    ether type arp arp htype 1 arp ptype ip arp hlen 6 arp plen 4 goto sent_arp
    counter drop comment "neither IPv4 nor ARP"
}
chain false_client {
    counter drop comment "asks for another's lease"
}
chain sent_ip {
    udp dport 67 jump dhcp_clients
    ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept comment "asks for its address"
    udp dport 68 counter drop comment "answers as a DHCP server"
    iifname . ether saddr . ip saddr @addresses accept
    counter drop comment "not its IP address"
}
chain sent_arp {
    iifname . arp saddr ether . arp saddr ip @addresses accept
    counter drop comment "claims what is not its own"
}
chain received {
    ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00 accept
    oifname . ether daddr @macs accept
    counter drop comment "meant for another"
}
chain from_guests {
    type filter hook prerouting priority dstnat; policy accept;
    iifname @taps goto sent
}
chain to_guests {
    type filter hook postrouting priority srcnat; policy accept;
    oifname @taps goto received
}
chain to_host {
    type filter hook input priority filter; policy accept;
    iifname @taps counter drop comment "the host is no neighbour"
}
"""
"""``from_guests`` comes before the bridge learns who is where: a false sender leads nothing astray that is sent to
the true one."""

_log = logging.getLogger(__name__)


def table_of(run_dir: Path) -> str:
    """The table of an installation; its name ends like that of the installation's directory in /run/lightcurve."""
    return f"lightcurve-{run_dir.name}"


def ruleset(table: str, nics: Iterable[Nic]) -> str:
    """What makes the kernel hold these ports, and no others, to their addresses. Pure.

    A port without an IPv4 address can only ask for one.
    """
    ports = {tap_name(nic.port_id): nic for nic in nics}
    fresh = f"add table bridge {table}\ndelete table bridge {table}\n"
    if not ports:
        return fresh
    macs = {tap: f'"{tap}" . {nic.mac_address}' for tap, nic in ports.items()}
    sets = (
        _set("taps", "ifname", (f'"{tap}"' for tap in ports)),
        _set("macs", "ifname . ether_addr", macs.values()),
        _set(
            "addresses",
            "ifname . ether_addr . ipv4_addr",
            (f"{macs[tap]} . {nic.ip_address}" for tap, nic in ports.items() if _is_ipv4(nic.ip_address)),
        ),
    )
    clients = "".join(_dhcp_client(tap, nic.mac_address) for tap, nic in ports.items())
    return f"{fresh}table bridge {table} {{\n{''.join(sets)}{CHAINS}chain dhcp_clients {{\n{clients}}}\n}}\n"


class PortSecurity:
    """The rules of one installation's ports."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._applied: str | None = None

    async def ensure(self, nics: Iterable[Nic], *, look: bool = False) -> None:
        """Hold these ports to their addresses, and forget all others of this installation.

        ``look`` says not to trust that what we made is still there. Raises HostFailed. One call at a time.
        """
        ports = sorted(nics, key=lambda nic: nic.port_id)
        rules = ruleset(self._table, ports)
        if rules == self._applied and not (look and ports and await self._is_lost()):
            return
        self._applied = None
        await _nft("-f", "-", stdin=rules)
        self._applied = rules

    async def _is_lost(self) -> bool:
        """Whether somebody has flushed all rules of the machine, as a restarted firewall does."""
        try:
            await _nft("list", "table", "bridge", self._table)
        except HostFailed as error:
            _log.warning("port security: %s", error.details)
            return True
        return False


def _set(name: str, kind: str, elements: Iterable[str]) -> str:
    listed = ", ".join(elements)
    return f"set {name} {{\n    type {kind};\n{f'    elements = {{ {listed} }};' if listed else ''}\n}}\n"


def _dhcp_client(tap: str, mac: str) -> str:
    """Looks at ``chaddr``, by which a server knows its clients: 8 bytes of UDP, 28 of DHCP before it (RFC 2131)."""
    return f'    iifname "{tap}" @th,288,48 != 0x{mac.replace(":", "")} goto false_client\n'


def _is_ipv4(address: str) -> bool:
    try:
        IPv4Address(address)
    except AddressValueError:
        return False
    return True


async def _nft(*words: str, stdin: str | None = None) -> None:
    if shutil.which("nft") is None:
        raise HostFailed(FAILURE, "there is no nft here: apt-get install nftables")
    await run(FAILURE, "nft", *words, stdin=stdin)
