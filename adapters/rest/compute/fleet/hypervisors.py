"""Hypervisors: the hosts as machines. https://docs.openstack.org/api-ref/compute/#hypervisors-os-hypervisors"""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any

import msgspec

from adapters.rest.compute import links
from adapters.rest.kit import since
from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.paging import MAX_PAGE, flag, page_limit
from domain.errors import Invalid, Refused
from domain.fleet.host import Host
from domain.placement.ledger import DISK_GB, MEMORY_MB, VCPU, Ledger, Provider
from domain.server.listing import ServerFilter
from handlers.fleet.fleet import COMPUTE, Fleet, service_id

operations = Operations()

RULE = "os_compute_api:os-hypervisors"
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
QUERY = frozenset(("limit", "marker", "hypervisor_hostname_pattern", "with_servers"))


@operations("GET", "/os-hypervisors", Access.ADMIN, f"{RULE}:list", query=QUERY)
async def index(call: Call) -> Any:
    return await _listing(call, "/os-hypervisors", detailed=False)


@operations("GET", "/os-hypervisors/detail", Access.ADMIN, f"{RULE}:list-detail", query=QUERY)
async def detail(call: Call) -> Any:
    return await _listing(call, "/os-hypervisors/detail", detailed=True)


@operations("GET", "/os-hypervisors/statistics", Access.ADMIN, f"{RULE}:statistics", last=since.HYPERVISOR_UPTIME - 1)
async def statistics(call: Call) -> Any:
    """Sums over all enabled hypervisors."""
    fleet, ledger = call.services.fleet, call.services.ledger()
    used = {name: ledger.columns.used(name) for name in (VCPU, MEMORY_MB, DISK_GB)}
    running = len(ledger.claims)
    for provider in _not_counted(fleet, ledger):
        for name in used:
            used[name] -= provider.used.get(name, 0)
        running -= len(provider.consumers)
    offered = {name: fleet.enabled[name] for name in ("vcpus", "memory_mb", "disk_gb")}
    return {"hypervisor_statistics": {"count": fleet.enabled["count"]} | _figures(offered, used, running)}


def _not_counted(fleet: Fleet, ledger: Ledger) -> list[Provider]:
    """The providers that are no enabled host: of the hosts those that are disabled, and all that are none."""
    hosts = [host for name in fleet.disabled if (host := fleet.named(name))]
    found = [ledger.providers[host.id] for host in hosts if host.id in ledger.providers]
    if len(ledger.providers) > len(fleet):
        found += [provider for provider in ledger.providers.values() if fleet.by_id(provider.id) is None]
    return found


@operations("GET", "/os-hypervisors/{hypervisor_id}", Access.ADMIN, f"{RULE}:show",
            query=frozenset(("with_servers",)))  # fmt: skip
async def show(call: Call) -> Any:
    return {"hypervisor": await _document(call, _find(call), detailed=True)}


@operations(
    "GET", "/os-hypervisors/{hypervisor_id}/uptime", Access.ADMIN, f"{RULE}:uptime", last=since.HYPERVISOR_UPTIME - 1
)
async def uptime(call: Call) -> Any:
    """The host's uptime; it is not known here."""
    _find(call)
    raise not_implemented("The uptime of a hypervisor")


@operations("GET", "/os-hypervisors/{hypervisor_id}/search", Access.ADMIN, f"{RULE}:search", last=since.UUIDS - 1)
async def search(call: Call) -> Any:
    """Hypervisors whose name contains a text."""
    found = _matching(call, call.params["hypervisor_id"])
    return {"hypervisors": [await _document(call, host, detailed=False) for host in found]}


@operations("GET", "/os-hypervisors/{hypervisor_id}/servers", Access.ADMIN, f"{RULE}:servers", last=since.UUIDS - 1)
async def servers(call: Call) -> Any:
    """The same, with their servers."""
    documents = []
    for host in _matching(call, call.params["hypervisor_id"]):
        document = await _document(call, host, detailed=False)
        if hosted := await _hosted(call, host):
            document["servers"] = hosted
        documents.append(document)
    return {"hypervisors": documents}


async def _listing(call: Call, path: str, *, detailed: bool) -> Any:
    pattern = call.query.get("hypervisor_hostname_pattern") if call.minor >= since.UUIDS else None
    if pattern is not None:
        if "limit" in call.query or "marker" in call.query:
            raise Invalid("Paging over hypervisors with the hypervisor_hostname_pattern is not supported")
        page, more = _matching(call, pattern), False
    else:
        page, more = _page(call)
    documents = [await _document(call, host, detailed=detailed) for host in page]
    answer: dict[str, Any] = {"hypervisors": documents}
    if more:
        answer["hypervisors_links"] = links.following(call, path, str(documents[-1]["id"]))
    return answer


def _page(call: Call) -> tuple[list[Host], bool]:
    """The hosts behind the marker, and whether there are more. Before 2.33 there were no pages."""
    fleet = call.services.fleet
    if call.minor < since.HYPERVISOR_PAGES:
        return list(fleet.all()), False
    marker, last = call.query.get("marker"), None
    if marker is not None:
        last = _known(call, marker)
        if last is None:
            raise Invalid(f"marker [{marker}] not found")
    asked = page_limit(call.query)
    limit = MAX_PAGE if asked is None else min(asked, MAX_PAGE)
    found = list(islice(fleet.after(last), limit + 1))
    return found[:limit], len(found) > limit > 0


def _matching(call: Call, text: str) -> list[Host]:
    found = [host for host in call.services.fleet.all() if text in host.name]
    if not found:
        raise Refused("hypervisor.not_found", f"No hypervisor matching '{text}' could be found.", status=404)
    return found


def _find(call: Call) -> Host:
    wanted = call.params["hypervisor_id"]
    host = _known(call, wanted)
    if host is None:
        raise Refused("hypervisor.not_found", f"Hypervisor with ID '{wanted}' could not be found.", status=404)
    return host


def _known(call: Call, identity: str) -> Host | None:
    """The host of an id: from 2.53 on its own, before that its number in the order of enrolment."""
    fleet = call.services.fleet
    if call.minor >= since.UUIDS:
        host = fleet.by_id(identity)
        return host if host and host.id == identity else None
    return fleet.numbered(int(identity)) if _NUMBER.fullmatch(identity) else None


async def _document(call: Call, host: Host, *, detailed: bool) -> dict[str, Any]:
    by_uuid, number = call.minor >= since.UUIDS, call.services.fleet.number(host)
    document: dict[str, Any] = {
        "id": host.id if by_uuid else number,
        "hypervisor_hostname": host.name,
        "state": "down" if host.forced_down else call.services.liveness.host_state(host.name),
        "status": "enabled" if host.enabled else "disabled",
    }
    if detailed:
        description = host.description
        document |= {
            "hypervisor_type": description.hypervisor_type,
            "hypervisor_version": description.hypervisor_version,
            "host_ip": description.host_ip,
            "service": {
                "id": service_id(COMPUTE, host.name) if by_uuid else number,
                "host": host.name,
                "disabled_reason": host.disabled_reason,
            },
        }
        if call.minor >= since.HYPERVISOR_UPTIME:
            document["uptime"] = None
        else:
            document |= _usage(call, host)
            cpu = description.cpu_info
            document["cpu_info"] = (
                cpu if call.minor >= since.CPU_INFO_AS_OBJECT else msgspec.json.encode(cpu).decode()
            )
    if by_uuid and flag(call.query, "with_servers"):
        hosted = await _hosted(call, host)
        if hosted or call.minor >= since.STRICT:
            document["servers"] = hosted
    return document


async def _hosted(call: Call, host: Host) -> list[dict[str, str]]:
    found = await call.services.queries.servers(ServerFilter(host=host.name))
    return [{"name": server.name, "uuid": server.id} for server in found]


def _usage(call: Call, host: Host) -> dict[str, int]:
    """What the host has and what of it is claimed."""
    provider = call.services.ledger().providers.get(host.id) or Provider(id=host.id, name=host.name)
    offered = {name: getattr(host.description, name) for name in ("vcpus", "memory_mb", "disk_gb")}
    return _figures(offered, provider.used, len(provider.consumers))


def _figures(offered: Mapping[str, int], used: Mapping[str, int], running: int) -> dict[str, int]:
    memory_used, disk_used = used.get(MEMORY_MB, 0), used.get(DISK_GB, 0)
    return {
        "vcpus": offered["vcpus"],
        "memory_mb": offered["memory_mb"],
        "local_gb": offered["disk_gb"],
        "vcpus_used": used.get(VCPU, 0),
        "memory_mb_used": memory_used,
        "local_gb_used": disk_used,
        "free_ram_mb": offered["memory_mb"] - memory_used,
        "free_disk_gb": offered["disk_gb"] - disk_used,
        "disk_available_least": offered["disk_gb"] - disk_used,
        "current_workload": 0,
        "running_vms": running,
    }
