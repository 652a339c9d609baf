"""libvirt on a machine where nobody runs it: virtlogd and libvirtd as children of our supervisor.

Where libvirtd is served already (by systemd, or by a stack started earlier) it is used as it is. The daemon
that we start sees its own ``qemu.conf``, laid over the machine's in a mount namespace of its own: the operator's
file is never touched, and nothing has to be put back however we end. Guests outlive the daemon.
"""

import asyncio
import grp
import os
import pwd
import re
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ops import keeper
from ops.embedded import reaper

URI = "qemu:///system"
SYSTEM_CONFIG = Path("/etc/libvirt")
KVM = Path("/dev/kvm")
TUN = Path("/dev/net/tun")
SYSTEMD = Path("/run/systemd/system")
LOG_SOCKET = Path("/run/libvirt/virtlogd-sock")
ANSWER_TIMEOUT = 5.0
"""Seconds in which a libvirtd that is there answers."""

PACKAGE_OF = {
    "dnsmasq": "dnsmasq-base",
    "genisoimage": "genisoimage",
    "ip": "iproute2",
    "libvirtd": "libvirt-daemon-system",
    "mount": "mount",
    "nft": "nftables",
    "nsenter": "util-linux",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "unshare": "util-linux",
    "virsh": "libvirt-clients",
    "virtlogd": "libvirt-daemon-system",
}

QEMU_CONF = """\
user = "{user}"
group = "{group}"
# Disks are given to QEMU's user if that is not root, who needs no such thing.
dynamic_ownership = {owned}
remember_owner = 0
security_driver = "none"
namespaces = []
stdio_handler = "logd"
"""
QEMU_USER, QEMU_GROUP = "libvirt-qemu", "kvm"
"""As the distribution makes them: a guest that breaks out of its QEMU is nobody in particular."""

SCREEN_TLS_CONF = """\
# Screens by TLS only; VNC's for those alone who have a certificate of the authority in ca-cert.pem.
vnc_tls = 1
vnc_tls_x509_cert_dir = "{directory}"
vnc_tls_x509_verify = 1
spice_tls = 1
spice_tls_x509_cert_dir = "{directory}"
"""
SCREEN_TLS_FILES = ("ca-cert.pem", "server-cert.pem", "server-key.pem")

LIBVIRTD_CONF = """\
# There is no polkit where we start the daemon: the socket belongs to root alone.
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_group = "root"
unix_sock_ro_perms = "0700"
unix_sock_rw_perms = "0700"
log_level = 3
log_outputs = "3:stderr"
"""

# In a mount namespace of its own; "$0" is our directory. libvirt's own networks are not ours to start.
START_LIBVIRTD = """\
set -e
umask 022
mount --bind "$0/qemu.conf" /etc/libvirt/qemu.conf
networks=/etc/libvirt/qemu/networks/autostart
if [ -d $networks ]; then mount --bind "$0/empty" $networks; fi
exec libvirtd --config "$0/libvirtd.conf"
"""


@dataclass(frozen=True)
class Program:
    """A program for a supervisor: it stays in the foreground, and is up once ``ready()`` says so."""

    name: str
    argv: tuple[str, ...]
    ready: Callable[[], bool]

    def kept(self) -> keeper.Program:
        """The same for our own supervisor."""

        async def ready() -> bool:
            return await asyncio.to_thread(self.ready)

        return keeper.Program(self.name, self.argv, ready)


class EmbeddedLibvirt:
    """The two daemons, and what must be true before they can be started.

    With ``screen_tls_dir`` guests' screens are shown by TLS only.
    """

    def __init__(self, state_dir: Path, screen_tls_dir: Path | None = None) -> None:
        self._dir = state_dir.absolute()
        self._screen_tls_dir = screen_tls_dir.absolute() if screen_tls_dir else None

    def problems(self) -> list[str]:
        """What keeps guests from running here, each with its cure; empty if nothing does."""
        return [*_problems(), *_unreachable(self._dir), *_unencrypted(self._screen_tls_dir)]

    def notices(self) -> list[str]:
        """What works, but not as well as it might."""
        found = []
        if not KVM.exists():
            found.append("There is no /dev/kvm: guests are emulated by QEMU (TCG), ten or more times slower.")
        why_root = self._why_root()
        if why_root and not libvirtd_answers():
            found.append(f"QEMU runs as root, so a guest that breaks out of it is root, too: {why_root}")
        return found

    def _why_root(self) -> str:
        """Why guests cannot run as QEMU_USER here, with the cure; empty if they can."""
        try:
            user, group = pwd.getpwnam(QEMU_USER).pw_uid, grp.getgrnam(QEMU_GROUP).gr_gid
        except KeyError:
            return f"there is no user {QEMU_USER} or no group {QEMU_GROUP}."
        # libvirt, finding that its QEMU user cannot open /dev/kvm, forgets what it knows of QEMU, and asks it again
        # for seconds at every call.
        if KVM.exists() and not _may(KVM, user, group, 0o6):
            return f"{QEMU_USER} cannot open {KVM}: chgrp {QEMU_GROUP} {KVM} && chmod 660 {KVM}"
        places = [self._dir.parent, *([self._screen_tls_dir] if self._screen_tls_dir else [])]
        for directory in [place for found in places for place in (*reversed(found.parents), found)]:
            if directory.exists() and not _may(directory, user, group, 0o1):
                return f"{QEMU_USER} cannot reach {directory}: chmod o+x {directory}, or keep the state elsewhere."
        return ""

    def qemu_conf(self) -> str:
        """What libvirt is told of QEMU: who it runs as here, and how it shows screens."""
        screens = SCREEN_TLS_CONF.format(directory=self._screen_tls_dir) if self._screen_tls_dir else ""
        return _qemu_conf(self._why_root()) + screens

    def programs(self) -> list[Program]:
        """What has to be started, in this order, each after the one before is ready.

        Empty if libvirtd answers already. Writes the configuration, and raises OSError if it cannot.
        """
        if libvirtd_answers():
            return []
        (self._dir / "empty").mkdir(parents=True, exist_ok=True)
        (self._dir / "qemu.conf").write_text(self.qemu_conf())
        (self._dir / "libvirtd.conf").write_text(LIBVIRTD_CONF)
        # A file can only be laid over a file.
        (SYSTEM_CONFIG / "qemu.conf").touch()
        parent = (sys.executable, "-P", reaper.__file__)
        own_mounts = ("unshare", "--mount", "--propagation", "slave", "--")
        start = ("/bin/sh", "-c", START_LIBVIRTD, str(self._dir))
        libvirtd = Program("libvirtd", (*parent, *own_mounts, *start), libvirtd_answers)
        # QEMU writes serial consoles through virtlogd: without it no guest starts.
        virtlogd = Program("virtlogd", ("/bin/sh", "-c", "umask 022; exec virtlogd"), virtlogd_answers)
        return [libvirtd] if virtlogd_answers() else [virtlogd, libvirtd]


def _qemu_conf(why_root: str) -> str:
    if why_root:
        return QEMU_CONF.format(user="root", group="root", owned=0)
    return QEMU_CONF.format(user=QEMU_USER, group=QEMU_GROUP, owned=1)


def _may(path: Path, user: int, group: int, bits: int) -> bool:
    """Whether a user of a group has these rights (as of ``rwx``) to a file, by its mode."""
    found = path.stat()
    shift = 6 if found.st_uid == user else 3 if found.st_gid == group else 0
    return (found.st_mode >> shift) & bits == bits


def libvirtd_answers() -> bool:
    """Whether ``qemu:///system`` is served."""
    try:
        asked = subprocess.run(
            ["virsh", "--quiet", "--connect", URI, "uri"],
            capture_output=True,
            timeout=ANSWER_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def virtlogd_answers() -> bool:
    """Whether a virtlogd listens."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(LOG_SOCKET))
        except OSError:
            return False
    return True


def _unreachable(directory: Path) -> Iterator[str]:
    """The machine's own libvirtd runs guests as a user who must be able to reach their disks."""
    config = SYSTEM_CONFIG / "qemu.conf"
    if not SYSTEMD.is_dir() or (config.exists() and re.search(r'^user *= *"root"', config.read_text(), re.MULTILINE)):
        return
    for parent in (*reversed(directory.parents), directory):
        if parent.exists() and not parent.stat().st_mode & stat.S_IXOTH:
            yield f"libvirt's guests cannot reach {directory}: chmod o+x {parent}, or keep the state elsewhere."
            return


def _unencrypted(directory: Path | None) -> Iterator[str]:
    """What keeps screens from being shown by TLS, if they shall be."""
    if directory is None:
        return
    missing = [name for name in SCREEN_TLS_FILES if not (directory / name).is_file()]
    if missing:
        yield f"[compute] screen_tls_dir needs {' and '.join(missing)} in {directory}."
    config = SYSTEM_CONFIG / "qemu.conf"
    wanted = [line for line in SCREEN_TLS_CONF.format(directory=directory).splitlines() if line.endswith("= 1")]
    if libvirtd_answers() and not set(wanted) <= (set(config.read_text().splitlines()) if config.exists() else set()):
        yield (
            f"libvirtd runs already, and shows screens without TLS: stop it, or put {', '.join(wanted)} and the "
            f"directories into {config}, and start it anew."
        )


def missing() -> Iterator[str]:
    """What guests need, on this machine's own libvirt or on another here, and is not there."""
    if os.geteuid() != 0:
        yield "Only root can make networks and guests: run this as root (sudo)."
    packages = sorted({package for program, package in PACKAGE_OF.items() if shutil.which(program) is None})
    if packages:
        yield f"Programs are missing: apt-get install --no-install-recommends {' '.join(packages)}"
    if not TUN.exists():
        yield "There is no /dev/net/tun: guests cannot have network interfaces (in a container: pass the device)."


def _problems() -> Iterator[str]:
    found = list(missing())
    yield from found
    if SYSTEMD.is_dir() and not found and not libvirtd_answers():
        yield "libvirtd is installed but does not answer: systemctl start libvirtd, or see journalctl -u libvirtd"
