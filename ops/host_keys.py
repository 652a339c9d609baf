"""The credentials of hosts: what each one proves itself with, in one directory that only the control plane reads."""

import secrets
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from adapters.nats.connection import Credentials
from adapters.nats.names import token, untoken
from domain.errors import Invalid, Refused, not_found
from domain.fleet.host import is_name, is_simulated

PASSWORD, SECRET = "password", "secret"


class HostKey(NamedTuple):
    """One host's. The password is for NATS; with the secret the host signs what it asks over HTTP."""

    name: str
    directory: Path

    @property
    def password_file(self) -> Path:
        return self.directory / PASSWORD

    @property
    def secret_file(self) -> Path:
        return self.directory / SECRET

    @property
    def credentials(self) -> Credentials:
        """Who the host is for NATS."""
        return Credentials(nats_user(self.name), self.password_file.read_text())

    @property
    def secret(self) -> bytes:
        return self.secret_file.read_bytes()

    @property
    def made_at(self) -> datetime:
        """Since when it is good."""
        return datetime.fromtimestamp(self.password_file.stat().st_mtime, UTC)


def nats_user(name: str) -> str:
    return f"host-{token(name)}"


class HostKeys:
    """The keys of all hosts."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __iter__(self) -> Iterator[HostKey]:
        if self._directory.exists():
            for directory in sorted(self._directory.iterdir()):
                if (directory / PASSWORD).exists():
                    yield HostKey(untoken(directory.name), directory)

    def of(self, name: str) -> HostKey:
        """A host's, whether it is there or not. Raises Invalid for what is no name of a host."""
        if not is_name(name) or is_simulated(name):
            why = (
                "simulated hosts are called so" if is_simulated(name) else "it is made of letters, digits, . _ and -"
            )
            raise Invalid(f"{name[:200]!r} can be no host's name: {why}.")
        return HostKey(name, self._directory / token(name))

    def get(self, name: str) -> HostKey | None:
        """The key of a host; None if it has none."""
        key = self.of(name)
        return key if key.password_file.exists() else None

    def add(self, name: str, *, renew: bool = False) -> HostKey:
        """Make the key of a host. Raises Refused if it has one, unless it shall get another."""
        if self.get(name) and not renew:
            raise Refused("host.has_key", f"Host {name} has a credential already; --renew gives it another.")
        key = self.of(name)
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        key.directory.mkdir(exist_ok=True, mode=0o700)
        # The password comes last: it says that all is there.
        for file in (key.secret_file, key.password_file):
            fresh = file.with_suffix(".new")
            fresh.touch(mode=0o600)
            fresh.write_text(secrets.token_urlsafe(32))
            fresh.replace(file)
        return key

    def ensure(self, name: str) -> HostKey:
        """The key of a host, made if it has none."""
        return self.get(name) or self.add(name)

    def remove(self, name: str) -> None:
        """Take it away. Raises Refused (404) if there is none."""
        key = self.get(name)
        if key is None:
            raise not_found("Credential of host", name)
        shutil.rmtree(key.directory)

    def secret(self, name: str) -> bytes | None:
        """What the host of that name signs with; None if it has no credential, or can be none."""
        try:
            return self.of(name).secret
        except (Invalid, OSError):
            return None
