"""Who there is, and who may do what: users and projects, looked up as Keystone's clients name them."""

import hashlib
from collections.abc import Awaitable, Callable, Iterable

from adapters.rest.identity.catalogue import stable_id
from adapters.rest.identity.log_in import LogIns
from adapters.rest.identity.passwords import check_password, hash_password
from adapters.rest.kit.errors import unauthorized
from adapters.rest.kit.settings import ApplicationCredential, IdentitySettings, Project, Role, User
from adapters.system import SystemClock
from domain.errors import not_found
from domain.neighbours.identity.state import IMPLIED
from handlers.ports import Clock

DOMAIN_ID, DOMAIN_NAME = "default", "Default"

DEFAULT_ROLES = tuple(Role(id=stable_id("role", name), name=name) for name in ("admin", "member", "reader"))

Opened = Callable[[str, str], Awaitable[str]]
"""Opens the hash that was sealed for the user of that id; empty if nobody can any more. Raises Unavailable."""


async def never_sealed(_user_id: str, stored: str) -> str:
    """For hashes that lie open."""
    return stored


class Directory:
    """Users, projects and roles, as they are now. All of them are in the one domain."""

    def __init__(self, settings: IdentitySettings, clock: Clock | None = None, opened: Opened = never_sealed) -> None:
        self.renew(settings.users, settings.projects)
        self._opened = opened
        self._log_ins = LogIns(clock or SystemClock())
        self._nobody = hash_password("")
        """Checked for unknown users, so that time does not tell who exists."""

    def renew(
        self, users: Iterable[User], projects: Iterable[Project], roles: Iterable[Role] = DEFAULT_ROLES
    ) -> None:
        """From now on there are these, and no others."""
        self.users = {user.id: user for user in users}
        self.projects = {project.id: project for project in projects}
        self.known_roles = {role.id: role for role in roles}
        self._users_by_name = {user.name: user for user in self.users.values()}
        self._projects_by_name = {project.name: project for project in self.projects.values()}
        self._role_ids = {role.name: role.id for role in self.known_roles.values()}
        self._owners = {each: user.id for user in self.users.values() for each in user.application_credentials}

    def put(self, user_id: str, user: User | None) -> None:
        """From now on the user of that id is this one; None: there is none."""
        before = self.users.pop(user_id, None)
        if before:
            if self._users_by_name.get(before.name) is before:
                del self._users_by_name[before.name]
            for credential_id in before.application_credentials:
                self._owners.pop(credential_id, None)
        if user:
            self.users[user.id] = self._users_by_name[user.name] = user
            self._owners |= dict.fromkeys(user.application_credentials, user.id)

    def role_id(self, name: str) -> str:
        """The id of the role of that name, also of one that only the configuration file knows."""
        return self._role_ids.get(name) or stable_id("role", name)

    def roles(self, user_id: str | None, project_id: str | None) -> tuple[str, ...]:
        """The roles that a user has in a project now, with those they imply; none if either is disabled or gone."""
        user, project = self.users.get(user_id or ""), self.projects.get(project_id or "")
        if user is None or not user.enabled or project is None or not project.enabled:
            return ()
        return effective_roles(user, project.id)

    def user(self, user_id: str) -> User:
        """The user of that id; raises Refused (404)."""
        try:
            return self.users[user_id]
        except KeyError:
            raise not_found("User", user_id) from None

    def project(self, project_id: str) -> Project:
        """The project of that id; raises Refused (404)."""
        try:
            return self.projects[project_id]
        except KeyError:
            raise not_found("Project", project_id) from None

    def role(self, role_id: str) -> Role:
        """The role of that id; raises Refused (404)."""
        try:
            return self.known_roles[role_id]
        except KeyError:
            raise not_found("Role", role_id) from None

    async def project_exists(self, project_id: str) -> bool:
        return project_id in self.projects

    def find_project(self, project_id: str | None, name: str | None) -> Project | None:
        """An enabled project by its id, or by its name where no id is given."""
        project = self.projects.get(project_id) if project_id else self._projects_by_name.get(name or "")
        return project if project and project.enabled else None

    async def authenticate(self, user_id: str | None, name: str | None, password: str, address: str = "") -> User:
        """The enabled user with that password. Raises Refused: 401, always with the same words; 429 if there were too
        many wrong ones from that ``address`` or about that user. Raises Unavailable."""
        user = self.users.get(user_id) if user_id else self._users_by_name.get(name or "")
        right = await self._is_right(
            user, user.password_hash if user else None, user_id or name or "", password, address
        )
        if user is None or not right or not user.enabled or not self._has_still(user):
            raise unauthorized()
        return user

    async def authenticate_program(
        self, credential_id: str | None, user_id: str | None, user_name: str | None, name: str | None, secret: str,
        address: str = "",
    ) -> tuple[User, ApplicationCredential]:  # fmt: skip
        """The enabled user of an application credential, which is named by its id, or by its name and its user.
        Raises what ``authenticate`` does."""
        owner_id = self._owners.get(credential_id, "") if credential_id else user_id
        user = self.users.get(owner_id) if owner_id is not None else self._users_by_name.get(user_name or "")
        held = user.application_credentials.values() if user else ()
        found = next(
            (each for each in held if each.id == credential_id or (each.name == name and not credential_id)), None
        )
        right = await self._is_right(
            user, found.secret_hash if found else None, credential_id or name or "", secret, address
        )
        if user is None or found is None or not right or not user.enabled:
            raise unauthorized()
        now = self.users.get(user.id)
        if now is None or not now.enabled or now.application_credentials.get(found.id) != found:
            raise unauthorized()
        return now, found

    def _has_still(self, user: User) -> bool:
        now = self.users.get(user.id)
        return now is not None and now.enabled and now.password_hash == user.password_hash

    async def _is_right(self, user: User | None, stored: str | None, name: str, password: str, address: str) -> bool:
        """Whether it is the password of which ``stored`` is kept for the user. None takes as long as any."""
        if user and stored and self._log_ins.is_known(user.id, stored, password):
            return True
        self._log_ins.begin(address, name)
        right = False
        try:
            opened = await self._opened(user.id, stored) if user and stored else ""
            right = await check_password(password, opened or self._nobody) and bool(opened)
        finally:
            self._log_ins.end(address, name, (user.id, stored) if right and user and stored else None, password)
        return right


def effective_roles(user: User, project_id: str | None) -> tuple[str, ...]:
    """A user's roles in a project, with those they imply."""
    return with_implied(user.roles.get(project_id or "", ()))


def with_implied(roles: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({implied for role in roles for implied in IMPLIED.get(role, (role,))}))


def version_of(password_hash: str) -> str:
    """The version of a password that was given none."""
    return hashlib.sha256(password_hash.encode()).hexdigest()[:16]
