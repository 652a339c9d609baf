"""Query strings of the searches: resources, traits, aggregates and trees, by group.

The refusals name what was expected in the words that Placement's clients know.
"""

import re
from typing import Any, cast

from msgspec.structs import replace

from adapters.rest.placement.operation import Call
from adapters.rest.placement.schema import is_uuid_like
from adapters.rest.placement.schemas import NUMBERED, SUFFIX
from domain.placement.candidates import Group, Request
from domain.placement.ledger.refusals import BAD_QUERY_VALUE, DUPLICATE_QUERY_KEY, MISSING_QUERY_VALUE, bad

INVALID = "Invalid query string parameters"
_KEY = re.compile(f"^(resources|required|member_of|in_tree)({NUMBERED})?$")
_KEY_FROM_33 = re.compile(f"^(resources|required|member_of|in_tree)({SUFFIX})?$")

Traits = tuple[tuple[frozenset[str], ...], frozenset[str]]
"""Those required, each set of them by one of its members, and those forbidden."""


def resources(value: str) -> dict[str, int]:
    """``VCPU:2,MEMORY_MB:1024``."""
    expected = (
        "Badly formed resources parameter. Expected resources query string parameter in form: "
        "?resources=VCPU:2,MEMORY_MB:1024. Got: "
    )
    if not value.strip():
        raise bad(f"{expected}empty string.")
    amounts = {}
    for part in value.split(","):
        name, colon, text = part.partition(":")
        if not colon or ":" in text:
            raise bad(f"{expected}{part}.")
        try:
            amount = int(text)  # an int of Python's has 4,300 digits at the most: those, too, are refused here
        except ValueError:
            raise bad(f"Requested resource {name} expected positive integer amount. Got: {text}.") from None
        if amount < 1:
            raise bad(f"Requested resource {name} requires amount >= 1. Got: {amount}.")
        amounts[name] = amount
    return amounts


def required_traits(call: Call, suffix: str) -> Traits:
    """Every ``required`` of a group; before 1.39 only the last one counts."""
    values = call.values(f"required{suffix}")
    if call.minor < 39:
        values = values[-1:]
    required: list[frozenset[str]] = []
    forbidden: set[str] = set()
    for value in values:
        more, never = _traits(value, may_forbid=call.minor >= 22, may_offer=call.minor >= 39)
        required += more
        forbidden |= never
    return tuple(required), frozenset(forbidden)


def _traits(value: str, *, may_forbid: bool, may_offer: bool) -> tuple[list[frozenset[str]], set[str]]:
    if value.startswith("in:"):
        return [_any_of(value, may_offer=may_offer)], set()
    names = [name.strip() for name in value.split(",")]
    forbidden = {name.lstrip("!") for name in names if name.startswith("!")}
    form = f"{INVALID}: Expected 'required' parameter value of the form: "
    if not all(names) or not all(forbidden):
        raise bad(f"{form}HW_CPU_X86_VMX,{'!' if may_forbid else ''}CUSTOM_MAGIC. Got an empty trait in: {value}")
    if forbidden and not may_forbid:
        raise bad(f"{form}HW_CPU_X86_VMX,CUSTOM_MAGIC. Got: {value}")
    return [frozenset((name,)) for name in names if not name.startswith("!")], forbidden


def _any_of(value: str, *, may_offer: bool) -> frozenset[str]:
    form = f"{INVALID}: The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' "
    if not may_offer:
        raise bad(f"{form}only supported since microversion 1.39. Got: {value}")
    names = frozenset(name.strip() for name in value[3:].split(","))
    if not all(names):
        raise bad(
            f"{INVALID}: Expected 'required' parameter value of the form: in:HW_CPU_X86_VMX,CUSTOM_MAGIC. "
            f"Got an empty trait in: {value}"
        )
    if any(name.startswith("!") for name in names):
        raise bad(f"{form}does not support forbidden traits. Got: {value}")
    return names


def member_of(call: Call, suffix: str) -> Traits:
    """Every ``member_of`` of a group: the aggregates wanted, and those not wanted."""
    values = call.values(f"member_of{suffix}")
    if call.minor < 24 and len(values) > 1:
        raise bad(f"Multiple member_of{suffix} parameters are not supported")
    wanted: list[frozenset[str]] = []
    unwanted: set[str] = set()
    for value in values:
        some, none = _aggregates(value)
        if some:
            wanted.append(some)
        if none and call.minor < 32:
            raise bad(f"Forbidden member_of{suffix} parameters are not supported in the specified microversion")
        unwanted |= none
    return tuple(wanted), frozenset(unwanted)


def _aggregates(value: str) -> tuple[frozenset[str], frozenset[str]]:
    negative = value.startswith("!")
    positive = value.removeprefix("!")
    listed = positive.startswith("in:")
    if "," in value and not listed:
        raise bad(
            "Multiple values for 'member_of' must be prefixed with the 'in:' or '!in:' keyword using the valid "
            f"microversion. Got: {value}"
        )
    found = frozenset(positive[3:].split(",") if listed else [positive])
    for aggregate in sorted(found):
        if not is_uuid_like(aggregate):
            raise bad(f"{INVALID}: Expected 'member_of' parameter to contain valid UUID(s). Got: {aggregate}")
    return (frozenset(), found) if negative else (found, frozenset())


def candidate_request(call: Call) -> Request:
    """The whole query of GET /allocation_candidates."""
    request = _request_wide(call)
    groups = _groups(call)
    if call.minor >= 36:
        _check_subtrees(groups, request)
    else:
        _check_orphans(groups)
    if call.minor >= 22:
        _check_contradictions(groups)
    if request.group_policy is None and len([suffix for suffix in groups if suffix]) > 1:
        raise bad('The "group_policy" parameter is required when specifying more than one "resources{N}" parameter.')
    return replace(request, groups=groups)


def _request_wide(call: Call) -> Request:
    limit, policy = call.values("limit"), call.values("group_policy")
    required, forbidden = _root_traits(call)
    subtrees = []
    for value in call.values("same_subtree"):
        suffixes = frozenset(suffix.strip() for suffix in value.split(","))
        if "" in suffixes:
            raise bad("Empty string (unsuffixed group) can not be specified in `same_subtree` ", BAD_QUERY_VALUE)
        subtrees.append(suffixes)
    return Request(
        groups={},
        limit=int(limit[0]) if limit else None,
        group_policy=cast("Any", policy[0]) if policy else None,
        root_required=required,
        root_forbidden=forbidden,
        same_subtrees=tuple(subtrees),
        nested=call.minor >= 29,
    )


def _root_traits(call: Call) -> tuple[frozenset[str], frozenset[str]]:
    values = call.values("root_required")
    if not values:
        return frozenset(), frozenset()
    if len(values) > 1:
        raise bad("Query parameter 'root_required' may be specified only once.", DUPLICATE_QUERY_KEY)
    each, forbidden = _traits(values[0], may_forbid=True, may_offer=False)
    required: frozenset[str] = frozenset().union(*each)
    both = required & forbidden
    if both:
        raise bad(
            f"Conflicting required and forbidden traits found in root_required: {', '.join(sorted(both))}",
            BAD_QUERY_VALUE,
        )
    return required, frozenset(forbidden)


def _groups(call: Call) -> dict[str, Group]:
    pattern = _KEY_FROM_33 if call.minor >= 33 else _KEY
    groups: dict[str, Group] = {}
    for key, value in call.pairs:
        match = pattern.match(key)
        if match is None:
            continue
        suffix = match[2] or ""
        group = groups.get(suffix, Group())
        match match[1]:
            case "resources":
                group = replace(group, resources=resources(value))
            case "required":
                required, forbidden = required_traits(call, suffix)
                group = replace(group, required=required, forbidden=forbidden)
            case "member_of":
                wanted, unwanted = member_of(call, suffix)
                group = replace(group, member_of=wanted, not_member_of=unwanted)
            case _:
                group = replace(group, in_tree=_in_tree(value))
        groups[suffix] = group
    return groups


def _in_tree(value: str) -> str:
    stripped = value.strip()
    if not is_uuid_like(stripped):
        raise bad(f"{INVALID}: Expected 'in_tree' parameter to be a format of uuid. Got: {value}")
    return stripped


def _check_subtrees(groups: dict[str, Group], request: Request) -> None:
    resourceless = [suffix for suffix, group in groups.items() if not group.resources]
    named = frozenset().union(*request.same_subtrees)
    if len(resourceless) == len(groups):
        raise bad("There must be at least one resources or resources[$S] parameter.", MISSING_QUERY_VALUE)
    wrong = [suffix for suffix in resourceless if suffix not in named]
    if wrong:
        raise bad(
            "Resourceless suffixed group request should be specified in `same_subtree` query param: "
            f"bad group(s) - {wrong}.",
            BAD_QUERY_VALUE,
        )
    wrong = sorted(suffix for suffix in named if suffix not in groups)
    if wrong:
        raise bad(
            f"Real suffixes should be specified in `same_subtree`: {wrong} not found in {list(groups)}.",
            BAD_QUERY_VALUE,
        )


def _check_orphans(groups: dict[str, Group]) -> None:
    without = {suffix: group for suffix, group in groups.items() if not group.resources}
    orphans = [f"required{suffix}" for suffix, group in without.items() if group.required]
    if orphans:
        raise bad(
            "All traits parameters must be associated with resources.  Found the following orphaned traits keys: "
            + ", ".join(orphans)
        )
    orphans = [f"member_of{suffix}" for suffix, group in without.items() if group.member_of or group.not_member_of]
    if orphans:
        raise bad(
            "All member_of parameters must be associated with resources. Found the following orphaned member_of "
            f"keys: {', '.join(orphans)}"
        )
    if without:
        raise bad("All request groups must specify resources.")
    if not groups:
        raise bad("At least one request group (`resources` or `resources{$S}`) is required.")


def _check_contradictions(groups: dict[str, Group]) -> None:
    found = [
        f"required{suffix}: ({', '.join(sorted(names))})"
        for suffix, group in groups.items()
        for names in group.required
        if names <= group.forbidden
    ]
    if found:
        raise bad(
            "Conflicting required and forbidden traits found in the following traits keys: "
            + ", ".join(sorted(found))
        )
