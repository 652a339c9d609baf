"""Who there is, and who may do what: users and projects, looked up as Keystone's clients name them."""

from collections.abc import Iterable

from adapters.rest.identity.log_in import LogIns
from adapters.rest.identity.passwords import check_password, hash_password
from adapters.rest.kit.errors import unauthorized
from adapters.rest.kit.settings import IdentitySettings, Project, User
from adapters.system import SystemClock
from domain.errors import not_found
from handlers.ports import Clock

DOMAIN_ID, DOMAIN_NAME = "default", "Default"

IMPLIED = {"admin": ("admin", "member", "reader"), "member": ("member", "reader")}
"""Roles that a role brings along."""


class Directory:
    """Users and projects, as they are now. All of them are in the one domain."""

    def __init__(self, settings: IdentitySettings, clock: Clock | None = None) -> None:
        self.renew(settings.users, settings.projects)
        self._log_ins = LogIns(clock or SystemClock())
        self._nobody = hash_password("")
        """Checked for unknown users, so that time does not tell who exists."""

    def renew(self, users: Iterable[User], projects: Iterable[Project]) -> None:
        """From now on there are these, and no others."""
        self.users = {user.id: user for user in users}
        self.projects = {project.id: project for project in projects}
        self._users_by_name = {user.name: user for user in self.users.values()}
        self._projects_by_name = {project.name: project for project in self.projects.values()}

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

    async def project_exists(self, project_id: str) -> bool:
        return project_id in self.projects

    def find_project(self, project_id: str | None, name: str | None) -> Project | None:
        """An enabled project by its id, or by its name where no id is given."""
        project = self.projects.get(project_id) if project_id else self._projects_by_name.get(name or "")
        return project if project and project.enabled else None

    async def authenticate(self, user_id: str | None, name: str | None, password: str, address: str = "") -> User:
        """The enabled user with that password. Raises Refused: 401, always with the same words; 429 if there were too
        many wrong ones from that ``address`` or about that user."""
        user = self.users.get(user_id) if user_id else self._users_by_name.get(name or "")
        if not (user and self._log_ins.is_known(user, password)):
            right = await self._check(user, user_id or name or "", password, address)
        else:
            right = True
        if user is None or not right or self.users.get(user.id) != user or not user.enabled:
            raise unauthorized()
        return user

    async def _check(self, user: User | None, name: str, password: str, address: str) -> bool:
        self._log_ins.begin(address, name)
        right = False
        try:
            stored = user.password_hash if user else self._nobody
            right = await check_password(password, stored) and user is not None
        finally:
            self._log_ins.end(address, name, user if right else None, password)
        return right


def effective_roles(user: User, project_id: str | None) -> tuple[str, ...]:
    """A user's roles in a project, with those they imply."""
    held = user.roles.get(project_id or "", ())
    return tuple(sorted({implied for role in held for implied in IMPLIED.get(role, (role,))}))
