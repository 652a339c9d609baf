"""Quota sets and limits.

Instances, cores, RAM, server groups and their members are limited per project; what else Nova limits is shown with
this system's fixed figures (-1: no limit).
"""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from adapters.rest.compute import inner_rules
from adapters.rest.kit import since
from adapters.rest.kit.operation import Access, Call, Operations, Rule, empty
from adapters.rest.kit.validation import Body, Flag, Versions, boolean, integer
from domain.catalogue import quota, server_group
from domain.catalogue.keypair import MAX_KEYPAIRS
from domain.catalogue.quota import UNLIMITED, Limits, LimitsSet, Quota
from domain.errors import Invalid
from domain.server.limits import MAX_FILE_BYTES, MAX_FILE_PATH, MAX_FILES, MAX_METADATA

operations = Operations()

RULE = "os_compute_api:os-quota-sets"

FIXED = {"key_pairs": MAX_KEYPAIRS, "metadata_items": MAX_METADATA}
LIMITED = {
    "instances": "instances",
    "cores": "cores",
    "ram": "ram_mb",
    "server_groups": "server_groups",
    "server_group_members": "server_group_members",
}
"""The limits that are a project's own: Nova's name, and ours."""
INJECTION = {
    "injected_files": MAX_FILES,
    "injected_file_content_bytes": MAX_FILE_BYTES,
    "injected_file_path_bytes": MAX_FILE_PATH,
}
"""Before 2.57."""
NETWORKING = {
    "fixed_ips": UNLIMITED,
    "floating_ips": UNLIMITED,
    "security_groups": UNLIMITED,
    "security_group_rules": UNLIMITED,
}
"""Before 2.36."""

Limit = Annotated[int, Meta(ge=-1, le=2**31 - 1)] | Annotated[str, Meta(max_length=10, pattern=r"^(-1|[0-9]+)\Z")]


class QuotaSetUpdate(Body):
    """The limits that are to change."""

    instances: Limit | UnsetType = UNSET
    cores: Limit | UnsetType = UNSET
    ram: Limit | UnsetType = UNSET
    key_pairs: Limit | UnsetType = UNSET
    metadata_items: Limit | UnsetType = UNSET
    server_groups: Limit | UnsetType = UNSET
    server_group_members: Limit | UnsetType = UNSET
    injected_files: Annotated[Limit | UnsetType, Versions(1, 56)] = UNSET
    injected_file_content_bytes: Annotated[Limit | UnsetType, Versions(1, 56)] = UNSET
    injected_file_path_bytes: Annotated[Limit | UnsetType, Versions(1, 56)] = UNSET
    fixed_ips: Annotated[Limit | UnsetType, Versions(1, 35)] = UNSET
    floating_ips: Annotated[Limit | UnsetType, Versions(1, 35)] = UNSET
    security_groups: Annotated[Limit | UnsetType, Versions(1, 35)] = UNSET
    security_group_rules: Annotated[Limit | UnsetType, Versions(1, 35)] = UNSET
    force: Flag | UnsetType = UNSET


class UpdateBody(Body):
    """``{"quota_set": …}``."""

    quota_set: QuotaSetUpdate


def _usage(call: Call, project_id: str) -> Quota:
    return call.services.registry.of(quota.KIND, project_id) or Quota()


def _groups(call: Call, project_id: str) -> int:
    groups = call.services.registry.of(server_group.KIND, project_id)
    return len(groups.by_id) if groups else 0


def _limits(call: Call, limits: Limits) -> dict[str, int]:
    shown = {name: getattr(limits, field) for name, field in LIMITED.items()} | FIXED
    if call.minor < since.NO_PERSONALITY:
        shown |= INJECTION
    if call.minor < since.NO_NETWORK_PROXIES:
        shown |= NETWORKING
    return shown


async def _readable(call: Call, rule: str) -> str:
    """The project in the path: the caller's own, or any for an administrator."""
    call.require(Rule(f"{RULE}:{rule}", Access.READER), project_id=call.params["project_id"])
    return await _existing(call)


async def _existing(call: Call) -> str:
    """The project in the path, which there must be: limits of a name that is none would hold for nobody."""
    project_id = call.params["project_id"]
    if project_id != call.context.project_id and not await call.services.neighbours.identity.project_exists(
        project_id
    ):
        raise Invalid(f"Project ID {project_id} is not a valid project.")
    return project_id


@operations("GET", "/os-quota-sets/{project_id}", Access.READER, f"{RULE}:show", query=frozenset(("user_id",)))
async def show(call: Call) -> Any:
    project_id = await _readable(call, "show")
    limits = _usage(call, project_id).limits or call.services.limits.default
    return {"quota_set": {"id": project_id} | _limits(call, limits)}


@operations("GET", "/os-quota-sets/{project_id}/defaults", Access.TOKEN, f"{RULE}:defaults")
async def defaults(call: Call) -> Any:
    """The limits of a project that has none of its own."""
    return {"quota_set": {"id": await _existing(call)} | _limits(call, call.services.limits.default)}


@operations("GET", "/os-quota-sets/{project_id}/detail", Access.READER, f"{RULE}:detail",
            query=frozenset(("user_id",)))  # fmt: skip
async def detail(call: Call) -> Any:
    """A project's limits and what it uses."""
    project_id = await _readable(call, "detail")
    usage = _usage(call, project_id)
    used = {
        "instances": len(usage.reservations),
        "cores": usage.cores,
        "ram": usage.ram_mb,
        "server_groups": _groups(call, project_id),
    }
    limits = _limits(call, usage.limits or call.services.limits.default)
    shown = {name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0} for name, limit in limits.items()}
    return {"quota_set": {"id": project_id} | shown}


@operations("PUT", "/os-quota-sets/{project_id}", Access.ADMIN, f"{RULE}:update", body=UpdateBody,
            query=frozenset(("user_id",)))  # fmt: skip
async def update(call: Call) -> Any:
    """Give a project limits of its own."""
    project_id = await _existing(call)
    asked: QuotaSetUpdate = call.body.quota_set
    _refuse_fixed(asked)
    forced = asked.force is not UNSET and boolean("force", asked.force)
    if call.query.get("user_id"):
        raise Invalid("Limits are kept for projects, not for users.")

    def decide(state: Quota) -> tuple[LimitsSet, ...]:
        limits = state.limits or call.services.limits.default
        used = {
            "instances": len(state.reservations),
            "cores": state.cores,
            "ram": state.ram_mb,
            "server_groups": _groups(call, project_id),
        }
        changes = {}
        for name, field in LIMITED.items():
            value = getattr(asked, name)
            if value is UNSET:
                continue
            changes[field] = integer(name, value, least=UNLIMITED)
            in_use = used.get(name, 0)
            if not forced and UNLIMITED < changes[field] < in_use:
                raise Invalid(
                    f"Quota limit {value} for {name} must be greater than or equal to already used and reserved "
                    f"{in_use}."
                )
        changed = replace(limits, **changes)
        return () if changed == limits else (LimitsSet(limits=changed, request_id=call.context.request_id),)

    _, accepted = await call.services.registry.submit(call.context, quota.aggregate(project_id), decide)
    await call.settle(accepted)
    return {"quota_set": _limits(call, _usage(call, project_id).limits or call.services.limits.default)}


def _refuse_fixed(asked: QuotaSetUpdate) -> None:
    for name, limit in (FIXED | INJECTION | NETWORKING).items():
        value = getattr(asked, name)
        if value is not UNSET and int(value) != limit:
            raise Invalid(f"Quota limit for {name} is {limit} in this cloud and cannot be changed.")


@operations("DELETE", "/os-quota-sets/{project_id}", Access.ADMIN, f"{RULE}:delete", status=202,
            query=frozenset(("user_id",)))  # fmt: skip
async def delete(call: Call) -> Any:
    """Go back to the defaults. As in Nova, also for a project that is gone, but never for what cannot be one."""
    project_id = call.params["project_id"]
    if call.services.registry.of(quota.KIND, project_id) is None:
        return empty(202)

    def decide(state: Quota) -> tuple[LimitsSet, ...]:
        return (LimitsSet(limits=None, request_id=call.context.request_id),) if state.limits else ()

    _, accepted = await call.services.registry.submit(call.context, quota.aggregate(project_id), decide)
    await call.settle(accepted)
    return empty(202)


@operations("GET", "/limits", Access.READER, "os_compute_api:limits",
            query=frozenset(("tenant_id", "reserved")))  # fmt: skip
async def limits_of_caller(call: Call) -> Any:
    """The caller's limits and usage, or for an administrator another project's."""
    project_id = call.query.get("tenant_id") or call.context.project_id or ""
    if project_id != call.context.project_id:
        call.require(inner_rules.OTHER_PROJECT)
    usage = _usage(call, project_id)
    limits = usage.limits or call.services.limits.default
    absolute = {
        "maxTotalInstances": limits.instances,
        "maxTotalCores": limits.cores,
        "maxTotalRAMSize": limits.ram_mb,
        "maxTotalKeypairs": MAX_KEYPAIRS,
        "maxServerMeta": FIXED["metadata_items"],
        "maxServerGroups": limits.server_groups,
        "maxServerGroupMembers": limits.server_group_members,
        "totalInstancesUsed": len(usage.reservations),
        "totalCoresUsed": usage.cores,
        "totalRAMUsed": usage.ram_mb,
        "totalServerGroupsUsed": _groups(call, project_id),
    }
    if call.minor < since.NO_PERSONALITY:
        absolute["maxPersonality"] = INJECTION["injected_files"]
        absolute["maxPersonalitySize"] = INJECTION["injected_file_content_bytes"]
    if call.minor < since.NO_IMAGE_METADATA_LIMIT:
        absolute["maxImageMeta"] = FIXED["metadata_items"]
    if call.minor < since.NO_NETWORK_PROXIES:
        absolute |= {
            "maxTotalFloatingIps": UNLIMITED,
            "totalFloatingIpsUsed": 0,
            "maxSecurityGroups": UNLIMITED,
            "totalSecurityGroupsUsed": 0,
            "maxSecurityGroupRules": UNLIMITED,
        }
    return {"limits": {"rate": [], "absolute": absolute}}
