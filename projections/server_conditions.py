"""A filter of servers in the words of PostgreSQL."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from domain.server.listing import WHOLE_ADDRESS, ServerFilter
from domain.server.state import ACTIVE
from projections.servers import ADDRESSES, tag_of

EQUALITIES = {
    "project_id": "project_id",
    "user_id": "user_id",
    "host": "host",
    "availability_zone": "availability_zone",
    "flavor_id": "flavor_id",
    "image_id": "image_id",
    "key_name": "state->>'key_name'",
    "reservation_id": "state->>'reservation_id'",
    "power_state": "power_state",
    "config_drive": "coalesce((state->>'config_drive')::boolean, false)",
}
"""Fields of a ServerFilter that must equal a column."""

NICS = "coalesce(state->'nics', '[]')"
"""What is as it would be by default is absent."""


EXPRESSIONS = {"description": "state->>'description'", "hostname": "state->>'hostname'"}
"""Fields of a ServerFilter that are regular expressions for a column."""

TAG_SETS = {
    "tags": "tags @> %s",
    "tags_any": "tags && %s",
    "not_tags": "NOT tags @> %s",
    "not_tags_any": "NOT tags && %s",
}
Condition = tuple[str, tuple[Any, ...]]
"""A clause, and its values."""


def conditions(wanted: ServerFilter) -> tuple[list[str], list[Any]]:
    """The conditions, to be joined by AND, and their values."""
    found = [*_columns(wanted), *_states(wanted), *_parts(wanted)]
    return [clause for clause, _ in found], [value for _, values in found for value in values]


def _columns(wanted: ServerFilter) -> Iterator[Condition]:
    for field, column in EQUALITIES.items():
        value = getattr(wanted, field)
        if value is not None:
            yield f"{column} = %s", (value,)
    for field, column in EXPRESSIONS.items():
        value = getattr(wanted, field)
        if value is not None:
            yield f"{column} ~ %s", (value,)
    if wanted.name is not None:
        yield _name(wanted.name)
    if wanted.ids:
        yield "id = ANY(%s)", (list(wanted.ids),)
    if wanted.changes_since:
        yield "updated_at >= %s", (wanted.changes_since,)
    if wanted.changes_before:
        # Shown and compared to the second.
        yield "updated_at < %s", (wanted.changes_before.replace(microsecond=0) + timedelta(seconds=1),)


def _name(expression: str) -> Condition:
    """What is asked for most needs no regular expression: a name, and a plain word in names."""
    if whole := re.fullmatch(r"\^([\w-]+)\$", expression):
        return "name = %s", (whole[1],)
    plain = re.fullmatch(r"[\w-]+", expression)
    return "position(%s in name) > 0" if plain else "name ~ %s", (expression,)


def _address(expression: str) -> Condition:
    """A whole address is found by the index: what it may be a part of is few enough to be named."""
    if (parts := WHOLE_ADDRESS.fullmatch(expression)) is None:
        return f"EXISTS (SELECT FROM json_array_elements({NICS}) nic WHERE nic->>'ip_address' ~ %s)", (expression,)
    begins, first, second, third, fourth, ends = parts.groups()
    octets = [str(octet) for octet in range(256)]
    firsts = [octet for octet in octets if (octet == first if begins else octet.endswith(first))]
    lasts = [octet for octet in octets if (octet == fourth if ends else octet.startswith(fourth))]
    addresses = [f"{one}.{second}.{third}.{other}" for one in firsts for other in lasts]
    # Said twice, as the planner does not know how rare an address is: it would look through the whole project, too.
    return f"{ADDRESSES} ?| %s AND {ADDRESSES} ?| %s", (addresses, addresses)


def _states(wanted: ServerFilter) -> Iterator[Condition]:
    if wanted.deleted is not None:
        # Written out, not passed: only so does the planner see that the partial indexes serve.
        yield "deleted" if wanted.deleted else "NOT deleted", ()
    if wanted.vm_states:
        yield "vm_state = ANY(%s)", (list(wanted.vm_states),)
        if ACTIVE not in wanted.vm_states:
            # Follows from the above, but only so does the planner see that the index of the others serves.
            yield f"vm_state <> '{ACTIVE}'", ()
    if wanted.task_states:
        named = [state for state in wanted.task_states if state is not None]
        nothing = " OR task_state IS NULL" if None in wanted.task_states else ""
        yield f"(task_state = ANY(%s){nothing})", (named,)
    if wanted.locked is not None:
        yield f"state->'lock' IS {'NOT ' if wanted.locked else ''}NULL", ()


def _parts(wanted: ServerFilter) -> Iterator[Condition]:
    if wanted.ip is not None:
        yield _address(wanted.ip)
    for field, clause in TAG_SETS.items():
        tags = getattr(wanted, field)
        if tags:
            named = [tag_of(wanted.project_id, tag) for tag in tags]
            # Said twice, as an address is; what is not there is not rare.
            yield (clause, (named,)) if clause.startswith("NOT") else (f"{clause} AND {clause}", (named, named))
