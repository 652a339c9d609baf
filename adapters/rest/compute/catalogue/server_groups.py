"""``os-server-groups``. https://docs.openstack.org/api-ref/compute/#server-groups-os-server-groups"""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from adapters.rest.compute import inner_rules
from adapters.rest.kit import since
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.paging import MAX_PAGE, page_limit, page_offset
from adapters.rest.kit.validation import Body, Digits, Integer, Name, Versions, integer
from domain.affinity import SOFT_AFFINITY, SOFT_ANTI_AFFINITY
from domain.catalogue import quota, server_group
from domain.catalogue.server_group import ServerGroup, ServerGroupCreated, ServerGroups
from domain.errors import Invalid

operations = Operations()

RULE = "os_compute_api:os-server-groups"
LIST_QUERY = frozenset(("all_projects", "limit", "offset"))
Policy = Literal["affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"]


class Rules(Body):
    max_server_per_host: Integer | Digits | UnsetType = UNSET


class NewGroup(Body):
    name: Name
    policies: Annotated[
        Annotated[list[Policy], Meta(min_length=1, max_length=1)] | UnsetType, Versions(1, since.GROUP_RULES - 1)
    ] = UNSET
    policy: Annotated[Policy | UnsetType, Versions(since.GROUP_RULES)] = UNSET
    rules: Annotated[Rules | UnsetType, Versions(since.GROUP_RULES)] = UNSET


class CreateBody(Body):
    """``{"server_group": …}``."""

    server_group: NewGroup


@operations("GET", "/os-server-groups", Access.READER, f"{RULE}:index", query=LIST_QUERY)
async def index(call: Call) -> Any:
    """The groups of the caller's project, the oldest first; for an administrator who says so, of all."""
    every = "all_projects" in call.query and call.may(inner_rules.GROUPS_OF_ALL)
    groups = _every(call) if every else iter(_of(call, call.context.project_id or "").by_id.values())
    limit, offset = page_limit(call.query), page_offset(call.query)
    last = offset + (MAX_PAGE if limit is None else min(limit, MAX_PAGE))
    return {"server_groups": [_document(call, group) for group in islice(groups, offset, last)]}


@operations("GET", "/os-server-groups/{group_id}", Access.READER, f"{RULE}:show")
async def show(call: Call) -> Any:
    return {"server_group": _document(call, _find(call))}


@operations("POST", "/os-server-groups", Access.MEMBER, f"{RULE}:create", body=CreateBody)
async def create(call: Call) -> Any:
    asked: NewGroup = call.body.server_group
    project_id, user_id = call.context.project_id, call.context.user_id
    assert project_id
    assert user_id
    created = ServerGroupCreated(
        group_id=call.services.stamp.ids.uuid(),
        name=asked.name,
        policy=_policy(call, asked),
        project_id=project_id,
        user_id=user_id,
        max_per_host=_max_per_host(asked),
    )
    limits = (call.services.registry.of(quota.KIND, project_id) or quota.Quota()).limits
    limit = (limits or call.services.limits.default).server_groups
    groups, accepted = await call.services.registry.execute(
        call.context,
        server_group.aggregate(project_id),
        lambda state: server_group.create(state, created, limit),
    )
    await call.settle(accepted)
    return {"server_group": _document(call, groups.by_id[created.group_id])}


@operations("DELETE", "/os-server-groups/{group_id}", Access.MEMBER, f"{RULE}:delete", status=204)
async def delete(call: Call) -> None:
    """Its members stay where they are, and are held to nothing."""
    group = _find(call)
    _, accepted = await call.services.registry.execute(
        call.context,
        server_group.aggregate(group.project_id),
        lambda state: server_group.delete(state, group.id),
    )
    await call.settle(accepted)


def _of(call: Call, project_id: str) -> ServerGroups:
    return call.services.registry.of(server_group.KIND, project_id) or ServerGroups()


def _every(call: Call) -> Iterator[ServerGroup]:
    for groups in call.services.registry.all(server_group.KIND.name):
        yield from groups.by_id.values()


def _find(call: Call) -> ServerGroup:
    """The group in the path: one of the caller's project, or for an administrator any. Raises Refused (404)."""
    group_id = call.params["group_id"]
    groups = _of(call, call.context.project_id or "")
    if group_id not in groups.by_id and call.is_admin:
        groups = next(
            call.services.registry.listed(server_group.KIND.name, server_group.having(group_id)), ServerGroups()
        )
    if group_id not in groups.by_id:
        raise server_group.missing(group_id)
    return groups.by_id[group_id]


def _policy(call: Call, asked: NewGroup) -> str:
    name = "policy" if call.minor >= since.GROUP_RULES else "policies"
    given = asked.policy if asked.policies is UNSET else asked.policies[0]
    if given is UNSET:
        raise Invalid(f"Invalid input for field/attribute server_group. '{name}' is a required property")
    if call.minor < since.SOFT_GROUP_POLICIES and given in (SOFT_AFFINITY, SOFT_ANTI_AFFINITY):
        raise Invalid(
            f"Invalid input for field/attribute {name}. Value: {given}. {given!r} is not one of ['anti-affinity', "
            "'affinity']"
        )
    return given


def _max_per_host(asked: NewGroup) -> int | None:
    if asked.rules is UNSET or asked.rules.max_server_per_host is UNSET:
        return None
    return integer("max_server_per_host", asked.rules.max_server_per_host, least=1)


def _document(call: Call, group: ServerGroup) -> dict[str, Any]:
    held = call.services.registry.of(quota.KIND, group.project_id) or quota.Quota()
    document: dict[str, Any] = {"id": group.id, "name": group.name, "members": list(held.members_of(group.id))}
    if call.minor >= since.GROUP_RULES:
        document["policy"] = group.policy
        document["rules"] = {} if group.max_per_host is None else {"max_server_per_host": group.max_per_host}
    else:
        document |= {"policies": [group.policy], "metadata": {}}
    if call.minor >= since.GROUP_OWNERS:
        document |= {"project_id": group.project_id, "user_id": group.user_id}
    return document
