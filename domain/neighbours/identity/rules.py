"""What may happen in the domain."""

from collections.abc import Container
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from msgspec.structs import asdict

from domain.errors import Invalid, Refused, not_found
from domain.log.record import Event, Metadata
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
from domain.neighbours.identity.state import Identity, Project, Role, User, evolve

MAX_APPLICATION_CREDENTIALS = 100
"""Of one user."""

E = TypeVar("E", bound=Event)


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration file says."""

    projects: dict[str, str]
    """Names by id."""
    roles: dict[str, str]
    users: tuple[ConfiguredUser, ...]


def configure(state: Identity | None, file: Configuration) -> IdentityConfigured | None:
    """Take what the file says that was not taken before; None if that is nothing. What was changed otherwise since an
    entry was taken stays so until the entry is another. An entry whose name somebody else has is passed over."""
    known = state or Identity()
    projects = {
        project_id: name
        for project_id, name in file.projects.items()
        if project_id not in known.configured_projects and _is_free(known.projects, name, project_id)
    }
    there = known.projects.keys() | projects.keys()
    users = tuple(
        msgspec.structs.replace(user, roles=_roles_said(known, user, there))
        for user in file.users
        if known.marks.get(user.user_id) != user.mark and _is_free(known.users, user.name, user.user_id)
    )
    # A role that was deleted comes back only with an entry that names it.
    wanted = {role for user in users for held in user.roles.values() for role in held}
    roles = {
        role_id: name
        for role_id, name in file.roles.items()
        if (state is None or role_id in wanted)
        and role_id not in known.roles
        and _is_free(known.roles, name, role_id)
    }
    has = known.roles.keys() | roles.keys()
    event = IdentityConfigured(
        projects=projects,
        roles=roles,
        users=tuple(
            msgspec.structs.replace(
                user, roles={where: tuple(role for role in held if role in has) for where, held in user.roles.items()}
            )
            for user in users
        ),
        withdrawn_users=tuple(sorted(known.marks.keys() - {user.user_id for user in file.users})),
        withdrawn_projects=tuple(sorted(known.configured_projects - file.projects.keys())),
    )
    return event if event != IdentityConfigured() else None


def _roles_said(known: Identity, user: ConfiguredUser, there: Container[str]) -> dict[str, tuple[str, ...]]:
    """What the entry gives, and takes: nothing is said of projects where the user has no role either way."""
    present = known.users.get(user.user_id)
    return {
        where: held
        for where, held in user.roles.items()
        if where in there and (held or (present and where in present.roles))
    }


def locks_out(state: Identity | None, event: IdentityConfigured) -> bool:
    """Whether it would leave no administrator, where there is one."""
    nobody = Metadata(event_id="", time=datetime.fromtimestamp(0, UTC), request_id="")
    return bool(state and state.administrators and not evolve(state, event, nobody).administrators)


def passed_over(state: Identity | None, file: Configuration) -> list[str]:
    """Names of users and projects of the file that somebody else has."""
    known = state or Identity()
    return [
        *(name for project_id, name in file.projects.items() if not _is_free(known.projects, name, project_id)),
        *(user.name for user in file.users if not _is_free(known.users, user.name, user.user_id)),
    ]


def create_project(state: Identity | None, event: ProjectCreated) -> ProjectCreated:
    _check_free("project", (state or Identity()).projects, event.name)
    return event


def change_project(state: Identity | None, event: ProjectChanged) -> ProjectChanged | None:
    project = project_of(state, event.project_id)
    assert state is not None
    if event.name is not None:
        _check_free("project", state.projects, event.name, project.id)
    return _kept(state, event) if _changes_anything(project, event, "project_id") else None


def delete_project(state: Identity | None, project_id: str) -> ProjectDeleted:
    project_of(state, project_id)
    return _kept(state, ProjectDeleted(project_id=project_id))


def create_role(state: Identity | None, event: RoleCreated) -> RoleCreated:
    _check_free("role", (state or Identity()).roles, event.name)
    return event


def change_role(state: Identity | None, event: RoleChanged) -> RoleChanged | None:
    role = role_of(state, event.role_id)
    assert state is not None
    if event.name is not None:
        _check_free("role", state.roles, event.name, role.id)
    return _kept(state, event) if _changes_anything(role, event, "role_id") else None


def delete_role(state: Identity | None, role_id: str) -> RoleDeleted:
    role_of(state, role_id)
    return _kept(state, RoleDeleted(role_id=role_id))


def create_user(state: Identity | None, event: UserCreated) -> UserCreated:
    known = state or Identity()
    _check_free("user", known.users, event.name)
    _check_default_project(known, event.default_project_id)
    return event


def change_user(state: Identity | None, event: UserChanged) -> UserChanged | None:
    user = user_of(state, event.user_id)
    assert state is not None
    if event.name is not None:
        _check_free("user", state.users, event.name, user.id)
    if event.default_project_id != user.default_project_id:
        _check_default_project(state, event.default_project_id)
    return _kept(state, event) if _changes_anything(user, event, "user_id") else None


def change_password(
    state: Identity | None, user_id: str, was: str | None, password: str, credential_version: str
) -> UserChanged:
    """Another password for who has shown that theirs ``was`` this one: its version. Raises Refused (409) if it is
    another by now."""
    user = user_of(state, user_id)
    if user.credential_version != was:
        raise Refused("user.password_changed", "The password was changed by another request.")
    return UserChanged(user_id=user_id, password=password, credential_version=credential_version)


def delete_user(state: Identity | None, user_id: str) -> UserDeleted:
    user_of(state, user_id)
    return _kept(state, UserDeleted(user_id=user_id))


def grant(state: Identity | None, user_id: str, project_id: str, role_id: str) -> RoleGranted | None:
    """None if the user has it."""
    held = _held(state, user_id, project_id, role_id)
    return None if role_id in held else RoleGranted(user_id=user_id, project_id=project_id, role_id=role_id)


def take(state: Identity | None, user_id: str, project_id: str, role_id: str) -> RoleTaken:
    if role_id not in _held(state, user_id, project_id, role_id):
        raise not_assigned(role_id)
    return _kept(state, RoleTaken(user_id=user_id, project_id=project_id, role_id=role_id))


def not_assigned(role_id: str) -> Refused:
    return Refused("assignment.not_found", f"Could not find role assignment with role: {role_id}.", status=404)


def create_application_credential(
    state: Identity | None, event: ApplicationCredentialCreated, now: datetime
) -> ApplicationCredentialCreated:
    """Raises Refused: 409 for a name that the user has used, 403 for too many; Invalid for an end that has come
    and for roles that the user does not hold in the project."""
    user = user_of(state, event.user_id)
    if event.expires_at and event.expires_at <= now.astimezone(UTC):
        raise Invalid("Invalid input for field 'expires_at': it lies in the past.")
    assert state is not None
    held = state.effective_roles(user, event.project_id)
    for role_id in event.role_ids:
        if role_id not in held:
            raise Invalid(
                f"Invalid application credential: the user does not hold the role {role_id} in the project."
            )
    if not event.role_ids:
        raise Invalid("Invalid application credential: the user holds no role in the project.")
    if any(known.name == event.name for known in user.application_credentials.values()):
        raise _taken("application_credential", event.name)
    if len(user.application_credentials) >= MAX_APPLICATION_CREDENTIALS:
        raise Refused(
            "application_credential.quota",
            f"Unable to create additional application credentials, maximum of {MAX_APPLICATION_CREDENTIALS} already "
            "exceeded for user.",
            status=403,
        )
    return event


def delete_application_credential(
    state: Identity | None, user_id: str, credential_id: str
) -> ApplicationCredentialDeleted:
    if credential_id not in user_of(state, user_id).application_credentials:
        raise not_found("Application_credential", credential_id)
    return ApplicationCredentialDeleted(user_id=user_id, credential_id=credential_id)


def project_of(state: Identity | None, project_id: str) -> Project:
    """Raises Refused (404), as those below do."""
    found = state.projects.get(project_id) if state else None
    if found is None:
        raise not_found("Project", project_id)
    return found


def role_of(state: Identity | None, role_id: str) -> Role:
    found = state.roles.get(role_id) if state else None
    if found is None:
        raise not_found("Role", role_id)
    return found


def user_of(state: Identity | None, user_id: str) -> User:
    found = state.users.get(user_id) if state else None
    if found is None:
        raise not_found("User", user_id)
    return found


def _held(state: Identity | None, user_id: str, project_id: str, role_id: str) -> tuple[str, ...]:
    role_of(state, role_id)
    project_of(state, project_id)
    return user_of(state, user_id).roles.get(project_id, ())


def _is_free(known: dict[str, Project] | dict[str, Role] | dict[str, User], name: str, but: str = "") -> bool:
    return all(each.name != name or each.id == but for each in known.values())


def _check_free(
    noun: str, known: dict[str, Project] | dict[str, Role] | dict[str, User], name: str, but: str = ""
) -> None:
    if not _is_free(known, name, but):
        raise _taken(noun, name)


def _taken(noun: str, name: str) -> Refused:
    return Refused(f"{noun}.exists", f"Conflict occurred attempting to store {noun} - Duplicate entry found: {name}.")


def _check_default_project(state: Identity, project_id: str | None) -> None:
    if project_id and project_id not in state.projects:
        raise Invalid(f"Invalid input for field 'default_project_id': there is no project {project_id}.")


def _changes_anything(present: msgspec.Struct, event: Event, but: str) -> bool:
    return any(
        value is not None and getattr(present, name) != value for name, value in asdict(event).items() if name != but
    )


def _kept(state: Identity | None, event: E) -> E:
    """The event, if it leaves somebody who can change all this. Raises Refused (403)."""
    nobody = Metadata(event_id="", time=datetime.fromtimestamp(0, UTC), request_id="")
    if state and state.administrators and not evolve(state, event, nobody).administrators:
        raise Refused("identity.last_administrator", "This would leave no administrator.", status=403)
    return event
