"""What a listing of servers may be narrowed by, sorted by and paged by."""

import re
from datetime import datetime

import msgspec

from domain.guest import PowerState

SORT_KEYS = (
    "created_at",
    "updated_at",
    "display_name",
    "uuid",
    "vm_state",
    "task_state",
    "power_state",
    "host",
    "launched_at",
    "terminated_at",
    "project_id",
    "user_id",
    "key_name",
    "image_ref",
    "instance_type_id",
    "availability_zone",
)
"""Nova's names of what a listing can be sorted by."""

WHOLE_ADDRESS = re.compile(r"(\^)?([0-9]{1,3})" + r"\\?\.([0-9]{1,3})" * 3 + r"(\$)?", re.ASCII)
"""An IPv4 address in a filter, which may say that addresses begin or end there. Its dots mean dots: they may be
escaped, and need not be. Like any expression it is found anywhere in an address: 10.0.0.1 in 10.0.0.17, and in
110.0.0.1."""

NEWEST_FIRST = (("created_at", "desc"), ("uuid", "desc"))


class ServerFilter(msgspec.Struct, frozen=True, kw_only=True):
    """All given conditions hold at once; an empty tuple or None is no condition."""

    project_id: str | None = None
    user_id: str | None = None
    name: str | None = None
    """A regular expression, found anywhere in the name."""
    vm_states: tuple[str, ...] = ()
    task_states: tuple[str | None, ...] = ()
    power_state: PowerState | None = None
    ids: tuple[str, ...] = ()
    host: str | None = None
    availability_zone: str | None = None
    flavor_id: str | None = None
    image_id: str | None = None
    key_name: str | None = None
    reservation_id: str | None = None
    description: str | None = None
    hostname: str | None = None
    ip: str | None = None
    """Regular expressions; ``ip`` is found in any of the addresses. A WHOLE_ADDRESS is the text that it is."""
    locked: bool | None = None
    config_drive: bool | None = None
    tags: tuple[str, ...] = ()
    tags_any: tuple[str, ...] = ()
    not_tags: tuple[str, ...] = ()
    not_tags_any: tuple[str, ...] = ()
    """All of these tags, any of them; and not all of them, none of them."""
    deleted: bool | None = False
    """Only the living, only the deleted, or (None) both."""
    changes_since: datetime | None = None
    """Changed at this moment or later."""
    changes_before: datetime | None = None
    """Changed in this second or before."""
    marker: str | None = None
    """The id of the last server of the page before. It must be one of the project asked about, if there is one."""
    limit: int | None = None
    sort: tuple[tuple[str, str], ...] = NEWEST_FIRST
    """Names out of SORT_KEYS, each with ``asc`` or ``desc``; the id settles ties."""

    @property
    def searches(self) -> bool:
        """Whether there is a regular expression among the conditions."""
        return any((self.name, self.description, self.hostname, self.ip))
