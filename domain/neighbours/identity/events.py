"""What happens in the domain. Secrets are hashes, sealed with a key of their user."""

from datetime import datetime

import msgspec

from domain.log.record import Event


class ConfiguredUser(msgspec.Struct, frozen=True, kw_only=True):
    """A user as the configuration file has it."""

    user_id: str
    name: str
    password: str
    credential_version: str
    mark: str
    """Of the whole entry: another entry has another."""
    enabled: bool = True
    roles: dict[str, tuple[str, ...]] = {}
    """Role ids by project id, for all projects that the file names; the user's roles elsewhere stay."""


class IdentityConfigured(Event, tag="identity.configured", frozen=True, kw_only=True):
    """What the configuration file says was taken: the entries that are new or others, and those that are gone."""

    projects: dict[str, str] = {}
    """Names by id."""
    roles: dict[str, str] = {}
    """Names by id."""
    users: tuple[ConfiguredUser, ...] = ()
    withdrawn_users: tuple[str, ...] = ()
    """Are disabled, as withdrawn projects are."""
    withdrawn_projects: tuple[str, ...] = ()


class ProjectCreated(Event, tag="identity.project_created", frozen=True, kw_only=True):
    """There is another project."""

    project_id: str
    name: str
    description: str = ""
    enabled: bool = True
    tags: tuple[str, ...] = ()


class ProjectChanged(Event, tag="identity.project_changed", frozen=True, kw_only=True):
    """What is None stays as it was."""

    project_id: str
    name: str | None = None
    description: str | None = None
    enabled: bool | None = None
    tags: tuple[str, ...] | None = None


class ProjectDeleted(Event, tag="identity.project_deleted", frozen=True, kw_only=True):
    """A project is gone, with all roles that were held in it. What it owned elsewhere stays."""

    project_id: str


class RoleCreated(Event, tag="identity.role_created", frozen=True, kw_only=True):
    """There is another role."""

    role_id: str
    name: str
    description: str = ""


class RoleChanged(Event, tag="identity.role_changed", frozen=True, kw_only=True):
    """What is None stays as it was."""

    role_id: str
    name: str | None = None
    description: str | None = None


class RoleDeleted(Event, tag="identity.role_deleted", frozen=True, kw_only=True):
    """A role is gone; nobody holds it any more."""

    role_id: str


class UserCreated(Event, tag="identity.user_created", frozen=True, kw_only=True):
    """There is another user."""

    user_id: str
    name: str
    credential_version: str
    password: str | None = None
    """None: nobody can log in as this user by a password."""
    enabled: bool = True
    email: str = ""
    description: str = ""
    default_project_id: str = ""


class UserChanged(Event, tag="identity.user_changed", frozen=True, kw_only=True):
    """What is None stays as it was. A new password has a new version, which ends the tokens of the old one."""

    user_id: str
    name: str | None = None
    enabled: bool | None = None
    email: str | None = None
    description: str | None = None
    default_project_id: str | None = None
    password: str | None = None
    credential_version: str | None = None


class UserDeleted(Event, tag="identity.user_deleted", frozen=True, kw_only=True):
    """A user is gone. The key of the user's secrets is destroyed next."""

    user_id: str


class RoleGranted(Event, tag="identity.role_granted", frozen=True, kw_only=True):
    """A user has a role in a project."""

    user_id: str
    project_id: str
    role_id: str


class RoleTaken(Event, tag="identity.role_taken", frozen=True, kw_only=True):
    """A user has a role in a project no longer."""

    user_id: str
    project_id: str
    role_id: str


class ApplicationCredentialCreated(Event, tag="identity.application_credential_created", frozen=True, kw_only=True):
    """A program may act for a user in a project, with some of the roles that the user holds there."""

    user_id: str
    credential_id: str
    name: str
    project_id: str
    role_ids: tuple[str, ...]
    secret: str
    description: str = ""
    expires_at: datetime | None = None
    unrestricted: bool = False
    """Whether it may make and delete others of its kind."""


class ApplicationCredentialDeleted(Event, tag="identity.application_credential_deleted", frozen=True, kw_only=True):
    """It is good for nothing any more, nor are the tokens that were made by it."""

    user_id: str
    credential_id: str
