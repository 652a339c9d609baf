"""Services, availability zones, extensions, and by what lists can be filtered."""

from collections.abc import Iterable
from typing import Any

from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.times import micros
from adapters.rest.kit.words import words
from adapters.rest.volume import attachments, snapshots, volumes
from adapters.rest.volume import microversion as since
from adapters.rest.volume.documents import BACKEND

operations = Operations()

BINARY = "cinder-volume"
EXTENSIONS = {
    "os-admin-actions": "AdminActions",
    "os-availability-zone": "AvailabilityZones",
    "os-extended-snapshot-attributes": "ExtendedSnapshotAttributes",
    "os-quota-sets": "Quotas",
    "os-services": "Services",
    "os-types-extra-specs": "TypesExtraSpecs",
    "os-used-limits": "UsedLimits",
    "os-vol-image-meta": "VolumeImageMetadata",
    "os-vol-tenant-attr": "VolumeTenantAttribute",
    "os-volume-actions": "VolumeActions",
    "os-volume-type-access": "VolumeTypeAccess",
}


@operations("GET", "/os-services", Access.ADMIN, "volume_extension:services:index",
            query=words("host binary service"), query_strict_from=0)  # fmt: skip
async def services(call: Call) -> Any:
    """The API's processes: one of them at a time makes the bytes of volumes, whichever."""
    liveness = call.services.liveness
    beats = liveness.of_role("api")
    alive = [beat for beat in beats if liveness.alive(beat.name)]
    asked = call.query.get("binary") or call.query.get("service")
    if asked not in (None, "", BINARY) or call.query.get("host") not in (None, "", BACKEND):
        return {"services": []}
    shown: dict[str, Any] = {
        "binary": BINARY,
        "host": BACKEND,
        "zone": call.services.settings.default_zone,
        "status": "enabled",
        "state": "up" if alive else "down",
        "updated_at": micros(max((beat.time for beat in beats), default=None)),
        "disabled_reason": None,
        "replication_status": "disabled",
        "active_backend_id": None,
        "frozen": False,
    }
    if call.minor >= since.CLUSTERS:
        shown["cluster"] = None
    if call.minor >= since.BACKEND_STATE:
        shown["backend_state"] = shown["state"]
    return {"services": [shown]}


@operations("GET", "/os-availability-zone", Access.READER, "volume:availability_zone_list")
async def zones(call: Call) -> Any:
    zone = call.services.settings.default_zone
    return {"availabilityZoneInfo": [{"zoneName": zone, "zoneState": {"available": True}}]}


def _extension(alias: str) -> dict[str, Any]:
    return {
        "alias": alias,
        "name": EXTENSIONS[alias],
        "description": "",
        "links": [],
        "updated": "2013-04-18T00:00:00+00:00",
    }


@operations("GET", "/extensions", Access.READER, "volume:extensions")
async def extensions(_call: Call) -> Any:
    return {"extensions": [_extension(alias) for alias in EXTENSIONS]}


@operations("GET", "/resource_filters", Access.READER, "volume:resource_filters", first=since.RESOURCE_FILTERS,
            query=words("resource"), query_strict_from=0)  # fmt: skip
async def resource_filters(call: Call) -> Any:
    """By what each kind of thing can be filtered."""
    known: dict[str, Iterable[str]] = {
        "volume": volumes.filters(call),
        "snapshot": snapshots.filters(call),
        "attachment": attachments.FILTERS,
    }
    asked = call.query.get("resource")
    return {
        "resource_filters": [
            {"resource": name, "filters": sorted(filters)} for name, filters in known.items() if asked in (None, name)
        ]
    }
