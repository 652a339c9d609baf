"""The tenants' networks on this host.

A network is a bridge, and a namespace with one interface on that bridge where its DHCP server and its metadata
proxy listen. So the equal subnets of two tenants never meet, and the host itself has no address that a guest could
reach. libvirt makes and removes the guests' taps; what may pass them is decided before they are there. All of it is
derived from the guests that are here, and can be made again at any time.
"""

import asyncio
import grp
import hashlib
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from adapters.libvirt.commands import file_failures, make_directory, run
from adapters.libvirt.dnsmasq import DNSMASQ_GROUP, INSIDE, METADATA_ADDRESS, DhcpPlan, Dnsmasq, dhcp_plan
from adapters.libvirt.domain_xml import tap_name
from adapters.libvirt.metadata_proxy import MetadataProxies
from adapters.libvirt.namespaces import NAMESPACES
from adapters.libvirt.port_security import FORWARD_ALL, PortSecurity, table_of
from adapters.libvirt.tunnels import build_tunnel, is_isolated, isolate, segment_of
from domain.errors import HostFailed
from domain.guest import GuestSpec

FAILURE = "The host could not make the guest's network."
INTERFACES = Path("/sys/class/net")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Names:
    """What a network is called on the host; an interface name has at most 15 characters."""

    bridge: str
    outside: str
    """The bridge's end of the pair whose other end is in the namespace."""
    namespace: str
    tunnel: str
    """The bridge's way to other hosts, if it has one."""

    @classmethod
    def of(cls, home: str, network_id: str) -> "Names":
        """Two installations on one machine may well have networks of the same id."""
        key = hashlib.sha256(f"{home}\0{network_id}".encode()).hexdigest()[:10]
        return cls(f"lcbr{key}", f"lcns{key}", f"lightcurve-{key}", f"lcvx{key}")


class Networks:
    """The networks of one host, kept equal to what the guests there need."""

    def __init__(
        self,
        home: str,
        run_dir: Path,
        guests: Callable[[], list[GuestSpec]],
        metadata: MetadataProxies | None = None,
        tunnel_device: str | None = None,
    ) -> None:
        """``guests`` gives all guests that are on the host now; without ``metadata`` none is served. Networks reach
        across ``tunnel_device`` to other hosts; without it they end here."""
        self._home = home
        self._dir = run_dir / "networks"
        self._guests = guests
        self._metadata = metadata
        self._tunnel_device = tunnel_device
        self._ports = PortSecurity(table_of(run_dir))
        self._securing = asyncio.Lock()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def bridge(self, network_id: str) -> str:
        """The bridge that a guest's tap joins."""
        return Names.of(self._home, network_id).bridge

    async def refresh(self, network_id: str, *, without: str | None = None) -> None:
        """Make the network what the guests now need: built, extended, or removed with the last guest.

        ``without`` names a server that is on its way out. Raises HostFailed.
        """
        lock = self._locks.setdefault(network_id, asyncio.Lock())
        async with lock:
            guests = await self._secured(leaving=without)
            here = [guest for guest in guests if any(nic.network_id == network_id for nic in guest.nics)]
            if here:
                await self._ensure(network_id, here)
            else:
                await self._remove(network_id)

    async def mend(self) -> None:
        """Build what guests need and is gone (a reboot, a killed dnsmasq); remove what none needs."""
        guests = await self._secured(look=True)
        wanted = {nic.network_id for guest in guests for nic in guest.nics}
        made = {path.name for path in self._dir.iterdir()} if self._dir.is_dir() else set()
        for network_id in sorted(wanted | made):
            try:
                await self.refresh(network_id)
            except HostFailed as error:
                _log.warning("network %s: %s %s", network_id, error.message, error.details)

    async def remove_all(self) -> None:
        """Remove every network and every rule of ours; for when the last guest has gone. Raises HostFailed."""
        for directory in sorted(self._dir.iterdir()) if self._dir.is_dir() else ():
            await self._remove(directory.name)
        await self._ports.ensure([])

    async def _secured(self, *, leaving: str | None = None, look: bool = False) -> list[GuestSpec]:
        """The guests that stay, with their ports held to their addresses.

        Raises HostFailed, but not where no guest is about to start: what there is can be listed and removed.
        """
        async with self._securing:
            guests = [guest for guest in await asyncio.to_thread(self._guests) if guest.server_id != leaving]
            try:
                await self._ports.ensure([nic for guest in guests for nic in guest.nics], look=look)
            except HostFailed as error:
                if not (leaving or look):
                    raise
                _log.warning("port security: %s %s", error.message, error.details)
        return guests

    async def _ensure(self, network_id: str, guests: list[GuestSpec]) -> None:
        names = Names.of(self._home, network_id)
        nics = [nic for guest in guests for nic in guest.nics if nic.network_id == network_id]
        plan = dhcp_plan(guests, network_id)
        directory = self._dir / network_id
        with file_failures(FAILURE):
            # dnsmasq reads and writes there, and nobody else of this machine.
            make_directory(self._dir, 0o710, grp.getgrnam(DNSMASQ_GROUP).gr_gid)
            make_directory(directory, 0o755)
        dnsmasq = Dnsmasq(directory, names.namespace)
        complete = _is_complete(names, directory, plan, tunnelled=self._tunnel_device is not None)
        if not complete:
            # It listens on the interface that it found, not on one of the same name.
            await dnsmasq.stop()
            await self._build(names, network_id, plan, nics[0].mtu)
            # A bridge that was lost under running guests has to be given their taps again.
            for nic in nics:
                tap = INTERFACES / tap_name(nic.port_id)
                if tap.exists() and not (tap / "master").exists():
                    await run(FAILURE, "ip", "link", "set", tap.name, "master", names.bridge, "up")
            with file_failures(FAILURE):
                (directory / "addresses").write_text(" ".join(plan.addresses))
        if plan.addresses:
            await dnsmasq.ensure(plan)
        if self._metadata:
            await self._metadata.ensure(network_id, names.namespace, guests, anew=not complete)

    async def _build(self, names: Names, network_id: str, plan: DhcpPlan, mtu: int) -> None:
        """Each step is skipped or repeated without harm if an earlier attempt got there."""

        async def ip(*words: str) -> None:
            await run(FAILURE, "ip", *words)

        if not (INTERFACES / names.bridge).exists():
            await ip("link", "add", names.bridge, "type", "bridge")
        await ip("link", "set", names.bridge, "mtu", str(mtu), "alias", f"lightcurve network {network_id}")
        await ip("link", "set", names.bridge, "type", "bridge", "group_fwd_mask", FORWARD_ALL)
        _without_address(names.bridge)
        if not (NAMESPACES / names.namespace).exists():
            with file_failures(FAILURE):
                if not NAMESPACES.exists():
                    # It belongs to the machine, not to us.
                    make_directory(NAMESPACES, 0o755)
            await ip("netns", "add", names.namespace)
        if not (INTERFACES / names.outside).exists():
            peer = ("peer", "name", INSIDE, "mtu", str(mtu), "netns", names.namespace)
            await ip("link", "add", names.outside, "mtu", str(mtu), "type", "veth", *peer)
        await ip("link", "set", names.outside, "master", names.bridge, "up")
        await ip("-n", names.namespace, "link", "set", INSIDE, "up")
        for address in (*plan.addresses, f"{METADATA_ADDRESS}/32"):
            await ip("-n", names.namespace, "address", "replace", address, "dev", INSIDE)
        if self._tunnel_device:
            # First, so that never two hosts answer one guest.
            await isolate(names.outside)
            await ip("-n", names.namespace, "link", "set", INSIDE, "address", segment_of(network_id).service_mac)
            device = self._tunnel_device
            await build_tunnel(names.tunnel, network_id, bridge=names.bridge, device=device, mtu=mtu)
        await ip("link", "set", names.bridge, "up")

    async def _remove(self, network_id: str) -> None:
        names = Names.of(self._home, network_id)
        directory = self._dir / network_id
        if self._metadata:
            await self._metadata.forget(network_id)
        await Dnsmasq(directory, names.namespace).stop()
        for interface in (names.outside, names.tunnel, names.bridge):
            if (INTERFACES / interface).exists():
                await run(FAILURE, "ip", "link", "delete", interface)
        if (NAMESPACES / names.namespace).exists():
            await run(FAILURE, "ip", "netns", "delete", names.namespace)
        with file_failures(FAILURE):
            shutil.rmtree(directory, ignore_errors=True)
        # What is above goes with the last network.
        for parent in (self._dir, self._dir.parent):
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def _without_address(bridge: str) -> None:
    """The host must not get an address by itself in a tenant's network."""
    switch = Path(f"/proc/sys/net/ipv6/conf/{bridge}/disable_ipv6")
    with file_failures(FAILURE):
        if switch.exists():
            switch.write_text("1")


def _is_complete(names: Names, directory: Path, plan: DhcpPlan, *, tunnelled: bool) -> bool:
    """Whether an earlier attempt came to its end, and nothing of it has gone since."""
    marker = directory / "addresses"
    return (
        marker.exists()
        and marker.read_text() == " ".join(plan.addresses)
        and (INTERFACES / names.outside / "master").exists()
        and _forwards_all(names.bridge)
        and (not tunnelled or all(is_isolated(INTERFACES / port) for port in (names.outside, names.tunnel)))
        and (NAMESPACES / names.namespace).exists()
    )


def _forwards_all(bridge: str) -> bool:
    """Whether the bridge is there, and no frame gets past the rules of the ports."""
    mask = INTERFACES / bridge / "bridge" / "group_fwd_mask"
    return mask.exists() and mask.read_text().strip() == FORWARD_ALL
