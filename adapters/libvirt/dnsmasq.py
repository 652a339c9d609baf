"""One network's DHCP server: a dnsmasq that outlives the agent and is known again by its pid file."""

import asyncio
import hashlib
import os
import re
import signal
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from adapters.libvirt.commands import file_failures, run
from domain.guest import GuestSpec, Nic

METADATA_ADDRESS = "169.254.169.254"
INSIDE = "ns0"
"""The network's interface in the namespace where its DHCP server runs."""
LEASE_SECONDS = 86400
STOP_TIMEOUT = 2.0
"""Seconds that dnsmasq may take to end before it is killed."""
DNSMASQ_GROUP = "nogroup"
"""What it runs as once it is under way; its user is ``nobody``."""
FAILURE = "The host could not serve addresses on the guest's network."


@dataclass(frozen=True)
class DhcpPlan:
    """What a DHCP server has to say: the text of its configuration and of its list of hosts."""

    config: str
    hosts: str
    addresses: tuple[str, ...]
    """What the server's own interface has, as ``10.0.0.2/24``."""


def dhcp_plan(guests: list[GuestSpec], network_id: str) -> DhcpPlan:
    """What the DHCP server of a network says to these guests' interfaces on it: to each what its port was made with,
    which need not be the same on one subnet. Pure."""
    served = [
        (guest, nic)
        for guest in guests
        for nic in guest.nics
        if nic.network_id == network_id and nic.dhcp_ip is not None and ip_network(nic.cidr).version == 4
    ]
    ranges = sorted({_range(nic) for _, nic in served})
    options = sorted({line for _, nic in served for line in _options(nic)})
    hosts = sorted(
        f"{nic.mac_address},set:{_tag(nic)},{nic.ip_address},{host_name(guest.name)}" for guest, nic in served
    )
    addresses = sorted({f"{nic.dhcp_ip}/{ip_network(nic.cidr).prefixlen}" for _, nic in served})
    return DhcpPlan("\n".join((*ranges, *options)), "".join(f"{line}\n" for line in hosts), tuple(addresses))


def host_name(server_name: str) -> str:
    """The name a guest gets, made of its server's as Nova does: RFC 1123, at most 63 characters."""
    plain = re.sub(r"[^a-z0-9.-]", "", re.sub(r"[ _]", "-", server_name.lower()))
    return plain.split(".", 1)[0][:63].strip("-") or "server"


def _range(nic: Nic) -> str:
    subnet = ip_network(nic.cidr)
    return f"dhcp-range={subnet.network_address},static,{subnet.netmask},{LEASE_SECONDS}"


def _tag(nic: Nic) -> str:
    """The same for all who are told the same."""
    told = (nic.cidr, nic.gateway_ip, nic.dhcp_ip, nic.mtu, nic.dns_nameservers, nic.host_routes or ())
    return f"told{hashlib.sha256(repr(told).encode()).hexdigest()[:10]}"


def _options(nic: Nic) -> list[str]:
    routes = [f"{METADATA_ADDRESS}/32,{nic.dhcp_ip}"]
    routes += [f"{route.destination},{route.nexthop}" for route in nic.host_routes or ()]
    if nic.gateway_ip:
        routes.append(f"0.0.0.0/0,{nic.gateway_ip}")
    options = {
        # Without a value an option is not sent; dnsmasq would name itself as the router.
        "router": nic.gateway_ip or "",
        "mtu": str(nic.mtu),
        "classless-static-route": ",".join(routes),
        "dns-server": ",".join(nic.dns_nameservers),
    }
    tag = _tag(nic)
    return [f"dhcp-option=tag:{tag},option:{name}{',' if value else ''}{value}" for name, value in options.items()]


class Dnsmasq:
    """The server of one network; its files are in ``directory``, it runs in ``namespace``."""

    def __init__(self, directory: Path, namespace: str) -> None:
        self._dir = directory
        self._namespace = namespace
        self._config = directory / "dnsmasq.conf"
        self._hosts = directory / "hosts"
        self._leases = directory / "leases"
        self._pid_file = directory / "dnsmasq.pid"

    def pid(self) -> int | None:
        """The process, if it lives and is ours: a pid file outlives its process, and pids come again."""
        try:
            pid = int(self._pid_file.read_text())
            process = Path(f"/proc/{pid}")
            words = (process / "cmdline").read_bytes().split(b"\0")
            # A zombie's command line is empty.
            return pid if f"--conf-file={self._config}".encode() in words else None
        except (OSError, ValueError):
            return None

    async def ensure(self, plan: DhcpPlan) -> None:
        """Have a server that says what the plan says. Raises HostFailed."""
        with file_failures(FAILURE):
            config = self._settings() + plan.config + "\n"
            same_config = _read(self._config) == config
            same_hosts = _read(self._hosts) == plan.hosts
            pid = self.pid()
            if pid is not None and same_config and same_hosts:
                return
            self._config.write_text(config)
            self._hosts.write_text(plan.hosts)
            # It reads them again after it has let go of root's rights.
            self._hosts.chmod(0o644)
            if pid is not None and same_config and not self._stale_leases(plan) and _signal(pid, signal.SIGHUP):
                return
        await self.stop()
        with file_failures(FAILURE):
            self._drop_leases(self._stale_leases(plan))
        start = ("dnsmasq", f"--conf-file={self._config}")
        await run(FAILURE, "ip", "netns", "exec", self._namespace, *start)

    async def stop(self) -> None:
        """End the server, if there is one."""
        pid = self.pid()
        if pid is None:
            return
        _signal(pid, signal.SIGTERM)
        deadline = asyncio.get_running_loop().time() + STOP_TIMEOUT
        while self.pid() == pid:
            if asyncio.get_running_loop().time() > deadline:
                _signal(pid, signal.SIGKILL)
            await asyncio.sleep(0.01)

    def _settings(self) -> str:
        return "\n".join(
            (
                "port=0",
                "no-ping",
                "bind-interfaces",
                "except-interface=lo",
                f"interface={INSIDE}",
                "user=nobody",
                f"group={DNSMASQ_GROUP}",
                "dhcp-authoritative",
                "dhcp-no-override",
                f"dhcp-hostsfile={self._hosts}",
                f"dhcp-leasefile={self._leases}",
                f"pid-file={self._pid_file}",
                "",
            )
        )

    def _stale_leases(self, plan: DhcpPlan) -> set[str]:
        """Lines of the lease file about an address that is now somebody else's, or nobody's.

        dnsmasq does not give away an address that is leased, whatever its list of hosts says; and only while
        it is not running can a lease be taken from it.
        """
        owners = {(words[0], words[2]) for line in plan.hosts.splitlines() if (words := line.split(","))}
        return {
            line
            for line in _read(self._leases).splitlines()
            if len(words := line.split()) >= 3 and (words[1], words[2]) not in owners
        }

    def _drop_leases(self, stale: set[str]) -> None:
        if stale:
            kept = [line for line in _read(self._leases).splitlines() if line not in stale]
            self._leases.write_text("".join(f"{line}\n" for line in kept))


def _signal(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False if the process has ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
