"""Listing servers: Nova's query parameters as a filter. https://docs.openstack.org/api-ref/compute/#list-servers"""

import re
import warnings
from typing import Any

import msgspec
from starlette.datastructures import QueryParams

from adapters.rest.compute import inner_rules, links
from adapters.rest.compute.servers.access import host_of
from adapters.rest.compute.servers.status import NEVER_HERE, states_of
from adapters.rest.compute.servers.view import basic, detailed
from adapters.rest.kit import since
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.paging import MAX_PAGE, TRUE, flag, page_limit
from adapters.rest.kit.times import parse
from adapters.rest.kit.words import words
from domain.errors import Invalid, Refused
from domain.guest import PowerState
from domain.server.listing import NEWEST_FIRST, SORT_KEYS, ServerFilter
from domain.server.state import DELETED, Server

operations = Operations()

SUPPORTED = words(
    "all_tenants availability_zone changes-before changes-since config_drive deleted description flavor host "
    "hostname image ip ip6 key_name limit locked marker name node not-tags not-tags-any power_state project_id "
    "reservation_id sort_dir sort_key status tags tags-any task_state tenant_id user_id uuid vm_state"
)
UNSUPPORTED = words(
    "locked_by launch_index access_ip_v4 access_ip_v6 pinned_availability_zone launched_at created_at terminated_at "
    "progress"
)
"""What this system cannot search by. It says so rather than give a wrong answer."""
WITHOUT_EFFECT = words(
    "instance_type_id kernel_id ramdisk_id root_device_name soft_deleted auto_disk_config display_name image_ref"
)
QUERY = SUPPORTED | UNSUPPORTED | WITHOUT_EFFECT
"""Together, what Nova's listing knows (its query schema)."""

MAX_EXPRESSION = 255
"""Characters of a regular expression: what it is looked for in is no longer."""
_BACK_REFERENCE = re.compile(r"(?<!\\)(?:\\\\)*\\[1-9]|\(\?P=")

SORT_ALIASES = {"name": "display_name", "id": "uuid", "flavor": "instance_type_id", "image": "image_ref"}


@operations("GET", "/servers", Access.READER, "os_compute_api:servers:index", query=QUERY)
async def index(call: Call) -> Any:
    found, more = await _page(call)
    return _listing(call, "/servers", [basic(call, server) for server in found], more=more)


@operations("GET", "/servers/detail", Access.READER, "os_compute_api:servers:detail", query=QUERY)
async def detail(call: Call) -> Any:
    found, more = await _page(call)
    documents = [detailed(call, server, host_of(call, server), alone=False) for server in found]
    return _listing(call, "/servers/detail", documents, more=more)


def _listing(call: Call, path: str, documents: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"servers": documents}
    if more:
        answer["servers_links"] = links.following(call, path, documents[-1]["id"])
    return answer


async def _page(call: Call) -> tuple[list[Server], bool]:
    """The servers asked for, and whether there are more."""
    wanted = _filter(call)
    asked = page_limit(call.query)
    limit = MAX_PAGE if asked is None else min(asked, MAX_PAGE)
    if wanted is None or limit == 0:
        return [], False
    found = await call.services.queries.servers(msgspec.structs.replace(wanted, limit=limit + 1))
    return found[:limit], len(found) > limit


def _filter(call: Call) -> ServerFilter | None:
    """The query string as a filter; None if nothing can match it."""
    query = call.query
    for name in query:
        if name in UNSUPPORTED:
            raise Invalid(f"This cloud cannot list servers by {name}.")
    vm_states, task_states = _states(call)
    if vm_states is None:
        return None
    return ServerFilter(
        project_id=_project(call),
        user_id=query.get("user_id") if call.is_admin else None,
        name=_expression(query, "name"),
        description=_expression(query, "description"),
        hostname=_expression(query, "hostname"),
        ip=_expression(query, "ip") or _expression(query, "ip6"),
        locked=_locked(call),
        config_drive=flag(query, "config_drive") if "config_drive" in query else None,
        tags=_tags(call, "tags"),
        tags_any=_tags(call, "tags-any"),
        not_tags=_tags(call, "not-tags"),
        not_tags_any=_tags(call, "not-tags-any"),
        vm_states=vm_states,
        task_states=task_states,
        power_state=_power_state(query.get("power_state")),
        ids=tuple(query.getlist("uuid")),
        host=(query.get("host") or query.get("node")) if call.is_admin else None,
        availability_zone=query.get("availability_zone"),
        flavor_id=query.get("flavor"),
        image_id=query.get("image"),
        key_name=query.get("key_name"),
        reservation_id=query.get("reservation_id"),
        deleted=_deleted(call),
        changes_since=parse("changes-since", query["changes-since"]) if "changes-since" in query else None,
        changes_before=parse("changes-before", query["changes-before"]) if "changes-before" in query else None,
        marker=query.get("marker"),
        sort=_sort(call),
    )


def _project(call: Call) -> str | None:
    """Whose servers: an administrator may ask for all, or with ``all_tenants`` for those of one project."""
    asked_all = flag(call.query, "all_tenants")
    if asked_all:
        call.require(inner_rules.ALL_PROJECTS)
        return call.query.get("project_id") or call.query.get("tenant_id")
    return call.context.project_id


def _states(call: Call) -> tuple[tuple[str, ...] | None, tuple[str | None, ...]]:
    statuses = call.query.getlist("status")
    if not statuses:
        task_state = call.query.get("task_state")
        vm_state = call.query.get("vm_state")
        return (vm_state,) if vm_state else (), (task_state,) if task_state else ()
    vm_states: list[str] = []
    task_states: list[str] = []
    any_task = False
    for status in statuses:
        its_vm_states, its_task_states = states_of(status)
        if not its_vm_states and status.upper() not in NEVER_HERE and call.minor >= since.STATUS_CHECKED:
            raise Invalid(f"Invalid status value: {status}")
        vm_states += its_vm_states
        task_states += its_task_states
        any_task = any_task or (bool(its_vm_states) and not its_task_states)
    if DELETED in vm_states and not call.is_admin:
        raise Refused("forbidden", "Only administrators may list deleted servers", status=403)
    return (tuple(vm_states) or None), () if any_task else tuple(task_states)


def _deleted(call: Call) -> bool | None:
    """Deleted servers are an administrator's; with changes-since everybody sees their own."""
    if "changes-since" in call.query or "changes-before" in call.query:
        return None
    if not call.is_admin:
        return False
    if "DELETED" in [status.upper() for status in call.query.getlist("status")]:
        return True
    return call.query.get("deleted", "").lower() in TRUE  # whatever else it says is no, as in Nova


def _expression(query: QueryParams, name: str) -> str | None:
    text = query.get(name)
    if text is None:
        return None
    problem = ""
    if len(text) > MAX_EXPRESSION:
        problem = f"is longer than {MAX_EXPRESSION} characters"
    elif _BACK_REFERENCE.search(text):
        problem = "refers back to a group: with that a search may take for ever"
    else:
        try:
            with warnings.catch_warnings():
                # What Python may make of it some day is nothing to PostgreSQL.
                warnings.simplefilter("ignore", FutureWarning)
                re.compile(text)
        except (re.error, OverflowError, RecursionError):
            problem = "is not a regular expression"
    if problem:
        raise Invalid(f"Invalid input for query parameters {name}. Value: {text[:64]}. {text[:64]!r} {problem}")
    return text


def _tags(call: Call, name: str) -> tuple[str, ...]:
    """A list with commas; before 2.26 there were no tags to ask for."""
    text = call.query.get(name, "") if call.minor >= since.TAGS else ""
    return tuple(tag for tag in text.split(",") if tag)


def _locked(call: Call) -> bool | None:
    return flag(call.query, "locked") if "locked" in call.query and call.minor >= since.LOCKED_REASON else None


def _power_state(text: str | None) -> PowerState | None:
    if text is None:
        return None
    try:
        return PowerState(int(text))
    except ValueError:
        raise Invalid(f"Invalid input for query parameters power_state. Value: {text}.") from None


def _sort(call: Call) -> tuple[tuple[str, str], ...]:
    keys = [SORT_ALIASES.get(key, key) for key in call.query.getlist("sort_key")]
    directions = call.query.getlist("sort_dir")
    if not keys and not directions:
        return NEWEST_FIRST
    for key in keys:
        if key not in SORT_KEYS:
            raise Invalid(f"Invalid input for query parameters sort_key. Value: {key}. {key!r} is no sort key")
    for direction in directions:
        if direction not in ("asc", "desc"):
            raise Invalid(f"Invalid input for query parameters sort_dir. Value: {direction}.")
    keys = keys or ["created_at"]
    filled = directions + [directions[0] if directions else "desc"] * (len(keys) - len(directions))
    first: dict[str, str] = {}
    for key, direction in zip(keys, filled, strict=False):
        first.setdefault(key, direction)  # what is sorted by already, a later mention does not change
    return tuple(first.items())
