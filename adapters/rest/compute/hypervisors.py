"""Hypervisors: the hosts as machines. https://docs.openstack.org/api-ref/compute/#hypervisors-os-hypervisors"""

from typing import Any

import msgspec

from adapters.rest.compute import links
from adapters.rest.compute.os_services import service_id
from adapters.rest.errors import not_implemented
from adapters.rest.operation import Access, Call, Operations
from adapters.rest.paging import cut, flag
from domain.errors import Invalid, Refused
from domain.ledger import DISK_GB, MEMORY_MB, VCPU, Provider
from projections.hosts import HostRow
from projections.server_filter import ServerFilter

operations = Operations()

RULE = "os_compute_api:os-hypervisors"
QUERY = frozenset(("limit", "marker", "hypervisor_hostname_pattern", "with_servers"))


@operations("GET", "/os-hypervisors", Access.ADMIN, f"{RULE}:list", query=QUERY)
async def index(call: Call) -> Any:
    """Hypervisors by name and state."""
    return await _listing(call, "/os-hypervisors", detailed=False)


@operations("GET", "/os-hypervisors/detail", Access.ADMIN, f"{RULE}:list-detail", query=QUERY)
async def detail(call: Call) -> Any:
    """Hypervisors in full."""
    return await _listing(call, "/os-hypervisors/detail", detailed=True)


@operations("GET", "/os-hypervisors/statistics", Access.ADMIN, f"{RULE}:statistics", last=87)
async def statistics(call: Call) -> Any:
    """Sums over all enabled hypervisors."""
    sums: dict[str, int] = {"count": 0}
    for row in await call.services.queries.hosts():
        if not row.state.enabled:
            continue
        sums["count"] += 1
        for name, amount in _usage(call, row).items():
            sums[name] = sums.get(name, 0) + amount
    return {"hypervisor_statistics": sums}


@operations("GET", "/os-hypervisors/{hypervisor_id}", Access.ADMIN, f"{RULE}:show",
            query=frozenset(("with_servers",)))  # fmt: skip
async def show(call: Call) -> Any:
    """One hypervisor."""
    number, row = await _find(call)
    return {"hypervisor": await _document(call, number, row, detailed=True)}


@operations("GET", "/os-hypervisors/{hypervisor_id}/uptime", Access.ADMIN, f"{RULE}:uptime", last=87)
async def uptime(call: Call) -> Any:
    """The host's uptime; it is not known here."""
    await _find(call)
    raise not_implemented("The uptime of a hypervisor")


@operations("GET", "/os-hypervisors/{hypervisor_id}/search", Access.ADMIN, f"{RULE}:search", last=52)
async def search(call: Call) -> Any:
    """Hypervisors whose name contains a text."""
    found = await _matching(call, call.params["hypervisor_id"])
    return {"hypervisors": [await _document(call, number, row, detailed=False) for number, row in found]}


@operations("GET", "/os-hypervisors/{hypervisor_id}/servers", Access.ADMIN, f"{RULE}:servers", last=52)
async def servers(call: Call) -> Any:
    """The same, with their servers."""
    found = await _matching(call, call.params["hypervisor_id"])
    documents = []
    for number, row in found:
        document = await _document(call, number, row, detailed=False)
        if hosted := await _hosted(call, row):
            document["servers"] = hosted
        documents.append(document)
    return {"hypervisors": documents}


async def _listing(call: Call, path: str, *, detailed: bool) -> Any:
    pattern = call.query.get("hypervisor_hostname_pattern") if call.minor >= 53 else None
    if pattern is not None:
        if "limit" in call.query or "marker" in call.query:
            raise Invalid("Paging over hypervisors with the hypervisor_hostname_pattern is not supported")
        page, more = await _matching(call, pattern), False
    else:
        numbered = list(enumerate(await call.services.queries.hosts(), start=1))
        if call.minor < 33:
            page, more = numbered, False
        else:
            page, more = cut(numbered, call.query, lambda one: _id(call, *one))
    documents = [await _document(call, number, row, detailed=detailed) for number, row in page]
    answer: dict[str, Any] = {"hypervisors": documents}
    if more:
        answer["hypervisors_links"] = links.following(call, path, _id(call, *page[-1]))
    return answer


async def _matching(call: Call, text: str) -> list[tuple[int, HostRow]]:
    found = [
        (number, row) for number, row in enumerate(await call.services.queries.hosts(), start=1) if text in row.name
    ]
    if not found:
        raise Refused("hypervisor.not_found", f"No hypervisor matching '{text}' could be found.", status=404)
    return found


async def _find(call: Call) -> tuple[int, HostRow]:
    wanted = call.params["hypervisor_id"]
    for number, row in enumerate(await call.services.queries.hosts(), start=1):
        if _id(call, number, row) == wanted:
            return number, row
    raise Refused("hypervisor.not_found", f"Hypervisor with ID '{wanted}' could not be found.", status=404)


def _id(call: Call, number: int, row: HostRow) -> str:
    """From 2.53 on, the host's own id; before, its number in the order of enrolment."""
    return row.host_id if call.minor >= 53 else str(number)


async def _document(call: Call, number: int, row: HostRow, *, detailed: bool) -> dict[str, Any]:
    by_uuid = call.minor >= 53
    document: dict[str, Any] = {
        "id": row.host_id if by_uuid else number,
        "hypervisor_hostname": row.name,
        "state": "up" if call.services.liveness.up(row.name) else "down",
        "status": "enabled" if row.state.enabled else "disabled",
    }
    if detailed:
        description = row.state.description
        document |= {
            "hypervisor_type": description.hypervisor_type,
            "hypervisor_version": description.hypervisor_version,
            "host_ip": description.host_ip,
            "service": {
                "id": service_id("nova-compute", row.name) if by_uuid else number,
                "host": row.name,
                "disabled_reason": row.state.disabled_reason,
            },
        }
        if call.minor >= 88:
            document["uptime"] = None
        else:
            document |= _usage(call, row)
            cpu = description.cpu_info
            document["cpu_info"] = cpu if call.minor >= 28 else msgspec.json.encode(cpu).decode()
    if by_uuid and flag(call.query, "with_servers"):
        hosted = await _hosted(call, row)
        if hosted or call.minor >= 75:
            document["servers"] = hosted
    return document


async def _hosted(call: Call, row: HostRow) -> list[dict[str, str]]:
    found = await call.services.queries.servers(ServerFilter(host=row.name))
    return [{"name": server.name, "uuid": server.id} for server in found]


def _usage(call: Call, row: HostRow) -> dict[str, int]:
    """What the host has and what of it is claimed."""
    description = row.state.description
    ledger = call.services.ledger()
    provider = ledger.providers.get(row.host_id) or Provider(id=row.host_id, name=row.name)
    used = provider.used
    memory_used, disk_used = used.get(MEMORY_MB, 0), used.get(DISK_GB, 0)
    return {
        "vcpus": description.vcpus,
        "memory_mb": description.memory_mb,
        "local_gb": description.disk_gb,
        "vcpus_used": used.get(VCPU, 0),
        "memory_mb_used": memory_used,
        "local_gb_used": disk_used,
        "free_ram_mb": description.memory_mb - memory_used,
        "free_disk_gb": description.disk_gb - disk_used,
        "disk_available_least": description.disk_gb - disk_used,
        "current_workload": 0,
        "running_vms": sum(1 for claim in ledger.claims.values() if row.host_id in claim.allocations),
    }
