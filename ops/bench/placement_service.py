"""Our Placement alone: a log and some Placement processes on ports of their own, for benchmarks and tests."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.embedded.nats import EmbeddedNats, NatsProcess, free_port
from ops.embedded.nats_accounts import CONTROL
from ops.roles.placement import names
from ops.settings import Settings, load

START_SECONDS = 30.0


class PlacementService:
    """The processes, each of which can be killed and started again. Callers are believed whatever they say."""

    def __init__(self, directory: Path, workers: int, more: str) -> None:
        self.directory = directory
        self.nats = EmbeddedNats(directory / "nats", free_port())
        self._nats_process = NatsProcess(self.nats)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config_file = directory / "lightcurve.toml"
        self._workers = workers
        self._more = more
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def settings(self) -> Settings:
        """What the processes are told."""
        return load(self.config_file)

    @property
    def names(self) -> list[str]:
        return names(self.settings)

    def start(self) -> None:
        """Start everything and wait until it answers."""
        self._nats_process.start()
        password_file = self.directory / "nats" / f"{CONTROL}.password"
        self.nats.credentials(CONTROL)
        self.config_file.write_text(
            f"state_dir = {json.dumps(str(self.directory))}\n"
            f'[nats]\nurl = "{self.nats.url}"\nuser = "{CONTROL}"\npassword_file = {json.dumps(str(password_file))}\n'
            f'[placement]\nport = {self.port}\npublic_url = "{self.url}"\nworkers = {self._workers}\n'
            f'auth = "noauth2"\n{self._more}\n'
        )
        for name in self.names:
            self.start_worker(name)
        self.wait()

    def start_worker(self, name: str) -> None:
        argv = [
            sys.executable,
            "-m",
            "ops.cli",
            "run",
            "placement",
            "--name",
            name,
            "--config",
            str(self.config_file),
        ]
        with (self.directory / f"{name}.log").open("ab") as output:
            self._processes[name] = subprocess.Popen(argv, stdout=output, stderr=output)

    def kill_worker(self, name: str) -> None:
        """End one Placement process at once, as a crash would."""
        self._processes[name].kill()
        self._processes[name].wait()

    def pids(self) -> list[int]:
        """Of every process: the log's, then the Placement processes'."""
        return [self._nats_process.pid, *(worker.pid for worker in self._processes.values())]

    def stop(self) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            process.wait()
        self._nats_process.stop()

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            dead = [name for name, process in self._processes.items() if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                raise RuntimeError(f"Placement does not start; see {self.directory}/placement-1.log")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=1):
                return True
        except OSError:
            return False


@contextmanager
def placement_service(workers: int = 1, more: str = "") -> Iterator[PlacementService]:
    """A fresh service with ``more`` settings in its section, removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix="lightcurve-placement-"))
    service = PlacementService(directory, workers, more)
    try:
        service.start()
        yield service
    finally:
        service.stop()
        shutil.rmtree(directory, ignore_errors=True)
