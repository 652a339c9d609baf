"""Who a token speaks for."""

from datetime import datetime
from typing import Protocol

import msgspec


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A validated token, with the user as the settings have it now."""

    user_id: str
    user_name: str
    project_id: str | None
    """None for an unscoped token."""
    project_name: str | None
    roles: tuple[str, ...]
    methods: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    audit_id: str
    application_credential_id: str | None = None
    """By which the token was made, if it was."""
    restricted: bool = False
    """Whether it may not make or delete application credentials, as those that were made by one mostly are."""


class Validator(Protocol):
    """Reads tokens: the identity's, whichever that is."""

    def validate(self, token: str | None) -> Caller:
        """Whom a token speaks for; raises Refused (401) if it is missing, forged, expired or revoked."""
        ...
