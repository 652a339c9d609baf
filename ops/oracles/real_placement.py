"""The real Placement, beside which ours is measured and tested: from its own packages, with its default policy."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.embedded.nats import free_port
from ops.oracles import environment

START_SECONDS = 60.0
CONFIG = """\
[api]
auth_strategy = noauth2
[placement_database]
connection = {database}
sync_on_startup = True
max_pool_size = 10
[oslo_policy]
enforce_new_defaults = True
[DEFAULT]
log_file = {directory}/placement.log
"""


class RealPlacement:
    """OpenStack's own Placement, its worker processes under one gunicorn."""

    def __init__(self, directory: Path, database: str, workers: int) -> None:
        self._directory = directory
        self._database = database
        self._workers = workers
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of gunicorn, whose children do the work."""
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        programs = environment("placement")
        (self._directory / "placement.conf").write_text(
            CONFIG.format(database=self._database, directory=self._directory)
        )
        inner = {**os.environ, "OS_PLACEMENT_CONFIG_DIR": str(self._directory)}
        self._run_once(programs, inner)
        command = [str(programs / "gunicorn"), "--workers", str(self._workers), "--bind", f"127.0.0.1:{self.port}"]
        with (self._directory / "gunicorn.log").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *command,
                    "--worker-class",
                    "gthread",
                    "--threads",
                    "4",
                    "--keep-alive",
                    "60",
                    "placement.wsgi.api:application",
                ],
                env=inner,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"Placement does not start: {(self._directory / 'gunicorn.log').read_text()[-800:]}"
                )
            time.sleep(0.1)

    def _run_once(self, programs: Path, inner: dict[str, str]) -> None:
        """Make its tables before several workers try to."""
        command = [str(programs / "placement-manage"), "--config-dir", str(self._directory), "db", "sync"]
        done = subprocess.run(command, env=inner, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Placement's tables cannot be made: {done.stderr[-800:]}")

    def stop(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url, timeout=5):  # noqa: S310 - our own address
                return True
        except OSError:
            return False


@contextmanager
def real_placement(database: str | None = None, workers: int = 1) -> Iterator[RealPlacement]:
    """A fresh one, removed at the end; without a ``database`` in SQLite."""
    directory = Path(tempfile.mkdtemp(prefix="real-placement-"))
    real = RealPlacement(directory, database or f"sqlite:///{directory}/placement.db", workers)
    try:
        real.start()
        yield real
    finally:
        real.stop()
        shutil.rmtree(directory, ignore_errors=True)
