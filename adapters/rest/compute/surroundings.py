"""What stands around servers: availability zones, and lists that are empty here but that clients ask for."""

from typing import Any

from adapters.rest.operation import Access, Call, Operations
from adapters.rest.times import micros
from domain.errors import Refused
from domain.host import Host
from handlers.fleet import COMPUTE

operations = Operations()

ZONES = "os_compute_api:os-availability-zone"


def _zones(call: Call) -> list[str]:
    """The zones; the default one is always there."""
    return list(dict.fromkeys((call.services.settings.default_zone, *call.services.fleet.zones())))


@operations("GET", "/os-availability-zone", Access.READER, f"{ZONES}:list")
async def zones(call: Call) -> Any:
    """The zones, and whether servers can be put there."""
    fleet = call.services.fleet
    return {
        "availabilityZoneInfo": [
            {"zoneName": zone, "zoneState": {"available": fleet.available(zone)}, "hosts": None}
            for zone in _zones(call)
        ]
    }


@operations("GET", "/os-availability-zone/detail", Access.ADMIN, f"{ZONES}:detail")
async def zones_in_detail(call: Call) -> Any:
    """The zones with their hosts."""
    fleet = call.services.fleet
    return {
        "availabilityZoneInfo": [
            {
                "zoneName": zone,
                "zoneState": {"available": fleet.available(zone)},
                "hosts": {host.name: {COMPUTE: _service(call, host)} for host in fleet.in_zone(zone) if host.enabled},
            }
            for zone in _zones(call)
        ]
    }


def _service(call: Call, host: Host) -> dict[str, Any]:
    liveness = call.services.liveness
    return {
        "available": liveness.host_up(host.name),
        "active": host.enabled,
        "updated_at": micros(liveness.host_seen(host.name)),
    }


@operations("GET", "/os-server-groups", Access.READER, "os_compute_api:os-server-groups:index")
async def server_groups(_call: Call) -> Any:
    """There are no server groups."""
    return {"server_groups": []}


@operations("GET", "/os-server-groups/{group_id}", Access.READER, "os_compute_api:os-server-groups:show")
async def server_group(call: Call) -> Any:
    """There are none."""
    raise Refused("group.not_found", f"Instance group {call.params['group_id']} could not be found.", status=404)


@operations("GET", "/os-aggregates", Access.ADMIN, "os_compute_api:os-aggregates:index")
async def aggregates(_call: Call) -> Any:
    """There are no host aggregates."""
    return {"aggregates": []}


@operations("GET", "/os-migrations", Access.ADMIN, "os_compute_api:os-migrations:index")
async def migrations(_call: Call) -> Any:
    """There are no migrations."""
    return {"migrations": []}


EXTENSIONS = {
    "os-availability-zone": "AvailabilityZone",
    "os-console-output": "ConsoleOutput",
    "os-extended-server-attributes": "ExtendedServerAttributes",
    "os-extended-status": "ExtendedStatus",
    "os-flavor-extra-specs": "FlavorExtraSpecs",
    "os-hypervisors": "Hypervisors",
    "os-instance-actions": "InstanceActions",
    "os-keypairs": "Keypairs",
    "os-quota-sets": "Quotas",
    "os-services": "Services",
}
"""What Nova's extensions list is for: very old clients look there for what may be asked."""


def _extension(alias: str, name: str) -> dict[str, Any]:
    return {
        "alias": alias,
        "name": name,
        "description": "",
        "links": [],
        "namespace": "http://docs.openstack.org/compute/ext/fake_xml",
        "updated": "2014-12-03T00:00:00Z",
    }


@operations("GET", "/extensions", Access.READER, "os_compute_api:extensions")
async def extensions(_call: Call) -> Any:
    """The extensions that were once optional."""
    return {"extensions": [_extension(alias, name) for alias, name in EXTENSIONS.items()]}


@operations("GET", "/extensions/{alias}", Access.READER, "os_compute_api:extensions")
async def extension(call: Call) -> Any:
    """One of them."""
    alias = call.params["alias"]
    if alias not in EXTENSIONS:
        raise Refused("extension.not_found", f"Extension {alias} could not be found.", status=404)
    return {"extension": _extension(alias, EXTENSIONS[alias])}
