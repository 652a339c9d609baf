"""The embedded identity: who there is, as the log says it, and how the configuration file gets into the log."""

import asyncio
import logging
import re
from functools import partial
from pathlib import Path
from typing import NamedTuple
from uuid import NAMESPACE_DNS, uuid5

from msgspec.structs import replace

from adapters.rest.identity.directory import Directory
from adapters.rest.identity.feed import configuration, feed
from adapters.rest.identity.passwords import hashed_beside
from adapters.rest.kit.settings import IdentitySettings, Project, User
from domain.errors import Invalid, Stale, Unavailable
from domain.neighbours.identity import rules
from domain.neighbours.identity.state import DOMAIN, KIND
from handlers.context import Stamp
from handlers.log.registry import Registry
from handlers.neighbours.people import People
from handlers.ports import Vault
from ops.roles.plane import Plane
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
    """A directory that follows the log, which is told what the configuration file says. A file that is broken, or
    gone, changes nothing."""

    def __init__(
        self, settings: Settings, registry: Registry, vault: Vault, stamp: Stamp, *, tells: bool = True
    ) -> None:
        """``registry`` and ``vault`` are the API cell's. Without ``tells`` the file counts only where nobody has
        recorded anything yet."""
        self.settings = identity_settings(settings.identity)
        self.people = People(registry, vault, stamp, hashed_beside)
        nobody = replace(self.settings, users=(), projects=())
        self.directory = Directory(nobody, stamp.clock, self.people.opened)
        self.people.listen(partial(feed, self.directory))
        self._tells = tells
        self._present = settings.identity
        self._file = settings.file
        self._last: _Mark | None = None
        self._taken: _Mark | None = None

    async def start(self) -> None:
        """Know everything that is in the log, and have told it what the file says. Raises Unavailable."""
        await self.people.start()
        if self._tells or self.people.state is None:
            try:
                await self._tell(self._present)
            except Invalid as error:
                log.error("users and projects stay as they were: %s", error)

    async def run(self) -> None:
        """Look at the file until cancelled."""
        while self._tells and self._file is not None:
            await self.look(self._file)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self, file: Path) -> bool:
        """Take what the file says, if it is new and as it was at the last look: editors do not write all at once.

        Returns whether anything is another now.
        """
        mark = _mark(file)
        at_rest, self._last = mark == self._last, mark
        if not at_rest or mark == self._taken:
            return False
        try:
            config = load(file).identity
            changed = config != self._present and await self._tell(config)
            self._present = config
        except (Invalid, OSError, UnicodeDecodeError) as error:
            log.error("users and projects stay as they were: %s", error)
            changed = False
        except (Unavailable, Stale) as error:
            log.warning("the configuration file is not taken yet: %s", error)
            return False
        self._taken = mark
        return changed

    async def _tell(self, config: IdentityConfig) -> bool:
        if self.people.state is not None and not any(user.enabled for user in config.users):
            # Half a file can be well-formed; this one would lock out even the operator.
            raise Invalid("The configuration file names no user who is enabled.")
        file = configuration(identity_settings(config))
        event = rules.configure(self.people.state, file)
        if event and rules.locks_out(self.people.state, event):
            raise Invalid("The configuration file would leave no administrator who can log in.")
        changed = await self.people.configure(file)
        if names := rules.passed_over(self.people.state, file):
            log.warning("others have these names, so the file's entries are passed over: %s", ", ".join(names))
        if changed:
            log.info("what is new in the configuration file's users and projects is taken")
        return changed


async def known_people(plane: Plane) -> Directory:
    """The directory as the log has it now; as the file has it where nothing is recorded. Raises Unavailable."""
    registry = Registry(plane.api_store, plane.stamp, [KIND])
    await registry.read_once()
    directory = Directory(identity_settings(plane.settings.identity))
    state = registry.of(KIND, DOMAIN.id)
    if state is not None:
        feed(directory, state, None)
    return directory


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
