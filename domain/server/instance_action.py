"""What was done to a server, by whom, and how it went: Nova's os-instance-actions."""

from datetime import datetime

import msgspec


class ActionEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A step of an action. ``result`` is Success or Error once it has finished."""

    event: str
    start_time: datetime
    finish_time: datetime | None = None
    result: str | None = None
    host: str | None = None
    details: str | None = None
    """What went wrong, fit for the tenant."""
    admin_details: str | None = None
    """What went wrong, for the administrator."""


class InstanceAction(msgspec.Struct, frozen=True, kw_only=True):
    """An action with its steps. ``message`` is "Error" if it failed, as Nova says it."""

    server_id: str
    request_id: str
    cell: str
    action: str
    user_id: str | None
    project_id: str | None
    start_time: datetime
    updated_at: datetime
    finish_time: datetime | None = None
    message: str | None = None
    events: tuple[ActionEvent, ...] = ()
