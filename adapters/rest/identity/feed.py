"""The directory is what the log says, and the log is told what the configuration file says."""

import hashlib

import msgspec

from adapters.rest.identity.catalogue import stable_id
from adapters.rest.identity.directory import DEFAULT_ROLES, Directory, version_of
from adapters.rest.kit.settings import ApplicationCredential, IdentitySettings, Project, Role, User
from domain.neighbours.identity import state
from domain.neighbours.identity.events import ConfiguredUser
from domain.neighbours.identity.rules import Configuration
from domain.neighbours.identity.state import Identity

WELL_KNOWN = (*(role.name for role in DEFAULT_ROLES), "service", "auditor")
"""Roles that policies ask for."""


def feed(directory: Directory, identity: Identity, user_id: str | None) -> None:
    """Have the directory be what the log says; ``user_id`` is who alone is another, if there is such a one."""
    if user_id is not None:
        user = identity.users.get(user_id)
        directory.put(user_id, _user(identity, user) if user else None)
        return
    directory.renew(
        (_user(identity, user) for user in identity.users.values()),
        (
            Project(id=each.id, name=each.name, description=each.description, enabled=each.enabled, tags=each.tags)
            for each in identity.projects.values()
        ),
        (Role(id=each.id, name=each.name, description=each.description) for each in identity.roles.values()),
    )


def _user(identity: Identity, user: state.User) -> User:
    return User(
        id=user.id,
        name=user.name,
        password_hash=user.password,
        roles={project_id: _names(identity, held) for project_id, held in user.roles.items()},
        default_project_id=user.default_project_id or None,
        email=user.email or None,
        description=user.description,
        enabled=user.enabled,
        credential_version=user.credential_version,
        application_credentials={
            each.id: ApplicationCredential(
                id=each.id,
                name=each.name,
                project_id=each.project_id,
                roles=_names(identity, each.role_ids),
                secret_hash=each.secret,
                description=each.description,
                expires_at=each.expires_at,
                unrestricted=each.unrestricted,
            )
            for each in user.application_credentials.values()
        },
    )


def _names(identity: Identity, role_ids: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(identity.roles[each].name for each in role_ids if each in identity.roles)


def configuration(settings: IdentitySettings) -> Configuration:
    """What the log is to be told of the configuration file's users, whose ids are those of before they were kept."""
    project_ids = [project.id for project in settings.projects]
    used = {role for user in settings.users for held in user.roles.values() for role in held}
    return Configuration(
        projects={project.id: project.name for project in settings.projects},
        roles={stable_id("role", name): name for name in (*WELL_KNOWN, *sorted(used.difference(WELL_KNOWN)))},
        users=tuple(_configured(user, project_ids) for user in settings.users),
    )


def _configured(user: User, project_ids: list[str]) -> ConfiguredUser:
    held = {
        project_id: tuple(stable_id("role", role) for role in user.roles.get(project_id, ()))
        for project_id in project_ids
    }
    password_hash = user.password_hash or ""
    # A hash has a salt of its own: what is made of it tells nothing of the password to who has only the log.
    entry = msgspec.json.encode((user.name, password_hash, user.enabled, sorted(user.roles.items())))
    return ConfiguredUser(
        user_id=user.id,
        name=user.name,
        password=password_hash,
        credential_version=version_of(password_hash),
        mark=hashlib.sha256(entry).hexdigest()[:16],
        enabled=user.enabled,
        roles=held,
    )
