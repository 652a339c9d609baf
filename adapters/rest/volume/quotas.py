"""Quota sets and limits of block storage. What else Cinder limits is shown with this system's fixed figures."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import asdict

from adapters.rest.kit.operation import Access, Call, Operations, Rule, empty
from adapters.rest.kit.paging import flag
from adapters.rest.kit.validation import Body, Text255, integer
from adapters.rest.kit.words import words
from adapters.rest.volume import microversion as since
from adapters.rest.volume.access import default_limits, of_project, submit
from domain.errors import Invalid, Refused
from domain.neighbours.volume import quotas
from domain.neighbours.volume import state as storage
from domain.neighbours.volume.changes import VolumeLimits
from domain.neighbours.volume.quotas import UNLIMITED
from domain.neighbours.volume.state import Storage

operations = Operations()

RULE = "volume_extension:quotas"
FIXED = {"groups": 0, "backups": 0, "backup_gigabytes": 0}
"""There are none."""
Limit = Annotated[int, Meta(ge=-1, le=2**31 - 1)] | Annotated[str, Meta(max_length=10, pattern=r"^(-1|[0-9]+)\Z")]


class QuotaSetUpdate(Body):
    """The limits that are to change."""

    volumes: Limit | UnsetType = UNSET
    snapshots: Limit | UnsetType = UNSET
    gigabytes: Limit | UnsetType = UNSET
    per_volume_gigabytes: Limit | UnsetType = UNSET
    groups: Limit | UnsetType = UNSET
    backups: Limit | UnsetType = UNSET
    backup_gigabytes: Limit | UnsetType = UNSET
    tenant_id: Text255 | UnsetType = UNSET


class UpdateBody(Body):
    """``{"quota_set": …}``."""

    quota_set: QuotaSetUpdate


async def _readable(call: Call) -> str:
    """The project in the path: the caller's own, or any for an administrator. Raises Invalid, and Refused (403)."""
    project_id = call.params["project_id"]
    call.require(Rule(f"{RULE}:show", Access.READER), project_id=project_id)
    return await _existing(call)


async def _existing(call: Call) -> str:
    project_id = call.params["project_id"]
    if project_id != call.context.project_id and not await call.services.neighbours.identity.project_exists(
        project_id
    ):
        raise Refused("project.not_found", f"Project {project_id} could not be found.", status=404)
    return project_id


def _used(known: Storage) -> dict[str, int]:
    return {"volumes": len(known.volumes), "snapshots": len(known.snapshots), "gigabytes": known.gigabytes}


@operations("GET", "/os-quota-sets/{project_id}", Access.READER, f"{RULE}:show", query=words("usage user_id"),
            query_strict_from=0)  # fmt: skip
async def show(call: Call) -> Any:
    """A project's limits; with ``usage`` what it uses, too."""
    project_id = await _readable(call)
    known = of_project(call, project_id)
    limits: dict[str, Any] = asdict(known.limits or default_limits(call)) | FIXED
    if flag(call.query, "usage"):
        used = _used(known)
        limits = {
            name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0, "allocated": 0}
            for name, limit in limits.items()
        }
    return {"quota_set": {"id": project_id} | limits}


@operations("GET", "/os-quota-sets/{project_id}/defaults", Access.READER, f"{RULE}:show")
async def defaults(call: Call) -> Any:
    """The limits of a project that has none of its own."""
    return {"quota_set": {"id": await _existing(call)} | asdict(default_limits(call)) | FIXED}


@operations("PUT", "/os-quota-sets/{project_id}", Access.ADMIN, f"{RULE}:update", body=UpdateBody,
            query=words("skip_validation"), query_strict_from=0)  # fmt: skip
async def update(call: Call) -> Any:
    """Give a project limits of its own. They may be below what it uses: then it gets no more."""
    project_id = await _existing(call)
    asked: QuotaSetUpdate = call.body.quota_set
    for name, limit in FIXED.items():
        value = getattr(asked, name)
        if value is not UNSET and int(value) != limit:
            raise Invalid(f"Quota limit for {name} is {limit} in this cloud and cannot be changed.")
    given = {
        name: integer(name, value, least=UNLIMITED)
        for name in VolumeLimits.__struct_fields__
        if (value := getattr(asked, name)) is not UNSET
    }
    default, at = default_limits(call), call.services.stamp.clock.now()

    def decide(state: Storage) -> Any:
        limits = VolumeLimits(**(asdict(state.limits or default) | given))
        return quotas.set_limits(state, default, limits, at, call.context.request_id)

    known, _ = await submit(call, project_id, decide)
    return {"quota_set": asdict(known.limits or default) | FIXED}


@operations("DELETE", "/os-quota-sets/{project_id}", Access.ADMIN, f"{RULE}:delete")
async def delete(call: Call) -> Any:
    """Go back to the defaults; also of a project that is gone."""
    project_id = call.params["project_id"]
    if call.services.registry.of(storage.KIND, project_id) is not None:
        default, at = default_limits(call), call.services.stamp.clock.now()
        await submit(
            call, project_id, lambda state: quotas.set_limits(state, default, None, at, call.context.request_id)
        )
    return empty(200)


@operations("GET", "/limits", Access.READER, "limits_extension:used_limits", query=words("project_id tenant_id"),
            query_strict_from=0)  # fmt: skip
async def limits_of_caller(call: Call) -> Any:
    """The caller's limits and usage, or for an administrator another project's."""
    project_id = call.query.get("project_id") or call.context.project_id or ""
    if project_id != call.context.project_id and not (call.is_admin and call.minor >= since.LIMITS_OF_PROJECT):
        raise Refused("forbidden", "Policy doesn't allow limits of other projects to be shown.", status=403)
    known = of_project(call, project_id)
    limits, used = known.limits or default_limits(call), _used(known)
    absolute = {
        "maxTotalVolumes": limits.volumes,
        "maxTotalSnapshots": limits.snapshots,
        "maxTotalVolumeGigabytes": limits.gigabytes,
        "maxTotalBackups": FIXED["backups"],
        "maxTotalBackupGigabytes": FIXED["backup_gigabytes"],
        "totalVolumesUsed": used["volumes"],
        "totalSnapshotsUsed": used["snapshots"],
        "totalGigabytesUsed": used["gigabytes"],
        "totalBackupsUsed": 0,
        "totalBackupGigabytesUsed": 0,
    }
    return {"limits": {"rate": [], "absolute": absolute}}
