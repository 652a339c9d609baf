"""Snapshots. https://docs.openstack.org/api-ref/block-storage/v3/#volume-snapshots-snapshots"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, Flag, StringMap, Text255, boolean, identifier
from adapters.rest.volume import microversion as since
from adapters.rest.volume.access import default_limits, find_snapshot, find_volume, submit
from adapters.rest.volume.documents import snapshot_document, snapshot_summary
from adapters.rest.volume.listing import answer, equals, has_all, newest_first, page, projects
from domain.neighbours.volume import snapshots
from domain.neighbours.volume.changes import SnapshotRequested
from domain.neighbours.volume.state import Snapshot, Storage

operations = Operations()

FILTERS: dict[str, Callable[[Snapshot, str], bool]] = {
    name: equals(name) for name in ("id", "name", "status", "volume_id", "user_id")
}
FILTERS["display_name"] = FILTERS["name"]
FILTERS["size"] = equals("size_gb")
SORT_KEYS: dict[str, Callable[[Snapshot], Any]] = {
    "id": lambda snapshot: snapshot.id,
    "status": lambda snapshot: snapshot.status,
    "size": lambda snapshot: snapshot.size_gb,
    "created_at": lambda snapshot: snapshot.created_at,
    "updated_at": lambda snapshot: snapshot.updated_at,
    "volume_id": lambda snapshot: snapshot.volume_id,
    "name": lambda snapshot: snapshot.name,
    "display_name": lambda snapshot: snapshot.name,
}


class NewSnapshot(Body):
    volume_id: Text255
    name: Text255 | None = None
    description: Text255 | None = None
    display_name: Text255 | None = None
    display_description: Text255 | None = None
    force: Flag | None = None
    metadata: StringMap | None = None


class CreateBody(Body):
    """``{"snapshot": …}``."""

    snapshot: NewSnapshot


class SnapshotUpdate(Body):
    name: Text255 | UnsetType | None = UNSET
    description: Text255 | UnsetType | None = UNSET
    display_name: Text255 | UnsetType | None = UNSET
    display_description: Text255 | UnsetType | None = UNSET


class UpdateBody(Body):
    """``{"snapshot": …}``."""

    snapshot: SnapshotUpdate


class Reset(Body):
    status: Literal[snapshots.STATUSES]  # type: ignore[valid-type]


class ResetBody(Body):
    reset: Reset = msgspec.field(name="os-reset_status")


@operations("GET", "/snapshots", Access.READER, "volume:get_all_snapshots")
async def index(call: Call) -> Any:
    found, more, count = _page(call)
    return answer(call, "snapshots", "/snapshots", list(map(snapshot_summary, found)), more=more, count=count)


@operations("GET", "/snapshots/detail", Access.READER, "volume:get_all_snapshots")
async def detail(call: Call) -> Any:
    found, more, count = _page(call)
    documents = [snapshot_document(call, each) for each in found]
    return answer(call, "snapshots", "/snapshots/detail", documents, more=more, count=count)


def _page(call: Call) -> tuple[list[Snapshot], bool, int | None]:
    sort_keys = dict(SORT_KEYS)
    if call.minor < since.SORTED_SNAPSHOTS:
        del sort_keys["name"]
    return page(call, newest_first(known.snapshots for known in projects(call)), filters(call), sort_keys)


def filters(call: Call) -> dict[str, Callable[[Snapshot, str], bool]]:
    """By what snapshots can be filtered at the microversion."""
    zone = call.services.settings.default_zone
    known = FILTERS | {"availability_zone": lambda _snapshot, value: value == zone}
    if call.minor >= since.SNAPSHOT_METADATA_FILTER:
        known["metadata"] = lambda snapshot, value: has_all(snapshot.metadata, value)
    return known


@operations("POST", "/snapshots", Access.MEMBER, "volume:create_snapshot", body=CreateBody, status=202)
async def create(call: Call) -> Any:
    """Keep what a volume holds now. With ``force`` also one that a server has."""
    asked: NewSnapshot = call.body.snapshot
    found, volume = find_volume(call, identifier("volume_id", asked.volume_id))
    forced = asked.force is not None and boolean("force", asked.force)
    wanted = SnapshotRequested(
        snapshot_id=call.services.stamp.ids.uuid(),
        volume_id=volume.id,
        project_id=found.project_id,
        user_id=call.context.user_id,
        name=asked.name if asked.name is not None else asked.display_name,
        description=asked.description if asked.description is not None else asked.display_description,
        size_gb=volume.size_gb,
        metadata=asked.metadata or {},
        at=call.services.stamp.clock.now(),
        request_id=call.context.request_id,
    )
    limits = default_limits(call)
    known, _ = await submit(
        call, found.project_id, lambda state: snapshots.request(state, limits, wanted, in_use=forced)
    )
    return {"snapshot": snapshot_summary(snapshots.existing(known, wanted.snapshot_id))}


@operations("GET", "/snapshots/{snapshot_id}", Access.READER, "volume:get_snapshot")
async def show(call: Call) -> Any:
    return {"snapshot": snapshot_document(call, find_snapshot(call)[1])}


@operations("PUT", "/snapshots/{snapshot_id}", Access.MEMBER, "volume:update_snapshot", body=UpdateBody)
async def update(call: Call) -> Any:
    asked: SnapshotUpdate = call.body.snapshot
    fields: dict[str, Any] = {}
    for name, other in (("name", "display_name"), ("description", "display_description")):
        given = [value for value in (getattr(asked, name), getattr(asked, other)) if value is not UNSET]
        if given:
            fields[name] = given[0]
    return {"snapshot": snapshot_summary(await change(call, lambda _: fields))}


async def change(call: Call, fields: Callable[[Snapshot], dict[str, Any]]) -> Snapshot:
    """Set what a user may set of the snapshot in the path, by what it is; what is there after. Raises Refused (404),
    and what ``fields`` raises."""
    found, snapshot = find_snapshot(call)
    at, request_id = call.services.stamp.clock.now(), call.context.request_id

    def decide(state: Storage) -> Any:
        return snapshots.update(state, snapshot.id, at, request_id, **fields(snapshots.existing(state, snapshot.id)))

    known, _ = await submit(call, found.project_id, decide)
    return snapshots.existing(known, snapshot.id)


@operations("DELETE", "/snapshots/{snapshot_id}", Access.MEMBER, "volume:delete_snapshot", status=202)
async def delete(call: Call) -> None:
    await _remove(call, force=False)


@operations("POST", "/snapshots/{snapshot_id}/action", Access.ADMIN,
            "volume_extension:snapshot_admin_actions:force_delete", action="os-force_delete", status=202)  # fmt: skip
async def force_delete(call: Call) -> None:
    await _remove(call, force=True)


async def _remove(call: Call, *, force: bool) -> None:
    found, snapshot = find_snapshot(call)
    at, request_id = call.services.stamp.clock.now(), call.context.request_id
    await submit(
        call, found.project_id, lambda state: snapshots.delete(state, snapshot.id, at, request_id, force=force)
    )


@operations("POST", "/snapshots/{snapshot_id}/action", Access.ADMIN,
            "volume_extension:snapshot_admin_actions:reset_status", action="os-reset_status", body=ResetBody,
            status=202)  # fmt: skip
async def reset_status(call: Call) -> None:
    """Say how a snapshot is."""
    found, snapshot = find_snapshot(call)
    at, request_id, status = call.services.stamp.clock.now(), call.context.request_id, str(call.body.reset.status)
    await submit(call, found.project_id, lambda state: snapshots.reset(state, snapshot.id, status, at, request_id))
