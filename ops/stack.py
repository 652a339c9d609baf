"""The all-in-one stack: its directory, its configuration, and the programs that make it up."""

import asyncio
import itertools
import json
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from adapters.disk_space import space
from adapters.rest.identity.passwords import hash_password
from domain.errors import Invalid, Unavailable
from ops import priority
from ops.embedded.libvirt import EmbeddedLibvirt
from ops.embedded.nats import EmbeddedNats, ServerTls
from ops.embedded.nats_accounts import CONTROL, PROBE, SIMULATED
from ops.embedded.postgres import EmbeddedPostgres
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

NATS_PORT = 14222
API_PORT, METADATA_PORT, PLACEMENT_PORT, CONSOLE_PORT = 8774, 8775, 8778, 6080
USERS: dict[str, dict[str, tuple[str, ...]]] = {
    "admin": {"admin": ("admin", "member", "reader"), "demo": ("admin", "member", "reader")},
    "demo": {"demo": ("member", "reader")},
}
"""Who there is at first, with the roles held by project."""
PROBE_SECONDS = 2.0
"""How long a part may take to answer the question whether it is well."""
METADATA_SECRET, TICKET_KEY = "metadata.secret", "tickets.key"
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

    def set_up(self, *, nats_port: int = NATS_PORT, api_port: int = API_PORT) -> None:
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
            _write_private(self.config_file, self._config(nats_port, api_port, passwords))
        self._write_client_files(passwords, self.settings())

    def password(self, user: str) -> str:
        return (self.directory / "secrets" / f"{user}.password").read_text()

    def prepare(self, settings: Settings) -> None:
        """What must be there before the programs start. Raises Unavailable in plain words."""
        self._secret(TICKET_KEY, secrets.token_urlsafe(32))
        FileNotary(settings).ensure_key()
        if not settings.simulated.hosts:
            self.host_keys.ensure(settings.compute.name)
        nats = self.nats(settings)
        nats.prepare()
        for known in (CONTROL, PROBE):
            nats.credentials(known)
        self.postgres.prepare()

    def problems(self, settings: Settings, *, with_libvirt: bool) -> list[str]:
        """What would keep it from starting, each with its cure."""
        found = self.libvirt(settings).problems() if with_libvirt else []
        ports = {settings.api.port: "[api] port", settings.placement.port: "[placement] port"}
        ports |= {int(settings.nats.url.rsplit(":", 1)[1]): "[nats] url"}
        if with_libvirt:
            ports |= {settings.metadata.port: "[metadata] port", settings.console.port: "[console] port"}
        for port, key in ports.items():
            if _taken(port):
                found.append(
                    f"Port {port} is taken by another program: stop it, or change {key} in {self.config_file}."
                )
        disk = space(self.directory)
        if not disk.spare:
            needed = f"more than {disk.reserve >> 20} are needed"
            found.append(f"Only {disk.free >> 20} MiB are free under {self.directory}: {needed}.")
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
        if with_libvirt:
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
            programs.append(self._role("compute", environment=self._as_host(settings.compute.name)))
        if settings.simulated.hosts:
            password = self.directory / "nats" / f"{SIMULATED}.password"
            programs.append(self._role("simulated", environment=_as_nats_user(SIMULATED, password)))
        return programs

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
        argv = (sys.executable, "-m", "ops.cli", "run", role, "--name", name, "--config", str(self.config_file))
        return Program(name, argv, environment=environment or {}, nice=_NICE.get(role, priority.USUAL))

    def _secret(self, name: str, fresh: str) -> str:
        file = self.directory / "secrets" / name
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(fresh)
        return file.read_text()

    def _config(self, nats_port: int, api_port: int, passwords: dict[str, str]) -> str:
        url = f"http://127.0.0.1:{api_port}"
        quoted = json.dumps  # a JSON string is a TOML string
        secrets_dir = self.directory / "secrets"
        if api_port == API_PORT:
            placement_port, metadata_port, console_port = PLACEMENT_PORT, METADATA_PORT, CONSOLE_PORT
        else:
            # A stack beside the usual one has all of its ports together.
            placement_port, metadata_port, console_port = _free_above(api_port, 3, but=nats_port)
        lines = [
            "# Lightcurve, all in one. Written once by `lightcurve up`; yours to change.",
            f"state_dir = {quoted(str(self.directory))}",
            'cell = "cell1"',
            "",
            "[nats]",
            f'url = "nats://127.0.0.1:{nats_port}"',
            f"user = {quoted(CONTROL)}",
            f"password_file = {quoted(str(self.directory / 'nats' / f'{CONTROL}.password'))}",
            "",
            "[database]",
            f"url = {quoted(self.postgres.url)}",
            "",
            "[api]",
            f"port = {api_port}",
            f"public_url = {quoted(url)}",
            f"ticket_key_file = {quoted(str(secrets_dir / TICKET_KEY))}",
            "",
            "[placement]",
            f"port = {placement_port}",
            f'public_url = "http://127.0.0.1:{placement_port}"',
            "",
            "[metadata]",
            f"port = {metadata_port}",
            f'url = "http://127.0.0.1:{metadata_port}"',
            f"shared_secret_file = {quoted(str(secrets_dir / METADATA_SECRET))}",
            "",
            "[console]",
            f"port = {console_port}",
            f'public_url = "http://127.0.0.1:{console_port}"',
            "",
            "[compute]",
            f"image_url = {quoted(url + '/image')}",
            "",
            "[identity]",
            'projects = ["admin", "demo", "service"]',
            f"token_key_file = {quoted(str(secrets_dir / 'token.key'))}",
        ]
        for user, roles in USERS.items():
            lines += ["", "[[identity.users]]", f"name = {quoted(user)}"]
            lines += [f"password_hash = {quoted(hash_password(passwords[user]))}", "[identity.users.roles]"]
            lines += [f"{project} = {quoted(list(names))}" for project, names in roles.items()]
        return "\n".join([*lines, ""])

    def _write_client_files(self, passwords: dict[str, str], settings: Settings) -> None:
        """``openrc`` and ``clouds.yaml``: what the clients need to know."""
        auth_url = f"{settings.api.public_url}/identity/v3"
        clouds = []
        for cloud, user, project in (("lightcurve", "admin", "admin"), ("lightcurve-demo", "demo", "demo")):
            clouds.append(
                f"  {cloud}:\n    auth:\n      auth_url: {auth_url}\n      username: {user}\n"
                f"      password: {json.dumps(passwords[user])}\n      project_name: {project}\n"
                f"      user_domain_id: default\n      project_domain_id: default\n"
                f"    region_name: {settings.api.region}\n"
            )
        _write_private(self.directory / "clouds.yaml", "clouds:\n" + "".join(clouds))
        exports = {
            "OS_AUTH_URL": auth_url,
            "OS_USERNAME": "admin",
            "OS_PASSWORD": passwords["admin"],
            "OS_PROJECT_NAME": "admin",
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_REGION_NAME": settings.api.region,
            "OS_IDENTITY_API_VERSION": "3",
            "LIGHTCURVE_STATE_DIR": str(self.directory),
        }
        lines = [f"export {name}='{value}'" for name, value in exports.items()]
        programs = Path(sys.executable).parent
        lines.append(f'case ":$PATH:" in *":{programs}:"*) ;; *) export PATH=\'{programs}\':"$PATH" ;; esac')
        _write_private(self.directory / "openrc", "\n".join([*lines, ""]))


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


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)


def _free_above(port: int, count: int, *, but: int) -> list[int]:
    """The next free ports. Raises Unavailable if there are not so many."""
    above = (candidate for candidate in range(port + 1, 65_536) if candidate != but and not _taken(candidate))
    found = list(itertools.islice(above, count))
    if len(found) < count:
        raise Unavailable(f"There are not {count} free ports above {port}: choose another --api-port.")
    return found


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


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
