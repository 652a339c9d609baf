"""One host in namespaces of this machine: a libvirt that knows nothing of the machine's own, nor of other hosts.

What is private to it lies in one directory: libvirt's files, its identity, and what its agent keeps. The rest of the
file system is the machine's. Its namespaces stay while nobody is in them, so guests outlive all programs, and whoever
is started later joins them.
"""

import os
import shutil
import socket
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from ops.embedded import reaper
from ops.embedded.handles import Handles, end_inhabitants, inhabitants, run
from ops.embedded.libvirt import ANSWER_TIMEOUT, LIBVIRTD_CONF, EmbeddedLibvirt, Program

MACHINE_NETWORK = Path("/run/machine.net")
"""Inside: the network namespace of the machine."""
MIGRATION_PORT = 16509
LONGEST_SOCKET = 107
"""Bytes of a socket's path; unix(7)."""
PRIVATE = {
    "run": "/run/libvirt",
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}
"""By name within the host's directory: what libvirt finds where."""

# "$0" is the host's directory, "$1" its name, "$2" the machine's network namespace. It is not asked for groups of
# processes (cgroups): those are the machine's, and equal guests of two hosts would have equal names there.
LAY_OUT = f"""\
set -e
umask 022
hostname "$1"
mount -t tmpfs -o mode=755 lightcurve /run
mkdir /run/libvirt /run/lock /run/netns /run/lightcurve
{"".join(f'mount --bind "$0/{name}" {place}' + chr(10) for name, place in PRIVATE.items())}
mount --bind "$0/hosts" /etc/hosts
if [ -f /etc/machine-id ]; then mount --bind "$0/machine-id" /etc/machine-id; fi
if [ "$2" ]; then
    touch {MACHINE_NETWORK}
    mount --bind "$2" {MACHINE_NETWORK}
    mount -t sysfs lightcurve /sys
    ip link set lo up
fi
"""

HOST_CONF = """\
host_uuid = "{uuid}"
listen_tls = 0
listen_tcp = {listens}
"""
TCP_CONF = """\
# Nobody is asked who he is: only hosts of one network that has no way out can reach this.
listen_addr = "{address}"
tcp_port = "{port}"
auth_tcp = "none"
"""
QEMU_CONF = """\
cgroup_controllers = []
"""
MIGRATION_CONF = """\
migration_address = "{address}"
migration_host = "{address}"
"""


class Leg(NamedTuple):
    """A host's place on the network between hosts."""

    device: str
    address: IPv4Address


class EmbeddedHost:
    """A host under one directory. Without ``leg`` it stays in the machine's network: for one that stands alone.

    Raises Unavailable where the kernel or the machine refuses.
    """

    def __init__(self, name: str, directory: Path, handles: Handles, leg: Leg | None = None) -> None:
        self.name = name
        self.directory = directory.absolute()
        self.leg = leg
        self._handles = handles
        self._kinds = ("uts", "ipc", "mnt", "net") if leg else ("uts", "ipc", "mnt")
        self._made = self.directory / "namespaces"

    @property
    def uri(self) -> str:
        """Its libvirt, as the machine's programs reach it."""
        return f"qemu:///system?socket={self.directory}/run/libvirt-sock"

    @property
    def network(self) -> Path:
        """Its network namespace."""
        return self._handles.directory / f"{self.name}.net"

    def problems(self) -> list[str]:
        """What keeps it from running, each with its cure."""
        longest = self.directory / "run" / "libvirt-sock-ro"
        if len(str(longest).encode()) > LONGEST_SOCKET:
            return [f"The path {longest} is too long for a socket: keep the state in a directory nearer to the root."]
        return []

    @property
    def is_made(self) -> bool:
        """Whether its namespaces are there, laid out to the end."""
        held = self._held()
        return held != "" and self._made.exists() and self._made.read_text() == held

    def ensure(self) -> None:
        """Have its directory and its namespaces; what runs in them goes on."""
        if self.is_made:
            return
        self.end()
        self._write()
        made = [f"--{_OPTION[kind]}={self._handles.fresh(f'{self.name}.{kind}')}" for kind in self._kinds]
        machine = f"/proc/{os.getpid()}/ns/net" if self.leg else ""
        lay_out = ("/bin/sh", "-c", LAY_OUT, self.directory, self.name, machine)
        run("unshare", *made, "--propagation", "slave", *lay_out)
        self._made.write_text(self._held())

    def enter(self, *words: str) -> tuple[str, ...]:
        """The command that runs another within the host."""
        files = (f"--{_OPTION[kind]}={self._handles.directory / f'{self.name}.{kind}'}" for kind in self._kinds)
        return ("nsenter", *files, "--", *words)

    def tell_of(self, others: "list[EmbeddedHost]") -> None:
        """Have it know other hosts by their names. In place: the file is laid over the machine's."""
        lines = ["127.0.0.1 localhost", *(f"{other.leg.address} {other.name}" for other in others if other.leg)]
        (self.directory / "hosts").write_text("\n".join([*lines, ""]))

    def programs(self) -> list[Program]:
        """virtlogd and libvirtd, in this order; QEMU writes serial consoles through the first."""
        logs = self.directory / "run" / "virtlogd-sock"
        return [
            Program(f"virtlogd-{self.name}", self._in_background("virtlogd"), lambda: _accepts(logs)),
            Program(f"libvirtd-{self.name}", self._in_background(*self._libvirtd()), self.answers),
        ]

    def answers(self) -> bool:
        """Whether its libvirtd does."""
        asked = ["virsh", "--quiet", "--connect", self.uri, "uri"]
        try:
            done = subprocess.run(asked, capture_output=True, timeout=ANSWER_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0

    def inhabitants(self) -> list[int]:
        """Every process of the host, its guests among them."""
        held = self._handles.held(f"{self.name}.uts")
        return inhabitants("uts", held) if held else []

    def end(self) -> None:
        """Kill all that runs in the host, and let go of its namespaces; its directory stays."""
        held = self._handles.held(f"{self.name}.uts")
        if held:
            end_inhabitants("uts", held)
        for kind in self._kinds:
            self._handles.forget(f"{self.name}.{kind}")
        self._made.unlink(missing_ok=True)

    def _libvirtd(self) -> tuple[str, ...]:
        return ("libvirtd", *(("--listen",) if self.leg else ()), "--config", str(self.directory / "libvirtd.conf"))

    def _in_background(self, *words: str) -> tuple[str, ...]:
        """Reaped by a process of ours, and with the usual umask: guests' users have to get to their files."""
        start = ("/bin/sh", "-c", 'umask 022; exec "$@"', "sh", *words)
        return (sys.executable, "-P", reaper.__file__, *self.enter(*start))

    def _held(self) -> str:
        """Which namespaces there are; empty if any is missing."""
        held = [self._handles.held(f"{self.name}.{kind}") for kind in self._kinds]
        return " ".join(map(str, held)) if all(held) else ""

    def _write(self) -> None:
        """What must be there before the namespaces. What ran in earlier ones has ended: nothing of it counts."""
        shutil.rmtree(self.directory / "run", ignore_errors=True)
        for name in PRIVATE:
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        # Guests have users of their own, who have to get to their disks and sockets.
        for place in (self.directory.parent, self.directory, *(self.directory / name for name in PRIVATE)):
            place.chmod(0o711)
        uuid_file = self.directory / "uuid"
        if not uuid_file.exists():
            uuid_file.write_text(str(uuid4()))
        uuid = uuid_file.read_text()
        (self.directory / "machine-id").write_text(uuid.replace("-", "") + "\n")
        (self.directory / "hosts").touch()
        for name in ("machine-id", "hosts"):
            (self.directory / name).chmod(0o644)
        tcp = TCP_CONF.format(address=self.leg.address, port=MIGRATION_PORT) if self.leg else ""
        conf = LIBVIRTD_CONF + HOST_CONF.format(uuid=uuid, listens=int(self.leg is not None)) + tcp
        (self.directory / "libvirtd.conf").write_text(conf)
        qemu = EmbeddedLibvirt(self.directory / "libvirt").qemu_conf() + QEMU_CONF
        (self.directory / "etc" / "qemu.conf").write_text(
            qemu + (MIGRATION_CONF.format(address=self.leg.address) if self.leg else "")
        )


_OPTION = {"net": "net", "mnt": "mount", "uts": "uts", "ipc": "ipc"}
"""What nsenter(1) and unshare(1) call the kinds of namespaces of /proc/PID/ns."""


def _accepts(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(place))
        except OSError:
            return False
    return True
