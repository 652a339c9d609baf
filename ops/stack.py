"""The all-in-one stack: its directory, its configuration, and the programs that make it up."""

import asyncio
import json
import secrets
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from adapters.disk_space import space
from domain.errors import Invalid, Refused, Unavailable
from ops import priority
from ops.embedded.hosts import EmbeddedHosts
from ops.embedded.libvirt import EmbeddedLibvirt
from ops.embedded.nats import EmbeddedNats, ServerTls
from ops.embedded.nats_accounts import CONTROL, PROBE, SIMULATED
from ops.embedded.postgres import EmbeddedPostgres
from ops.first_files import (
    API_PORT,
    METADATA_SECRET,
    NATS_PORT,
    TICKET_KEY,
    USERS,
    first_config,
    taken,
    write_client_files,
    write_private,
)
from ops.host_keys import HostKeys, nats_user
from ops.log_readers import LogReaders
from ops.notary import FileNotary
from ops.roles.api import names as api_names
from ops.roles.compute import simulated_hosts
from ops.roles.placement import names as placement_names
from ops.roles.plane import tls_context
from ops.settings import Settings, load
from ops.state_lock import StateLock
from ops.supervisor import Program, Ready

PROBE_SECONDS = 2.0
"""How long a part may take to answer the question whether it is well."""
_NICE = {
    "api": priority.ANSWERS,
    "placement": priority.ANSWERS,
    "metadata": priority.WORKS,
    "console": priority.WORKS,
    "projector": priority.WORKS,
    "conductor": priority.WORKS,
}
"""By role. What acts on a host is as usual: it is part of the load of the host."""


class Stack:
    """One all-in-one stack under one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.config_file = self.directory / "lightcurve.toml"
        self.log_dir = self.directory / "log"
        self.state_file = self.directory / "run" / "supervisor.json"
        self.lock = StateLock(self.directory / "run" / "supervisor.lock")
        self.postgres = EmbeddedPostgres(self.directory / "postgres")
        self.host_keys = HostKeys(self.directory / "hosts")
        self.embedded_hosts = EmbeddedHosts(self.directory / "embedded-hosts")
        self.log_readers = LogReaders(self.directory / "readers")

    @property
    def is_set_up(self) -> bool:
        """Whether it has a configuration."""
        return self.config_file.exists()

    def settings(self) -> Settings:
        """Its configuration. Raises Invalid."""
        return load(self.config_file)

    def nats(self, settings: Settings) -> EmbeddedNats:
        return EmbeddedNats(
            self.directory / "nats",
            int(settings.nats.url.rsplit(":", 1)[1]),
            cell=settings.cell,
            hosts=self.host_keys,
            simulated=simulated_hosts(settings.simulated),
            tls=_server_tls(settings),
            readers=self.log_readers,
            read_cells=(settings.cell, settings.api_cell),
        )

    def libvirt(self, settings: Settings) -> EmbeddedLibvirt:
        return EmbeddedLibvirt(self.directory / "libvirt", settings.compute.screen_tls_dir)

    def set_up(self, *, nats_port: int = NATS_PORT, api_port: int = API_PORT, simulated_hosts: int = 0) -> None:
        """Make directory, passwords and configuration; what is there stays as it is."""
        if not self.directory.exists():
            self.directory.mkdir(parents=True)
            # A libvirtd of the machine's own runs guests under a user who has to get to their disks.
            self.directory.chmod(0o711)
        for name in ("run", "secrets", "images", "log", "cache"):
            (self.directory / name).mkdir(exist_ok=True)
            (self.directory / name).chmod(0o700)
        self._secret("token.key", secrets.token_hex(32))
        self._secret(METADATA_SECRET, secrets.token_urlsafe(32))
        self._secret(TICKET_KEY, secrets.token_urlsafe(32))
        passwords = {user: self._secret(f"{user}.password", secrets.token_urlsafe(12)) for user in USERS}
        if not self.is_set_up:
            config = first_config(
                self.directory,
                self.postgres.url,
                passwords,
                nats_port=nats_port,
                api_port=api_port,
                simulated_hosts=simulated_hosts,
            )
            write_private(self.config_file, config)
        write_client_files(self.directory, passwords, self.settings())

    def password(self, user: str) -> str:
        return (self.directory / "secrets" / f"{user}.password").read_text()

    def prepare(self, settings: Settings) -> None:
        """What must be there before the programs start. Raises Unavailable in plain words."""
        self._secret(TICKET_KEY, secrets.token_urlsafe(32))
        FileNotary(settings).ensure_key()
        for name in self._real_hosts(settings):
            self.host_keys.ensure(name)
        nats = self.nats(settings)
        nats.prepare()
        for known in (CONTROL, PROBE):
            nats.credentials(known)
        self.postgres.prepare()
        if self.embedded_hosts.names:
            self.embedded_hosts.ensure()

    def set_hosts(self, count: int, *, shared: bool = False) -> None:
        """Have so many hosts of its own on this machine, with or without a directory in common for what is made from
        now on. Raises Invalid, Refused."""
        if (self.directory / "compute").exists():
            raise Refused("hosts.taken", "This stack has its guests on this machine's libvirt: erase it first.")
        self.embedded_hosts.add(count, shared=shared)

    def _real_hosts(self, settings: Settings) -> list[str]:
        if settings.simulated.hosts:
            return []
        return self.embedded_hosts.names or [settings.compute.name]

    def problems(self, settings: Settings, *, with_libvirt: bool) -> list[str]:
        """What would keep it from starting, each with its cure."""
        found: list[str] = []
        if with_libvirt:
            found += self._problems_of_hosts(settings)
        ports = {settings.api.port: "[api] port", settings.placement.port: "[placement] port"}
        ports |= {int(settings.nats.url.rsplit(":", 1)[1]): "[nats] url"}
        if with_libvirt:
            ports |= {settings.metadata.port: "[metadata] port", settings.console.port: "[console] port"}
        for port, key in ports.items():
            if taken(port):
                found.append(
                    f"Port {port} is taken by another program: stop it, or change {key} in {self.config_file}."
                )
        disk = space(self.directory)
        if not disk.spare:
            needed = f"more than {disk.reserve >> 20} are needed"
            found.append(f"Only {disk.free >> 20} MiB are free under {self.directory}: {needed}.")
        return found

    def _problems_of_hosts(self, settings: Settings) -> list[str]:
        if not self.embedded_hosts.names:
            return self.libvirt(settings).problems()
        found = self.embedded_hosts.problems()
        if settings.compute.screen_tls_dir:
            found.append(f"Hosts in namespaces show no screens by TLS: see screen_tls_dir in {self.config_file}.")
        return found

    def ended_by_force(self) -> bool:
        """Whether its last supervisor could not stop the programs; it does not run now."""
        try:
            return bool(json.loads(self.state_file.read_text())["phase"] != "down")
        except (OSError, ValueError, KeyError):
            return False

    def programs(self, settings: Settings, *, with_libvirt: bool) -> list[Program]:
        """Everything, in the order of its start."""
        nats = self.nats(settings)
        programs = [
            Program("nats", tuple(nats.argv()), _answers(nats.ready), disk=nats.directory, nice=priority.ANSWERS),
            # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients to go.
            Program(
                "postgres",
                tuple(self.postgres.argv()),
                _answers(self.postgres.ready),
                signal.SIGINT,
                disk=self.postgres.directory,
                nice=priority.ANSWERS,
                beside=True,
            ),
        ]
        if with_libvirt and self.embedded_hosts.names:
            programs += self.embedded_hosts.daemons(_control_ports(settings))
        elif with_libvirt:
            programs += [daemon.kept() for daemon in self.libvirt(settings).programs()]
        tickets = self._ticket_key(settings)
        programs += [self._role("projector"), self._role("conductor", environment=tickets)]
        # Each of these reads what it holds in memory, for seconds where that is much: on several processors, at once.
        faces = [self._role("api", name, tickets) for name in api_names(settings)]
        faces += [self._role("placement", name) for name in placement_names(settings)]
        programs += [replace(face, beside=True) for face in faces]
        if with_libvirt:
            # Only real guests boot and have screens.
            programs += [self._role("metadata", environment=self._metadata_secret(settings)), self._role("console")]
            programs += self._agents(settings)
        if settings.simulated.hosts:
            password = self.directory / "nats" / f"{SIMULATED}.password"
            programs.append(self._role("simulated", environment=_as_nats_user(SIMULATED, password)))
        return programs

    def _agents(self, settings: Settings) -> list[Program]:
        """One on this machine, or one on each host in namespaces; the first finds out what the machine can do."""
        names = self.embedded_hosts.names
        if not names:
            return [self._role("compute", environment=self._as_host(settings.compute.name))]
        cache = {"LIGHTCURVE_CACHE_DIR": str(settings.cache)}
        return [
            self.embedded_hosts.agent(
                name, self._words("compute", f"compute-{name}"), self._as_host(name) | cache, beside=name != names[0]
            )
            for name in names
        ]

    def _as_host(self, name: str) -> dict[str, str]:
        """What makes a process this machine's agent: the credential of a host, and nothing of the control plane's."""
        key = self.host_keys.of(name)
        return _as_nats_user(nats_user(name), key.password_file) | {
            "LIGHTCURVE_COMPUTE_SECRET_FILE": str(key.secret_file)
        }

    def remove_guests(self) -> None:
        """Remove every guest of this stack, with its networks on this machine, while the stack is down.

        Raises Unavailable if any cannot be removed, or cannot be looked for.
        """
        from ops.remove_guests import remove_guests

        if self.embedded_hosts.names:
            self.embedded_hosts.remove()
            return
        settings = self.settings()
        agents = settings.state_dir.absolute() / "compute"
        if agents.exists():
            asyncio.run(remove_guests(agents, self.libvirt(settings), self.log_dir))

    def erase(self) -> None:
        """Remove everything. Raises Unavailable, naming what could not be removed."""
        self.postgres.erase()
        failures: list[str] = []
        shutil.rmtree(self.directory, onerror=lambda _do, path, error: failures.append(f"{path}: {error[1]}"))
        if self.directory.exists() and any(self.directory.iterdir()):
            raise Unavailable(f"{self.directory} could not be erased: {'; '.join(failures[:3])}")

    def _metadata_secret(self, settings: Settings) -> dict[str, str]:
        """The secret of a stack whose configuration is older than its metadata service."""
        if settings.metadata.shared_secret_file:
            return {}
        return {"LIGHTCURVE_METADATA_SHARED_SECRET_FILE": str(self.directory / "secrets" / METADATA_SECRET)}

    def _ticket_key(self, settings: Settings) -> dict[str, str]:
        """The key of a stack whose configuration is older than its tickets."""
        if settings.api.ticket_key_file:
            return {}
        return {"LIGHTCURVE_API_TICKET_KEY_FILE": str(self.directory / "secrets" / TICKET_KEY)}

    def _role(self, role: str, name: str | None = None, environment: dict[str, str] | None = None) -> Program:
        name = name or role
        environment = environment or {}
        return Program(name, self._words(role, name), environment=environment, nice=_NICE.get(role, priority.USUAL))

    def _words(self, role: str, name: str) -> tuple[str, ...]:
        return (sys.executable, "-m", "ops.cli", "run", role, "--name", name, "--config", str(self.config_file))

    def _secret(self, name: str, fresh: str) -> str:
        file = self.directory / "secrets" / name
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(fresh)
        return file.read_text()


def _control_ports(settings: Settings) -> list[int]:
    """What agents ask for."""
    return [int(settings.nats.url.rsplit(":", 1)[1]), settings.api.port, settings.metadata.port]


def _as_nats_user(name: str, password_file: Path) -> dict[str, str]:
    return {"LIGHTCURVE_NATS_USER": name, "LIGHTCURVE_NATS_PASSWORD_FILE": str(password_file)}


def _server_tls(settings: Settings) -> ServerTls | None:
    """How our NATS server speaks TLS; None: it does not. Raises Invalid."""
    mine = settings.nats
    if not mine.server_certificate_file and not mine.server_key_file:
        return None
    context = tls_context(mine)
    if not mine.server_certificate_file or not mine.server_key_file or context is None:
        raise Invalid("[nats] server_certificate_file, server_key_file and ca_file go together.")
    return ServerTls(mine.server_certificate_file, mine.server_key_file, mine.client_ca_file, context)


def _answers(ready: Callable[[float], Awaitable[None]]) -> Ready:
    async def ask() -> bool:
        try:
            await ready(PROBE_SECONDS)
        except Unavailable:
            return False
        return True

    return ask


def running(stack: Stack) -> dict[str, object] | None:
    """What the supervisor says of itself; None if it does not run."""
    try:
        state: dict[str, object] = json.loads(stack.state_file.read_text())
    except (OSError, ValueError):
        state = {}
    pid = stack.lock.holder()
    if pid is None and not _is_older(stack, state):
        return None
    if pid is not None and state.get("pid") != pid:
        # It was written by an earlier one.
        return {"pid": pid, "phase": "starting", "programs": {}}
    return state


def is_supervisor(pid: int, directory: Path | None = None) -> bool:
    """Whether the process is a supervisor (of this directory, if one is given), as far as its command line tells."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"supervise" in words and (directory is None or str(directory).encode() in words)


def _is_older(stack: Stack, state: dict[str, object]) -> bool:
    """Whether a supervisor runs that was started before there was a lock."""
    pid = state.get("pid")
    return (
        not stack.lock.exists()
        and isinstance(pid, int)
        and state.get("phase") != "down"
        and is_supervisor(pid, stack.directory)
    )
