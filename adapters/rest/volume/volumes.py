"""Listing, showing, changing and deleting volumes. https://docs.openstack.org/api-ref/block-storage/v3/#volumes-volumes"""

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import UNSET, UnsetType

from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.paging import flag
from adapters.rest.kit.validation import Body, StringMap, Text255
from adapters.rest.kit.words import words
from adapters.rest.volume import microversion as since
from adapters.rest.volume.access import find_volume, of_project, submit
from adapters.rest.volume.documents import volume_document, volume_summary
from adapters.rest.volume.listing import answer, equals, has_all, newest_first, page, projects, says
from domain.errors import Refused
from domain.neighbours.volume import volumes
from domain.neighbours.volume.state import Storage, Volume

operations = Operations()

FILTERS: dict[str, Callable[[Volume, str], bool]] = {
    "bootable": says("bootable"),
    "multiattach": says("multiattach"),
    "metadata": lambda volume, value: has_all(volume.metadata, value),
    "glance_metadata": lambda volume, value: has_all(volume.image_metadata, value),
    "migration_status": lambda _volume, value: value.lower() == "none",
    "group_id": lambda _volume, _value: False,
    "consistencygroup_id": lambda _volume, _value: False,
} | {name: equals(name) for name in ("id", "name", "status", "availability_zone", "user_id")}
FILTERS["display_name"] = FILTERS["name"]
FILTERS["size"] = equals("size_gb")
SORT_KEYS: dict[str, Callable[[Volume], Any]] = {
    "id": lambda volume: volume.id,
    "name": lambda volume: volume.name,
    "display_name": lambda volume: volume.name,
    "status": lambda volume: volume.status,
    "size": lambda volume: volume.size_gb,
    "created_at": lambda volume: volume.created_at,
    "updated_at": lambda volume: volume.updated_at,
    "availability_zone": lambda volume: volume.availability_zone,
    "bootable": lambda volume: volume.bootable,
}
FIRST_VERSIONS = {
    "glance_metadata": since.GLANCE_METADATA_FILTER,
    "group_id": since.GROUP_FILTER,
}


class VolumeUpdate(Body):
    name: Text255 | UnsetType | None = UNSET
    description: Text255 | UnsetType | None = UNSET
    display_name: Text255 | UnsetType | None = UNSET
    display_description: Text255 | UnsetType | None = UNSET
    metadata: StringMap | UnsetType | None = UNSET


class UpdateBody(Body):
    """``{"volume": …}``."""

    volume: VolumeUpdate


@operations("GET", "/volumes", Access.READER, "volume:get_all")
async def index(call: Call) -> Any:
    found, more, count = _page(call)
    return answer(call, "volumes", "/volumes", [volume_summary(call, each) for each in found], more=more, count=count)


@operations("GET", "/volumes/detail", Access.READER, "volume:get_all")
async def detail(call: Call) -> Any:
    found, more, count = _page(call)
    documents = [volume_document(call, of_project(call, each.project_id), each) for each in found]
    return answer(call, "volumes", "/volumes/detail", documents, more=more, count=count)


def _page(call: Call) -> tuple[list[Volume], bool, int | None]:
    return page(call, _all(call), filters(call), SORT_KEYS)


def filters(call: Call) -> dict[str, Callable[[Volume, str], bool]]:
    """By what volumes can be filtered at the microversion."""
    return {name: matches for name, matches in FILTERS.items() if call.minor >= FIRST_VERSIONS.get(name, 0)}


def _all(call: Call) -> Iterator[Volume]:
    return newest_first(known.volumes for known in projects(call))


@operations("GET", "/volumes/summary", Access.READER, "volume:get_all", first=since.SUMMARY)
async def summary(call: Call) -> Any:
    """How many, and how much of them."""
    found = list(_all(call))
    shown: dict[str, Any] = {"total_count": len(found), "total_size": sum(each.size_gb for each in found)}
    if call.minor >= since.SUMMARY_METADATA:
        merged: dict[str, list[str]] = {}
        for volume in found:
            for name, value in volume.metadata.items():
                if value not in merged.setdefault(name, []):
                    merged[name].append(value)
        shown["metadata"] = merged
    return {"volume-summary": shown}


@operations("GET", "/volumes/{volume_id}", Access.READER, "volume:get")
async def show(call: Call) -> Any:
    found, volume = find_volume(call)
    return {"volume": volume_document(call, found.storage, volume)}


@operations("PUT", "/volumes/{volume_id}", Access.MEMBER, "volume:update", body=UpdateBody)
async def update(call: Call) -> Any:
    asked: VolumeUpdate = call.body.volume
    fields: dict[str, Any] = {}
    for name, other in (("name", "display_name"), ("description", "display_description")):
        given = [value for value in (getattr(asked, name), getattr(asked, other)) if value is not UNSET]
        if given:
            fields[name] = given[0]
    if asked.metadata is not UNSET:
        fields["metadata"] = asked.metadata or {}
    known, volume = await change(call, lambda _: fields)
    return {"volume": volume_document(call, known, volume)}


async def change(call: Call, fields: Callable[[Volume], dict[str, Any]]) -> tuple[Storage, Volume]:
    """Set what a user may set of the volume in the path, by what it is; what is there after. Raises Refused (404),
    and what ``fields`` raises."""
    found, volume = find_volume(call)
    at, request_id = call.services.stamp.clock.now(), call.context.request_id

    def decide(state: Storage) -> Any:
        return volumes.update(state, volume.id, at, request_id, **fields(volumes.existing(state, volume.id)))

    known, _ = await submit(call, found.project_id, decide)
    return known, volumes.existing(known, volume.id)


@operations("DELETE", "/volumes/{volume_id}", Access.MEMBER, "volume:delete", status=202,
            query=words("cascade force"), query_strict_from=0)  # fmt: skip
async def delete(call: Call) -> Any:
    """Delete a volume; with ``cascade`` its snapshots, too. ``force`` is an administrator's."""
    forced = (call.minor >= since.FORCED_DELETION and flag(call.query, "force")) or False
    await remove(call, cascade=flag(call.query, "cascade") or False, force=forced)


async def remove(call: Call, *, cascade: bool, force: bool) -> None:
    """Have the volume in the path deleted. Raises Invalid, and Refused (403, 404)."""
    found, volume = find_volume(call)
    if force and not call.is_admin:
        raise Refused("forbidden", "Policy doesn't allow volume:force_delete to be performed.", status=403)
    at, request_id = call.services.stamp.clock.now(), call.context.request_id
    await submit(
        call, found.project_id,
        lambda state: volumes.delete(state, volume.id, at, request_id, cascade=cascade, force=force),
    )  # fmt: skip
