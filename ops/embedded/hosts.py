"""The hosts of a stack that has several on this machine: node1, node2 and so on, each in namespaces of its own."""

import hashlib
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from adapters.libvirt.settings import RUN_ROOT
from domain.errors import Invalid, Unavailable
from ops.embedded import fabric
from ops.embedded.fabric import Fabric
from ops.embedded.handles import Handles
from ops.embedded.host import MACHINE_NETWORK, EmbeddedHost
from ops.embedded.libvirt import URI as LOCAL_URI
from ops.embedded.libvirt import missing
from ops.keeper import Program

MOST = 200
SHARED = "shared"
"""The directory that stands for storage which all hosts reach at the same path, where they shall have any."""


class EmbeddedHosts:
    """The hosts whose directories are in one directory; there may be none.

    Everything on this machine is named after that directory, so stacks do not meet. Methods that touch the
    kernel raise Unavailable.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.shared = self.directory / SHARED
        key = hashlib.sha256(str(self.directory).encode()).hexdigest()[:12]
        self._handles = Handles(RUN_ROOT / f"hosts-{key}")

    @property
    def names(self) -> list[str]:
        found = (re.fullmatch(r"node(\d+)", path.name) for path in self.directory.glob("node*"))
        return [f"node{number}" for number in sorted(int(match[1]) for match in found if match)]

    def __iter__(self) -> Iterator[EmbeddedHost]:
        return (self.host(name) for name in self.names)

    def host(self, name: str) -> EmbeddedHost:
        number = int(name.removeprefix("node"))
        return EmbeddedHost(name, self.directory / name, self._handles, fabric.leg(number))

    def add(self, count: int, *, shared: bool = False) -> None:
        """Have ``count`` hosts, and with ``shared`` one directory for the disks of all. Raises Invalid if there are
        more: what is on them would be lost."""
        if not 1 <= count <= MOST:
            raise Invalid(f"--hosts takes a number from 1 to {MOST}.")
        there = len(self.names)
        if there > count:
            raise Invalid(f"There are {there} hosts already; none is taken away but by `lightcurve down --erase`.")
        for number in range(1, count + 1):
            (self.directory / f"node{number}").mkdir(parents=True, exist_ok=True)
        if shared:
            self.shared.mkdir(exist_ok=True)

    def problems(self) -> list[str]:
        """What keeps them from running, each with its cure."""
        return [*missing(), *(problem for host in self for problem in host.problems())]

    def ensure(self) -> None:
        """Have every host's namespaces, and the network between them."""
        self._handles.open()
        for left in set(self._handles.names("uts")) - set(self.names):
            # Of an earlier stack here, whose directory somebody has removed.
            self.host(left).end()
        between = Fabric(self._handles)
        between.ensure()
        self.directory.chmod(0o711)
        if self.shared.exists():
            self.shared.chmod(0o711)
        hosts = list(self)
        for host in hosts:
            host.ensure()
            host.tell_of(hosts)
            between.plug(host)

    def daemons(self, ports: list[int]) -> list[Program]:
        """What runs on the hosts before their agents do. ``ports`` are the control plane's."""
        first: list[Program] = []
        second: list[Program] = []
        for host in self:
            words = (sys.executable, "-m", "ops.embedded.forwarder", str(host.network), *map(str, ports))
            first.append(Program(f"forwarder-{host.name}", words, beside=True))
            logs, libvirt = (daemon.kept() for daemon in host.programs())
            first.append(replace(logs, beside=True))
            second.append(replace(libvirt, beside=bool(second)))
        return [*first, *second]

    def agent(self, name: str, words: tuple[str, ...], environment: dict[str, str], *, beside: bool) -> Program:
        """The agent of a host, which lives in it; ``words`` run one on this machine."""
        host = self.host(name)
        assert host.leg is not None
        of_host = {
            "STATE_DIR": str(host.directory),
            "COMPUTE_HOST": name,
            "COMPUTE_URI": LOCAL_URI,
            "COMPUTE_CONSOLE_NAMESPACE": str(MACHINE_NETWORK),
            "COMPUTE_TUNNEL_DEVICE": host.leg.device,
            "COMPUTE_MIGRATION_ADDRESS": str(host.leg.address),
        }
        if self.shared.exists():
            of_host["COMPUTE_SHARED_DIR"] = str(self.shared)
        environment = environment | {f"LIGHTCURVE_{key}": value for key, value in of_host.items()}
        notices = host.directory / "notices"
        argv = host.enter(*words)
        return Program(f"compute-{name}", argv, environment=environment, beside=beside, notices=notices)

    def remove(self) -> None:
        """End all that runs on them, their guests as well, and all that they are on this machine but files."""
        try:
            for name in {*self.names, *self._handles.names("uts")}:
                self.host(name).end()
            self._handles.close()
        except Unavailable as error:
            raise Unavailable(f"the hosts of {self.directory} cannot be removed: {error.message}") from None
        shutil.rmtree(self.directory, ignore_errors=True)
