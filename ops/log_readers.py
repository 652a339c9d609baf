"""Who may read the logs on NATS and do nothing else: a password each, in one directory of the control plane."""

import asyncio
import re
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

from adapters.nats.connection import Connection, Credentials, NoAnswer, connect
from adapters.nats.names import Names
from domain.errors import Invalid, Refused, Unavailable, not_found
from ops.embedded.nats import EmbeddedNats

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_SUFFIX = ".password"
SECONDS = 60.0
"""How long the server is waited for."""
_AGAIN = 0.2


class LogReaders:
    """The accounts by which others read the logs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __iter__(self) -> Iterator[Credentials]:
        for file in sorted(self._directory.glob(f"*{_SUFFIX}")):
            yield Credentials(_user(file.name.removesuffix(_SUFFIX)), file.read_text())

    def add(self, name: str) -> Credentials:
        """Make a reader. Raises Invalid for a name that is none, and Refused if there is one of that name."""
        file = self._file(name)
        if file.exists():
            raise Refused("reader.exists", f"There is an account {name} already: remove it first (--remove).")
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = file.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(32))
        fresh.replace(file)
        return Credentials(_user(name), file.read_text())

    def remove(self, name: str) -> None:
        """Take it away. Raises Refused (404) if there is none."""
        file = self._file(name)
        if not file.exists():
            raise not_found("Account", name)
        file.unlink()

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise Invalid(f"{name[:200]!r} can be no account's name: it is made of small letters, digits and -.")
        return self._directory / f"{name}{_SUFFIX}"


def _user(name: str) -> str:
    return f"reader-{name}"


async def admit(server: EmbeddedNats, reader: Credentials, cells: Sequence[str]) -> bool:
    """Have the server take in a reader, and wait until it can read; False if no server runs. Raises Unavailable."""
    if not server.reload():
        return False
    tls = server.tls.context if server.tls else None
    connection = await connect(server.url, "lightcurve-admission", reader, SECONDS, tls)
    try:
        async with asyncio.timeout(SECONDS):
            for cell in cells:
                while not await _reads(connection, Names(cell)):
                    # An account that is new to a running server has its imports only after the next reload (2.15).
                    server.reload()
                    await asyncio.sleep(_AGAIN)
    except TimeoutError:
        raise Unavailable("NATS does not take in the account; see its log.") from None
    finally:
        await connection.close()
    return True


async def _reads(connection: Connection, names: Names) -> bool:
    try:
        await connection.call(f"$JS.API.DIRECT.GET.{names.events}", b'{"seq":1}', timeout=1.0)
    except NoAnswer:
        return False
    return True
