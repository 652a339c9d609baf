"""What the REST faces must be told: who may come in, where they are reached, where images lie."""

from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from domain.server.moves.orders import ABORT, Policy


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project of the embedded identity."""

    id: str
    name: str
    description: str = ""
    enabled: bool = True
    tags: tuple[str, ...] = ()


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A role of the embedded identity."""

    id: str
    name: str
    description: str = ""


class ApplicationCredential(msgspec.Struct, frozen=True, kw_only=True):
    """By which a program acts for a user."""

    id: str
    name: str
    project_id: str
    roles: tuple[str, ...]
    """The names of those it asks for; it has them for as long as the user holds them."""
    secret_hash: str
    """As a user's ``password_hash``."""
    description: str = ""
    expires_at: datetime | None = None
    unrestricted: bool = False


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user of the embedded identity, with the roles held in each project."""

    id: str
    name: str
    password_hash: str | None
    """By ``adapters.rest.identity.passwords.hash_password``, perhaps sealed; None: no password is right."""
    roles: dict[str, tuple[str, ...]] = {}
    """Role names by project id."""
    default_project_id: str | None = None
    email: str | None = None
    description: str = ""
    enabled: bool = True
    credential_version: str = ""
    """Another for each password; made of its hash if it is empty."""
    application_credentials: dict[str, ApplicationCredential] = {}


class IdentitySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The embedded identity."""

    users: tuple[User, ...]
    projects: tuple[Project, ...]
    token_keys: tuple[bytes, ...]
    """Each 32 bytes; the first one signs, all of them are accepted, so that a key can be replaced. Without any, a
    key is made up that ends with the process: enough for a single worker."""
    token_life: timedelta = timedelta(hours=4)


class RestSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All of the REST faces."""

    public_url: str
    """Where clients reach us, without a slash at the end: ``http://127.0.0.1:8774``."""
    identity: IdentitySettings
    images_dir: Path
    """Shared by all API workers."""
    volumes_dir: Path
    """The same."""
    cell: str
    """The cell whose servers are offered."""
    api_cell: str = "api"
    """The cell of what belongs to no cell: flavors, keypairs, networks, images, quotas."""
    region: str = "RegionOne"
    placement_url: str = "http://127.0.0.1:8778"
    """Where clients reach Placement, at the root of its own port."""
    default_zone: str = "nova"
    resize_confirm_seconds: float = 0
    """After so long a moved server counts as confirmed; 0: never."""
    live_migration_seconds: float = 1800
    """The time of a live migration that says nothing of it."""
    live_migration_policy: Policy = ABORT
    """And its end."""
    shelved_offload_seconds: float = 0
    """After so long a shelved server leaves its host; 0: at once, below: never by itself."""
