"""The embedded identity: who there is, as the configuration file says it now, not as it did at the start."""

import asyncio
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from uuid import NAMESPACE_DNS, uuid5

from adapters.rest.identity.directory import Directory
from adapters.rest.kit.settings import IdentitySettings, Project, User
from domain.errors import Invalid
from ops.settings import IdentityConfig, Settings, load

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25
"""Between two looks at the file. A change is taken at the second one that finds the file at rest."""


def identity_settings(config: IdentityConfig) -> IdentitySettings:
    """What the embedded identity is told."""
    key_file = config.token_key_file
    return IdentitySettings(
        users=_users(config),
        projects=_projects(config),
        token_keys=(bytes.fromhex(key_file.read_text().strip()),) if key_file else (),
    )


def project_id(name: str) -> str:
    """The id of a project of the embedded identity."""
    return _id("project", name)


class LiveIdentity:
    """A directory that follows the configuration file. A file that is broken, or gone, changes nothing."""

    def __init__(self, settings: Settings) -> None:
        self.settings = identity_settings(settings.identity)
        self.directory = Directory(self.settings)
        self._present = settings.identity
        self._file = settings.file
        self._last: _Mark | None = None
        self._taken: _Mark | None = None

    async def run(self, on_change: Callable[[], None] = lambda: None) -> None:
        """Look at the file until cancelled; ``on_change`` is called when the directory has become another."""
        while self._file is not None:
            if self.look(self._file):
                on_change()
            await asyncio.sleep(LOOK_SECONDS)

    def look(self, file: Path) -> bool:
        """Take what the file says, if it is new and as it was at the last look: editors do not write all at once.

        Returns whether the directory is another now.
        """
        mark = _mark(file)
        at_rest, self._last = mark == self._last, mark
        if not at_rest or mark == self._taken:
            return False
        self._taken = mark
        try:
            return self._take(load(file).identity)
        except (Invalid, OSError, UnicodeDecodeError) as error:
            log.error("users and projects stay as they were: %s", error)
            return False

    def _take(self, config: IdentityConfig) -> bool:
        if config == self._present:
            return False
        if not any(user.enabled for user in config.users):
            # Half a file can be well-formed; this one would lock out even the operator.
            raise Invalid("The configuration file names no user who is enabled.")
        self._present = config
        self.directory.renew(_users(config), _projects(config))
        log.info("users and projects are taken anew from the configuration file")
        return True


class _Mark(NamedTuple):
    """What changes with a file's content; all zero for a file that is not there."""

    inode: int = 0
    size: int = 0
    written: int = 0
    changed: int = 0


def _mark(file: Path) -> _Mark:
    try:
        found = file.stat()
    except OSError:
        return _Mark()
    return _Mark(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _users(config: IdentityConfig) -> tuple[User, ...]:
    ids = {name: project_id(name) for name in config.projects}
    return tuple(
        User(
            id=_id("user", user.name),
            name=user.name,
            password_hash=user.password_hash,
            roles={ids[project]: roles for project, roles in user.roles.items() if project in ids},
            enabled=user.enabled,
        )
        for user in config.users
    )


def _projects(config: IdentityConfig) -> tuple[Project, ...]:
    return tuple(Project(id=project_id(name), name=name) for name in config.projects)


def is_project_id(text: str) -> bool:
    """Whether it has the form of a project's id, here or at a Keystone."""
    return re.fullmatch("[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None


def _id(kind: str, name: str) -> str:
    """The same id for the same name on every machine, without anything to remember."""
    return uuid5(NAMESPACE_DNS, f"{name}.{kind}.lightcurve").hex
