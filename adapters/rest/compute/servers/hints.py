"""What a request for a new server hints to the scheduler.

A hint of which no rule here knows is ignored, as Nova ignores those of filters that are off; one that would be a rule
in any Nova is refused by name.
"""

import re
from typing import Any

from msgspec import UNSET

from adapters.rest.compute.servers.create_body import CreateBody
from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Call
from adapters.rest.kit.validation import address, check_text, identifier
from domain.affinity import Terms
from domain.catalogue import server_group
from domain.errors import Invalid, Refused
from domain.placement.grouping import DIFFERENT_HOST, SAME_HOST
from domain.server.hints import GROUP, NEAR_ADDRESS, NEAR_MASK

MAX_SERVERS = 100
"""In one hint."""
QUERY = "query"
_MASK = re.compile(r"/[0-9]{1,3}", re.ASCII)

Hints = dict[str, tuple[str, ...]]


def given(body: CreateBody) -> Hints:
    """The hints, checked. Raises Invalid, and Refused (501) for a query."""
    asked = body.old_hints if body.hints is UNSET else body.hints
    if asked is UNSET:
        return {}
    if QUERY in asked:
        raise not_implemented(f"The scheduler hint {QUERY}")
    found = {name: _servers(name, asked[name]) for name in (SAME_HOST, DIFFERENT_HOST) if name in asked}
    if GROUP in asked:
        found[GROUP] = (identifier(GROUP, check_text(GROUP, asked[GROUP])),)
    if NEAR_ADDRESS in asked:
        found[NEAR_ADDRESS] = (address(NEAR_ADDRESS, check_text(NEAR_ADDRESS, asked[NEAR_ADDRESS])),)
    if NEAR_MASK in asked:
        found[NEAR_MASK] = (_mask(asked[NEAR_MASK]),)
    return found


def terms(call: Call, hints: Hints) -> Terms | None:
    """Those of the group that is hinted at, which must be of the caller's project. Raises Invalid."""
    if GROUP not in hints:
        return None
    groups = call.services.registry.of(server_group.KIND, call.context.project_id or "")
    try:
        return server_group.terms(groups, hints[GROUP][0])
    except Refused as error:
        raise Invalid(error.message) from None


def _servers(name: str, value: Any) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    if len(listed) > MAX_SERVERS:
        raise Invalid(f"Invalid input for field/attribute {name}. More than {MAX_SERVERS} servers")
    return tuple(dict.fromkeys(identifier(name, check_text(name, each)) for each in listed))


def _mask(value: Any) -> str:
    text = check_text(NEAR_MASK, value)
    if _MASK.fullmatch(text) is None:
        raise Invalid(
            f"Invalid input for field/attribute {NEAR_MASK}. Value: {text[:64]}. {text[:64]!r} does not match "
            f"{_MASK.pattern!r}"
        )
    return text
