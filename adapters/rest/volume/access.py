"""What a request may see of the storage of projects, and how it is changed."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from adapters.rest.kit.operation import Call
from domain.errors import not_found
from domain.neighbours import volume_type
from domain.neighbours.volume import state as storage
from domain.neighbours.volume.changes import StorageChange, VolumeLimits
from domain.neighbours.volume.state import Attachment, Snapshot, Storage, Volume
from domain.neighbours.volume_type import VolumeTypes
from handlers.neighbours.volumes import usable


class Found(NamedTuple):
    """The storage in which something was found that the caller may use."""

    project_id: str
    storage: Storage


def all_usable(call: Call) -> Iterator[tuple[str, Storage]]:
    return usable(call.services.registry, call.context)


def find_volume(call: Call, volume_id: str | None = None) -> tuple[Found, Volume]:
    """The volume of that id, or the one in the path; raises Refused (404)."""
    wanted = volume_id or call.params["volume_id"]
    for project_id, known in all_usable(call):
        if wanted in known.volumes:
            return Found(project_id, known), known.volumes[wanted]
    raise not_found("Volume", wanted)


def find_snapshot(call: Call, snapshot_id: str | None = None) -> tuple[Found, Snapshot]:
    """The snapshot of that id, or the one in the path; raises Refused (404)."""
    wanted = snapshot_id or call.params["snapshot_id"]
    for project_id, known in all_usable(call):
        if wanted in known.snapshots:
            return Found(project_id, known), known.snapshots[wanted]
    raise not_found("Snapshot", wanted)


def find_attachment(call: Call) -> tuple[Found, Attachment]:
    """The attachment in the path; raises Refused (404)."""
    wanted = call.params["attachment_id"]
    for project_id, known in all_usable(call):
        if wanted in known.attachments:
            return Found(project_id, known), known.attachments[wanted]
    raise not_found("Volume attachment", wanted)


def default_limits(call: Call) -> VolumeLimits:
    """Those of a project that has none of its own."""
    return call.services.limits.stock.storage


def types(call: Call) -> VolumeTypes:
    return call.services.registry.of(volume_type.KIND, volume_type.CATALOGUE.id) or VolumeTypes()


async def submit(
    call: Call, project_id: str, decide: Callable[[Storage], Sequence[StorageChange]]
) -> tuple[Storage, Sequence[Any]]:
    """Record what ``decide`` decides, and wait until it shows; the storage after, and the changes."""
    aggregate = storage.aggregate(project_id)
    changes, accepted = await call.services.registry.submit(call.context, aggregate, decide)
    await call.settle(accepted)
    return of_project(call, project_id), changes


def of_project(call: Call, project_id: str) -> Storage:
    """All that a project has."""
    return call.services.registry.of(storage.KIND, project_id) or Storage()
