"""Who a token speaks for."""

from datetime import datetime

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
