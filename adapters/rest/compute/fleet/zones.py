"""Availability zones. https://docs.openstack.org/api-ref/compute/#availability-zones-os-availability-zone"""

from typing import Any

from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.times import micros
from domain.fleet.host import Host
from handlers.fleet.fleet import COMPUTE

operations = Operations()

ZONES = "os_compute_api:os-availability-zone"


def _zones(call: Call) -> list[str]:
    """The zones; the default one is always there."""
    return list(dict.fromkeys((call.services.settings.default_zone, *call.services.fleet.zones())))


@operations("GET", "/os-availability-zone", Access.READER, f"{ZONES}:list")
async def zones(call: Call) -> Any:
    fleet = call.services.fleet
    return {
        "availabilityZoneInfo": [
            {"zoneName": zone, "zoneState": {"available": fleet.available(zone)}, "hosts": None}
            for zone in _zones(call)
        ]
    }


@operations("GET", "/os-availability-zone/detail", Access.ADMIN, f"{ZONES}:detail")
async def zones_in_detail(call: Call) -> Any:
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
        "available": liveness.host_up(host.name) and not host.forced_down,
        "active": host.enabled,
        "updated_at": micros(liveness.host_seen(host.name)),
    }
