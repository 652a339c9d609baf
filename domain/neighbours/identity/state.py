"""What there is in the domain, as its events have it."""

import hashlib
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec.structs import asdict, replace

from domain.log.kind import Kind, unfoldable
from domain.log.record import AggregateId, Event, Metadata
from domain.neighbours.identity.events import (
    ApplicationCredentialCreated,
    ApplicationCredentialDeleted,
    ConfiguredUser,
    IdentityConfigured,
    ProjectChanged,
    ProjectCreated,
    ProjectDeleted,
    RoleChanged,
    RoleCreated,
    RoleDeleted,
    RoleGranted,
    RoleTaken,
    UserChanged,
    UserCreated,
    UserDeleted,
)

DOMAIN = AggregateId("identity", "default")
ADMIN = "admin"
"""The name of the role without which nobody could change anything here."""

IMPLIED = {"admin": ("admin", "member", "reader"), "member": ("member", "reader")}
"""The names of the roles that a role brings along."""


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project."""

    id: str
    name: str
    description: str = ""
    enabled: bool = True
    tags: tuple[str, ...] = ()


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A role. Policies know it by its name."""

    id: str
    name: str
    description: str = ""


class ApplicationCredential(msgspec.Struct, frozen=True, kw_only=True):
    """By which a program acts for a user in one project."""

    id: str
    name: str
    project_id: str
    role_ids: tuple[str, ...]
    secret: str
    """Its hash, sealed."""
    description: str = ""
    expires_at: datetime | None = None
    unrestricted: bool = False


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user, with the roles held in each project."""

    id: str
    name: str
    credential_version: str
    """Another for each password."""
    password: str | None = None
    """Its hash, sealed."""
    enabled: bool = True
    email: str = ""
    description: str = ""
    default_project_id: str = ""
    roles: dict[str, tuple[str, ...]] = {}
    """Role ids by project id; no project without a role."""
    application_credentials: dict[str, ApplicationCredential] = {}


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """The domain. Everything is by id."""

    projects: dict[str, Project] = {}
    roles: dict[str, Role] = {}
    users: dict[str, User] = {}
    marks: dict[str, str] = {}
    """Of the entries of the configuration file that were taken, by user id; also of users deleted since."""
    configured_projects: frozenset[str] = frozenset()
    said: dict[str, tuple[str, bool]] = {}
    """What the configuration file said last of a user: the password, by its version, and whether enabled."""

    def effective_roles(self, user: User, project_id: str) -> set[str]:
        """The ids of the roles that a user has in a project, with those they imply."""
        held = user.roles.get(project_id, ())
        names = {name for each in held if each in self.roles for name in IMPLIED.get(self.roles[each].name, ())}
        return {*held, *(role.id for role in self.roles.values() if role.name in names)}

    @property
    def administrators(self) -> list[User]:
        """The enabled users who can log in with the role ADMIN."""
        role_ids = {role.id for role in self.roles.values() if role.name == ADMIN}
        enabled = {project.id for project in self.projects.values() if project.enabled}
        return [
            user
            for user in self.users.values()
            if user.enabled
            and user.password is not None
            and any(where in enabled and not role_ids.isdisjoint(held) for where, held in user.roles.items())
        ]


T = TypeVar("T")


def _without(known: dict[str, T], key: str) -> dict[str, T]:
    return {name: value for name, value in known.items() if name != key}


def _changes(event: msgspec.Struct, *but: str) -> dict[str, Any]:
    return {name: value for name, value in asdict(event).items() if value is not None and name not in but}


def _with_user(state: Identity, user: User) -> Identity:
    return replace(state, users=state.users | {user.id: user})


def evolve(before: Identity | None, event: Event, _meta: Metadata) -> Identity:
    state = before or Identity()
    match event:
        case IdentityConfigured():
            return _configured(state, event)
        case ProjectCreated():
            project = Project(id=event.project_id, **_changes(event, "project_id"))
            return replace(state, projects=state.projects | {project.id: project})
        case ProjectChanged():
            project = replace(state.projects[event.project_id], **_changes(event, "project_id"))
            return replace(state, projects=state.projects | {project.id: project})
        case ProjectDeleted():
            users = {user.id: _outside(user, event.project_id) for user in state.users.values()}
            return replace(state, projects=_without(state.projects, event.project_id), users=users)
        case RoleCreated():
            role = Role(id=event.role_id, **_changes(event, "role_id"))
            return replace(state, roles=state.roles | {role.id: role})
        case RoleChanged():
            role = replace(state.roles[event.role_id], **_changes(event, "role_id"))
            return replace(state, roles=state.roles | {role.id: role})
        case RoleDeleted():
            users = {user.id: _without_role(user, event.role_id) for user in state.users.values()}
            return replace(state, roles=_without(state.roles, event.role_id), users=users)
        case UserCreated():
            return _with_user(state, User(id=event.user_id, **_changes(event, "user_id")))
        case UserDeleted():
            return replace(state, users=_without(state.users, event.user_id))
        case UserChanged():
            return _with_user(state, replace(state.users[event.user_id], **_changes(event, "user_id")))
        case RoleGranted() | RoleTaken() | ApplicationCredentialCreated() | ApplicationCredentialDeleted():
            return _with_user(state, _of_user(state.users[event.user_id], event))
        case _:
            raise unfoldable(event)


def _of_user(
    user: User, event: RoleGranted | RoleTaken | ApplicationCredentialCreated | ApplicationCredentialDeleted
) -> User:
    match event:
        case RoleGranted():
            return _holding(user, event.project_id, (*user.roles.get(event.project_id, ()), event.role_id))
        case RoleTaken():
            left = tuple(role for role in user.roles.get(event.project_id, ()) if role != event.role_id)
            return _holding(_without_credentials(user, event.role_id, event.project_id), event.project_id, left)
        case ApplicationCredentialCreated():
            made = ApplicationCredential(id=event.credential_id, **_changes(event, "credential_id", "user_id"))
            return replace(user, application_credentials=user.application_credentials | {made.id: made})
        case ApplicationCredentialDeleted():
            return replace(user, application_credentials=_without(user.application_credentials, event.credential_id))


def _holding(user: User, project_id: str, roles: tuple[str, ...]) -> User:
    held = user.roles | {project_id: roles} if roles else _without(user.roles, project_id)
    return replace(user, roles=held)


def _outside(user: User, project_id: str) -> User:
    """The user without what was had in a project."""
    kept = {
        credential.id: credential
        for credential in user.application_credentials.values()
        if credential.project_id != project_id
    }
    if project_id not in user.roles and len(kept) == len(user.application_credentials):
        return user
    return replace(user, roles=_without(user.roles, project_id), application_credentials=kept)


def _without_role(user: User, role_id: str) -> User:
    held = {where: tuple(role for role in roles if role != role_id) for where, roles in user.roles.items()}
    user = _without_credentials(user, role_id)
    if held == user.roles:
        return user
    return replace(user, roles={where: roles for where, roles in held.items() if roles})


def _without_credentials(user: User, role_id: str, project_id: str | None = None) -> User:
    """Without the application credentials that have a role which the user has no more: they do not come back with
    it."""
    kept = {
        each.id: each
        for each in user.application_credentials.values()
        if role_id not in each.role_ids or project_id not in (None, each.project_id)
    }
    return user if len(kept) == len(user.application_credentials) else replace(user, application_credentials=kept)


def _configured(state: Identity, event: IdentityConfigured) -> Identity:
    projects, roles, users = dict(state.projects), dict(state.roles), dict(state.users)
    for role_id, name in event.roles.items():
        roles.setdefault(role_id, Role(id=role_id, name=name))
    for project_id, name in event.projects.items():
        projects[project_id] = replace(projects.get(project_id) or Project(id=project_id, name=name), enabled=True)
    for user in event.users:
        users[user.user_id] = _as_configured(users.get(user.user_id), user, state.said.get(user.user_id))
    for project_id in event.withdrawn_projects:
        if project_id in projects:
            projects[project_id] = replace(projects[project_id], enabled=False)
    for user_id in event.withdrawn_users:
        if user_id in users:
            users[user_id] = _disabled(users[user_id])
    marks = state.marks | {user.user_id: user.mark for user in event.users}
    return Identity(
        projects=projects,
        roles=roles,
        users=users,
        marks={user_id: mark for user_id, mark in marks.items() if user_id not in event.withdrawn_users},
        configured_projects=(state.configured_projects | event.projects.keys()).difference(event.withdrawn_projects),
        said={
            **{user_id: said for user_id, said in state.said.items() if user_id not in event.withdrawn_users},
            **{user.user_id: (user.credential_version, user.enabled) for user in event.users},
        },
    )


def _disabled(user: User) -> User:
    """Tokens of before are not good again when the user is enabled again."""
    if not user.enabled:
        return user
    version = hashlib.sha256(f"{user.credential_version} disabled".encode()).hexdigest()[:16]
    return replace(user, enabled=False, credential_version=version)


def _as_configured(known: User | None, entry: ConfiguredUser, said: tuple[str, bool] | None) -> User:
    """Of a changed entry counts what is another: who gives a role to somebody does not bring an old password back."""
    user = known or User(id=entry.user_id, name=entry.name, credential_version=entry.credential_version)
    user = replace(user, roles={where: roles for where, roles in (user.roles | entry.roles).items() if roles})
    password, enabled = said if said and known else (None, None)
    if password != entry.credential_version:
        user = replace(user, password=entry.password, credential_version=entry.credential_version)
    if enabled == entry.enabled:
        return user
    return replace(user, enabled=True) if entry.enabled else _disabled(user)


KIND = Kind(
    DOMAIN.kind,
    (
        IdentityConfigured,
        ProjectCreated,
        ProjectChanged,
        ProjectDeleted,
        RoleCreated,
        RoleChanged,
        RoleDeleted,
        UserCreated,
        UserChanged,
        UserDeleted,
        RoleGranted,
        RoleTaken,
        ApplicationCredentialCreated,
        ApplicationCredentialDeleted,
    ),
    evolve,
)
