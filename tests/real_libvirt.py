"""A real libvirtd, images for it, and what a guest leaves on a host: for all tests marked ``libvirt``."""

import contextlib
import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import psutil

from adapters.libvirt.hypervisor import LibvirtHypervisor
from adapters.libvirt.network import INTERFACES, NAMESPACES, Names
from adapters.libvirt.port_security import table_of
from adapters.libvirt.settings import LibvirtSettings
from domain.errors import HostFailed
from domain.guest import GuestSpec, ImageSource, Nic
from ops.embedded.host import EmbeddedHost
from ops.embedded.libvirt import EmbeddedLibvirt, Program
from ops.guest_image import tiny_image

IMAGE_CACHE = Path.home() / ".cache" / "lightcurve" / "guest-image"
"""Outlives the test run: building takes seconds, and a download the first time."""
START_TIMEOUT = 30.0
_macs = itertools.count(1)


class Daemons:
    """virtlogd and libvirtd, if they do not run already: started by the first test that needs them."""

    def __init__(self, directory: Path, embedded: EmbeddedLibvirt | EmbeddedHost | None = None) -> None:
        """Those of ``embedded``; of this machine if it is left out."""
        self._embedded = embedded or EmbeddedLibvirt(directory)
        self._dir = directory
        self._running: dict[str, tuple[Program, subprocess.Popen[bytes]]] = {}

    def start(self) -> None:
        problems = self._embedded.problems()
        assert not problems, problems
        for program in self._embedded.programs():
            self._launch(program)

    def stop(self) -> None:
        for _, process in reversed(self._running.values()):
            process.terminate()
            process.wait(10)

    @property
    def ours(self) -> bool:
        """Whether libvirtd is ours to kill."""
        return "libvirtd" in self._running

    def libvirtd_pid(self) -> int:
        """Beside the guests that it started, which are children of the same parent."""
        _, process = self._running["libvirtd"]
        below = psutil.Process(process.pid).children(recursive=True)
        (pid,) = (child.pid for child in below if child.name() == "libvirtd")
        return int(pid)

    def kill_libvirtd(self) -> None:
        """As the kernel would for want of memory."""
        os.kill(self.libvirtd_pid(), signal.SIGKILL)
        self._running["libvirtd"][1].wait(10)

    def stop_libvirtd(self) -> None:
        """In good order; guests go on running."""
        self._running["libvirtd"][1].terminate()
        self._running["libvirtd"][1].wait(10)

    def restart_libvirtd(self) -> None:
        self._launch(self._running["libvirtd"][0])

    def _launch(self, program: Program) -> None:
        with (self._dir / f"{program.name}.log").open("ab") as log:
            process = subprocess.Popen(program.argv, stderr=log, stdin=subprocess.DEVNULL)
        self._running[program.name.partition("-")[0]] = (program, process)
        deadline = time.monotonic() + START_TIMEOUT
        while not program.ready():
            assert process.poll() is None, (self._dir / f"{program.name}.log").read_text()
            assert time.monotonic() < deadline, f"{program.name} is not ready"


class LocalImages:
    """The ImageFiles port on files of this machine."""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self.downloads: list[str] = []
        self.sent: dict[str, bytes] = {}
        self.full = False
        """It takes nothing more."""

    async def download(self, image_id: str, target: Path) -> None:
        self.downloads.append(image_id)
        if image_id not in self.files:
            raise HostFailed(f"Image {image_id} could not be found.")
        shutil.copyfile(self.files[image_id], target)

    async def upload(self, image_id: str, source: BinaryIO) -> None:
        if self.full:
            raise HostFailed("The image service did not take the image.")
        source.seek(0)
        self.sent[image_id] = source.read()

    def add(self, path: Path, disk_format: str = "qcow2") -> ImageSource:
        content = path.read_bytes()
        image = ImageSource(
            id=str(uuid4()),
            disk_format=disk_format,
            checksum=hashlib.sha512(content).hexdigest(),
            size=len(content),
        )
        self.files[image.id] = path
        return image


def tiny_disk() -> Path:
    return tiny_image(IMAGE_CACHE).disk


def blank_disk(directory: Path, size: str = "16M") -> Path:
    """An image without anything in it: its guest never gets beyond the firmware, which is enough for most."""
    path = directory / f"blank-{size}.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, size], check=True)
    return path


def nic(network_id: str, address: int = 5, **changes: object) -> Nic:
    facts: dict[str, object] = {
        "port_id": str(uuid4()),
        "network_id": network_id,
        "network_name": "private",
        "mac_address": f"fa:16:3e:00:{next(_macs) // 256:02x}:{next(_macs) % 256:02x}",
        "ip_address": f"10.5.0.{address}",
        "cidr": "10.5.0.0/24",
        "gateway_ip": "10.5.0.1",
        "dhcp_ip": "10.5.0.2",
        "dns_nameservers": ("10.5.0.3",),
    }
    return Nic(**{**facts, **changes})  # type: ignore[arg-type]


def guest_spec(image: ImageSource | None, *nics: Nic, **changes: object) -> GuestSpec:
    facts: dict[str, object] = {
        "server_id": str(uuid4()),
        "epoch": 1,
        "name": "web1",
        "project_id": "a-project",
        "user_id": "a-user",
        "flavor_id": "1",
        "flavor_name": "m1.tiny",
        "vcpus": 1,
        "ram_mb": 128,
        "disk_gb": 1,
        "image": image,
        "nics": nics,
    }
    return GuestSpec(**{**facts, **changes})  # type: ignore[arg-type]


def hypervisor(state_dir: Path, images: LocalImages) -> LibvirtHypervisor:
    return LibvirtHypervisor(LibvirtSettings(host_name="node1", state_dir=state_dir), images)


def virsh(*words: str) -> str:
    """What an operator does beside us. Raises LookupError for a domain that is not there."""
    argv = ["virsh", "--quiet", "--connect", "qemu:///system", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    if "failed to get domain" in done.stderr or "Domain not found" in done.stderr:
        raise LookupError(done.stderr)
    assert done.returncode == 0, done.stderr
    return done.stdout


def traces(state_dir: Path, *network_ids: str) -> set[str]:
    """Everything that guests of this state directory, on these networks, left on the machine, but cached images."""
    settings = LibvirtSettings(host_name="node1", state_dir=state_dir)
    found = {str(path) for path in settings.instances_dir.glob("*")}
    found |= {str(path) for path in (settings.run_dir / "networks").glob("*")}
    found |= {f"domain {name}" for name in virsh("list", "--all", "--name").split() if _is_of(name, settings.home)}
    rules = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout.splitlines()
    found |= {rule for rule in rules if table_of(settings.run_dir) in rule}
    for network_id in network_ids:
        names = Names.of(settings.home, network_id)
        places = (INTERFACES / names.bridge, INTERFACES / names.outside, NAMESPACES / names.namespace)
        found |= {str(path) for path in places if path.exists()}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_text()
            if str(settings.run_dir) in words or settings.home in words:
                found.add(words.replace("\0", " "))
    return found


def _is_of(domain: str, home: str) -> bool:
    """Whether it is a guest of this state directory; one of others may be gone since it was listed."""
    try:
        return f'home="{home}"' in virsh("dumpxml", domain)
    except LookupError:
        return False
