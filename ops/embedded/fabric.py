"""The network between hosts in namespaces: a bridge in a namespace of its own, from which no way leads out."""

from ipaddress import IPv4Address, IPv4Network

from domain.errors import Unavailable
from ops.embedded.handles import Handles, run
from ops.embedded.host import EmbeddedHost, Leg

NETWORK = IPv4Network("10.77.0.0/24")
"""The same in every stack: none can be seen from outside."""
BRIDGE, DEVICE = "fabric", "fabric0"
NAME = "fabric.net"
MTU = 9000
"""Guests' frames come wrapped in others."""


def leg(number: int) -> Leg:
    """The place of host ``number``, from 1 on."""
    return Leg(DEVICE, address_of(number))


def address_of(number: int) -> IPv4Address:
    return NETWORK[number]


class Fabric:
    """Raises Unavailable where the kernel refuses."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles

    def ensure(self) -> None:
        """Have it, without any host."""
        if self._handles.held(NAME) is None:
            run("unshare", f"--net={self._handles.fresh(NAME)}", "true")
        if not _is_there(BRIDGE, self._inside()):
            # Which host wants which group is not asked: all are at hand.
            self._ip("link", "add", BRIDGE, "mtu", str(MTU), "type", "bridge", "mcast_snooping", "0")
        self._ip("link", "set", BRIDGE, "up")

    def plug(self, host: EmbeddedHost) -> None:
        """Connect a host; harmless if it is."""
        assert host.leg is not None
        inside = ("nsenter", f"--net={host.network}")
        port = f"to-{host.leg.address.packed[-1]}"
        if not _is_there(host.leg.device, inside):
            peer = ("peer", "name", host.leg.device, "mtu", str(MTU), "netns", str(host.network))
            self._ip("link", "add", port, "mtu", str(MTU), "type", "veth", *peer)
        self._ip("link", "set", port, "master", BRIDGE, "up")
        address = f"{host.leg.address}/{NETWORK.prefixlen}"
        run(*inside, "ip", "address", "replace", address, "dev", host.leg.device)
        run(*inside, "ip", "link", "set", host.leg.device, "up")

    def _inside(self) -> tuple[str, ...]:
        return ("nsenter", f"--net={self._handles.directory / NAME}")

    def _ip(self, *words: str) -> None:
        run(*self._inside(), "ip", *words)


def _is_there(device: str, inside: tuple[str, ...]) -> bool:
    try:
        run(*inside, "ip", "link", "show", "dev", device)
    except Unavailable:
        return False
    return True
