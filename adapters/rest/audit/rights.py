"""Who may know what of the logs."""

from typing import Any

from adapters.rest.kit.operation import Access, Call, Rule
from adapters.rest.kit.request_log import looks

ALL_PROJECTS = Rule(
    "lightcurve:audit:all_projects", Access.AUDITOR, "See what others have asked for, and what only operators know."
)
ALL = (ALL_PROJECTS,)
MOST_TOLD = 256
"""Characters of a question that are noted."""
FOR_OPERATORS = ("host", "host_id", "epoch", "allocations")
"""What a tenant is not told, as everywhere in the Compute API."""


def sees_all(call: Call) -> bool:
    """Whether the caller may see everybody's; that he looks is noted then."""
    if not call.may(ALL_PROJECTS):
        return False
    looks(call.scope, call.scope["query_string"].decode("latin-1")[:MOST_TOLD])
    return True


def for_tenants(facts: dict[str, Any]) -> dict[str, Any]:
    """What of an event's facts whoever asked for it may know."""
    told = {name: value for name, value in facts.items() if name not in FOR_OPERATORS}
    if isinstance(fault := told.get("fault"), dict):
        told["fault"] = {"message": fault.get("message")}
    return told
