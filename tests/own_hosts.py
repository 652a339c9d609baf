"""Real libvirt hosts of a test's own: what is done to them is done to nobody else."""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Self

from ops.embedded.handles import Handles
from ops.embedded.host import EmbeddedHost
from ops.embedded.hosts import EmbeddedHosts
from tests.real_libvirt import Daemons


class OwnHost(Daemons):
    """A host, with its daemons as children of the test."""

    def __init__(self, host: EmbeddedHost) -> None:
        super().__init__(host.directory, host)
        self.host = host
        self.uri = host.uri

    def run(self, *words: str, check: bool = True) -> str:
        """Run a program inside; returns what it printed."""
        done = subprocess.run(self.host.enter(*words), capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def virsh(self, *words: str) -> str:
        return self.run("virsh", "--quiet", *words)


class OwnHosts:
    """As many as are started; all of them end with the block, and nothing is left of them."""

    def __init__(self) -> None:
        # A short path: sockets' are limited.
        self.directory = Path(mkdtemp(prefix="lch-"))
        self.embedded = EmbeddedHosts(self.directory)
        self._alone: EmbeddedHost | None = None
        self._started: list[OwnHost] = []

    def start(self, count: int) -> list[OwnHost]:
        self.embedded.add(count)
        self.embedded.ensure()
        started = {own.host.name for own in self._started}
        for host in self.embedded:
            if host.name not in started:
                self._start(host)
        return list(self._started)

    def start_one_here(self) -> OwnHost:
        """In the network of this machine."""
        handles = Handles(Path("/run/lightcurve") / self.directory.name)
        handles.open()
        self._alone = EmbeddedHost("alone", self.directory / "alone", handles)
        self._alone.ensure()
        return self._start(self._alone)

    def _start(self, host: EmbeddedHost) -> OwnHost:
        own = OwnHost(host)
        self._started.append(own)
        own.start()
        return own

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for own in self._started:
            with suppress(subprocess.TimeoutExpired):
                own.stop()
        if self._alone:
            self._alone.end()
            Handles(Path("/run/lightcurve") / self.directory.name).close()
        self.embedded.remove()
        shutil.rmtree(self.directory, ignore_errors=True)
