"""What identity's requests say."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from adapters.rest.kit.validation import Body, Text64K, Text255

Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\S")]
ProjectName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\S")]
Tag = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^,/]*\Z")]
Tags = Annotated[list[Tag], Meta(max_length=80)]
Secret = Annotated[str, Meta(min_length=1, max_length=4096)]


class ProjectFields(Body):
    """A project that is to be, or what shall be changed of it."""

    name: ProjectName | UnsetType = UNSET
    description: Text64K | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    domain_id: Text255 | UnsetType | None = UNSET
    parent_id: Text255 | UnsetType | None = UNSET
    is_domain: bool | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    options: dict[Text255, Any] | UnsetType = UNSET


class ProjectBody(Body):
    """``{"project": …}``."""

    project: ProjectFields


class RoleFields(Body):
    """A role that is to be, or what shall be changed of it."""

    name: Name | UnsetType = UNSET
    description: Text64K | UnsetType | None = UNSET
    domain_id: Text255 | UnsetType | None = UNSET
    options: dict[Text255, Any] | UnsetType = UNSET


class RoleBody(Body):
    """``{"role": …}``."""

    role: RoleFields


class UserFields(Body):
    """A user who is to be, or what shall be changed of one."""

    name: Name | UnsetType = UNSET
    password: Secret | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    email: Text255 | UnsetType | None = UNSET
    description: Text64K | UnsetType | None = UNSET
    default_project_id: Text255 | UnsetType | None = UNSET
    domain_id: Text255 | UnsetType | None = UNSET
    options: dict[Text255, Any] | UnsetType = UNSET


class UserBody(Body):
    """``{"user": …}``."""

    user: UserFields


class NewPassword(Body):
    """One's own password, and what it shall be."""

    password: Secret
    original_password: Secret


class PasswordBody(Body):
    """``{"user": …}``."""

    user: NewPassword


class RoleRef(Body):
    """A role, by id or name."""

    id: Text255 | UnsetType = UNSET
    name: Text255 | UnsetType = UNSET
    domain: dict[Text255, Any] | UnsetType = UNSET


class NewApplicationCredential(Body):
    """An application credential that is to be."""

    name: Name
    description: Text64K | None = None
    secret: Secret | None = None
    expires_at: Text255 | None = None
    roles: Annotated[list[RoleRef], Meta(max_length=100)] | None = None
    unrestricted: bool | None = None
    project_id: Text255 | None = None
    access_rules: Annotated[list[Any], Meta(max_length=100)] | None = None


class ApplicationCredentialBody(Body):
    """``{"application_credential": …}``."""

    application_credential: NewApplicationCredential
