"""Who calls."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from adapters.rest.kit.caller import Validator
from adapters.rest.kit.errors import unauthorized


class Actor(msgspec.Struct, frozen=True):
    """Who calls."""

    user_id: str
    project_id: str | None
    roles: frozenset[str]
    of_system: bool = False
    """Acts on the system, not in a project: no policy here allows that."""


class Authenticator(Protocol):
    """Finds out who calls."""

    def __call__(self, headers: Mapping[str, str]) -> Actor:
        """Raises Refused (401)."""
        ...


class ByToken:
    """Believes the tokens of the embedded identity."""

    def __init__(self, tokens: Validator) -> None:
        self._tokens = tokens

    def __call__(self, headers: Mapping[str, str]) -> Actor:
        caller = self._tokens.validate(headers.get("x-auth-token"))
        return Actor(caller.user_id, caller.project_id, frozenset(caller.roles))


def believe(headers: Mapping[str, str]) -> Actor:
    """Believes whatever the caller says of itself, as Placement's own ``noauth2`` does. For tests on one machine."""
    token = headers.get("x-auth-token")
    if token is None:
        raise unauthorized()
    user_id, _, project_id = token.partition(":")
    roles = headers["x-roles"].split(",") if "x-roles" in headers else ["admin"] if user_id == "admin" else []
    of_system = bool(headers.get("openstack-system-scope"))
    project = None if of_system else headers.get("x-project-id") or project_id or user_id
    return Actor(user_id, project, frozenset(role.strip() for role in roles), of_system)
