"""Server groups: servers that shall be on one host, or on different ones. All groups of a project are one aggregate,
so that their number is exact. Who is a member is kept where it is counted, with the project's quota.
"""

from datetime import datetime

import msgspec

from domain.affinity import ANTI_AFFINITY, Terms
from domain.catalogue.quota import UNLIMITED
from domain.errors import Invalid, Refused
from domain.log.kind import EVERY, Kind, unfoldable
from domain.log.record import AggregateId, Event, Metadata


class ServerGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group. Its policy never changes."""

    id: str
    name: str
    policy: str
    max_per_host: int | None = None
    """As it was asked for."""
    project_id: str
    user_id: str
    created_at: datetime


class ServerGroupCreated(Event, tag="server_group.created", frozen=True, kw_only=True):
    """There is a new group."""

    group_id: str
    name: str
    policy: str
    project_id: str
    user_id: str
    max_per_host: int | None = None


class ServerGroupDeleted(Event, tag="server_group.deleted", frozen=True, kw_only=True):
    """The group is no more, and holds its members to nothing; they stay where they are."""

    group_id: str


class ServerGroups(msgspec.Struct, frozen=True, kw_only=True):
    """The groups of one project by id, the oldest first."""

    by_id: dict[str, ServerGroup] = {}
    version: int = 0
    """Counts what has happened to them."""


def aggregate(project_id: str) -> AggregateId:
    return AggregateId("server_group", project_id)


def having(group_id: str) -> str:
    """The list of the project whose group that is."""
    return f"group {group_id}"


def missing(group_id: str) -> Refused:
    """The refusal for a group that is not there, or that the caller must not know of."""
    return Refused("group.not_found", f"Instance group {group_id} could not be found.", status=404)


def create(groups: ServerGroups | None, event: ServerGroupCreated, limit: int) -> ServerGroupCreated:
    """Have a new group, if the project has fewer than ``limit``. Raises Refused (403), and Invalid for a rule that
    its policy does not know."""
    if event.max_per_host is not None and event.policy != ANTI_AFFINITY:
        raise Invalid("Only anti-affinity policy supports rules.")
    if limit != UNLIMITED and len(groups.by_id if groups else ()) >= limit:
        raise Refused("quota.exceeded", "Quota exceeded, too many server groups.", status=403)
    return event


def delete(groups: ServerGroups | None, group_id: str) -> ServerGroupDeleted:
    """Have it no more. Raises Refused (404)."""
    if groups is None or group_id not in groups.by_id:
        raise missing(group_id)
    return ServerGroupDeleted(group_id=group_id)


def terms(groups: ServerGroups | None, group_id: str) -> Terms:
    """What a new member of the group is held to. Raises Refused (404)."""
    group = groups.by_id.get(group_id) if groups else None
    if groups is None or group is None:
        raise missing(group_id)
    return Terms(
        group_id=group.id, policy=group.policy, max_per_host=group.max_per_host or 1, known_at=groups.version
    )


def in_force(groups: ServerGroups | None, agreed: Terms) -> bool:
    """Whether there still is the group, as far as is known here: only what is at least as new as its member's terms
    tells that it is gone."""
    return groups is None or groups.version < agreed.known_at or agreed.group_id in groups.by_id


def evolve(state: ServerGroups | None, event: Event, meta: Metadata) -> ServerGroups:
    groups = state or ServerGroups()
    by_id = dict(groups.by_id)
    match event:
        case ServerGroupCreated():
            by_id[event.group_id] = ServerGroup(
                id=event.group_id,
                name=event.name,
                policy=event.policy,
                max_per_host=event.max_per_host,
                project_id=event.project_id,
                user_id=event.user_id,
                created_at=meta.time,
            )
        case ServerGroupDeleted():
            del by_id[event.group_id]
        case _:
            raise unfoldable(event)
    return ServerGroups(by_id=by_id, version=groups.version + 1)


KIND = Kind(
    "server_group",
    (ServerGroupCreated, ServerGroupDeleted),
    evolve,
    lists=lambda groups: (*((EVERY,) if groups.by_id else ()), *map(having, groups.by_id)),
)
