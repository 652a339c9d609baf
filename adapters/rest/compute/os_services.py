"""Compute services: the agents of the hosts and the processes of the control plane.

https://docs.openstack.org/api-ref/compute/#compute-services-os-services
"""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import UNSET, Meta, UnsetType

from adapters.rest.errors import not_implemented
from adapters.rest.operation import Access, Call, Operations
from adapters.rest.times import micros
from adapters.rest.validation import UUID, Body, Flag, Text255, Versions, boolean
from domain.errors import Invalid, Refused

operations = Operations()

RULE = "os_compute_api:os-services"
COMPUTE = "nova-compute"
INTERNAL_ZONE = "internal"
_NAMESPACE = uuid.UUID("8f3de0b6-4b4c-5c5e-9d40-5a8a6f1d3f7a")


class Service(NamedTuple):
    """One row of the list."""

    number: int
    """Its id before 2.53."""
    binary: str
    host: str
    zone: str
    enabled: bool
    disabled_reason: str | None
    up: bool
    last_seen: datetime | None


def service_id(binary: str, host: str) -> str:
    """The id of a service, the same on every worker."""
    return str(uuid.uuid5(_NAMESPACE, f"{binary}/{host}"))


async def _services(call: Call) -> list[Service]:
    liveness = call.services.liveness
    rows = [
        Service(
            number,
            COMPUTE,
            row.name,
            row.state.availability_zone,
            row.state.enabled,
            row.state.disabled_reason,
            liveness.up(row.name),
            liveness.last_seen(row.name),
        )
        for number, row in enumerate(await call.services.queries.hosts(), start=1)
    ]
    rows += [
        Service(number, process.binary, process.host, INTERNAL_ZONE, True, None, process.up, process.last_seen)
        for number, process in enumerate(liveness.processes(), start=len(rows) + 1)
    ]
    return rows


def _document(call: Call, service: Service) -> dict[str, Any]:
    shown = {
        "id": service_id(service.binary, service.host) if call.minor >= 53 else service.number,
        "binary": service.binary,
        "host": service.host,
        "zone": service.zone,
        "status": "enabled" if service.enabled else "disabled",
        "state": "up" if service.up else "down",
        "updated_at": micros(service.last_seen),
        "disabled_reason": service.disabled_reason,
    }
    return shown | ({"forced_down": False} if call.minor >= 11 else {})


@operations("GET", "/os-services", Access.ADMIN, f"{RULE}:list", query=frozenset(("host", "binary")))
async def index(call: Call) -> Any:
    """All services, or those of a host or a kind."""
    host, binary = call.query.get("host"), call.query.get("binary")
    found = [
        service
        for service in await _services(call)
        if host in (None, "", service.host) and binary in (None, "", service.binary)
    ]
    return {"services": [_document(call, service) for service in found]}


class UpdateBody(Body):
    """What is to change of a service. Up to 2.52 it names the service, and the path the change."""

    status: Annotated[Literal["enabled", "disabled"] | UnsetType, Versions(53)] = UNSET
    disabled_reason: Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType = UNSET
    forced_down: Annotated[Flag | UnsetType, Versions(11)] = UNSET
    host: Annotated[Text255 | UnsetType, Versions(1, 52)] = UNSET
    binary: Annotated[Text255 | UnsetType, Versions(1, 52)] = UNSET


@operations("PUT", "/os-services/{service_id}", Access.ADMIN, f"{RULE}:update", body=UpdateBody)
async def update(call: Call) -> Any:
    """Let servers be scheduled to a host, or not."""
    asked: UpdateBody = call.body
    if call.minor < 53:
        return await _update_by_name(call, asked)
    wanted = call.params["service_id"]
    if UUID.fullmatch(wanted) is None:
        raise Invalid(f"Invalid uuid {wanted}")
    service = next((one for one in await _services(call) if service_id(one.binary, one.host) == wanted), None)
    if service is None:
        raise Refused("service.not_found", f"Service {wanted} could not be found.", status=404)
    if asked.forced_down is not UNSET and boolean("forced_down", asked.forced_down):
        raise not_implemented("Forcing a service down")
    if asked.status is UNSET and asked.forced_down is UNSET:
        raise Invalid("No updates were requested. Fields 'status' or 'forced_down' should be specified.")
    if asked.disabled_reason is not UNSET and asked.status != "disabled":
        raise Invalid("Specifying 'disabled_reason' when status is not 'disabled' is invalid.")
    if asked.status is not UNSET:
        await _switch(call, service.binary, service.host, asked)
    changed = [one for one in await _services(call) if (one.binary, one.host) == (service.binary, service.host)]
    return {"service": _document(call, changed[0])}


async def _update_by_name(call: Call, asked: UpdateBody) -> Any:
    change = call.params["service_id"]
    if asked.host is UNSET or asked.binary is UNSET:
        raise Invalid(f"'{'host' if asked.host is UNSET else 'binary'}' is a required property")
    if change == "force-down" and call.minor >= 11:
        raise not_implemented("Forcing a service down")
    if change not in ("enable", "disable", "disable-log-reason"):
        raise Refused("service.action", "Unknown action", status=404)
    if change == "disable-log-reason" and asked.disabled_reason is UNSET:
        raise Invalid("Missing disabled reason field")
    asked.status = "enabled" if change == "enable" else "disabled"
    await _switch(call, asked.binary, asked.host, asked)
    answer = {"binary": asked.binary, "host": asked.host, "status": asked.status}
    if change == "disable-log-reason":
        answer["disabled_reason"] = str(asked.disabled_reason)
    return {"service": answer}


async def _switch(call: Call, binary: str, host: str, asked: UpdateBody) -> None:
    if binary != COMPUTE:
        raise Invalid(f"Updating a {binary} service is not supported. Only {COMPUTE} services can be updated.")
    hosts = call.services.hosts
    if asked.status == "enabled":
        position = await hosts.enable(call.context, host)
    else:
        reason = asked.disabled_reason if asked.disabled_reason is not UNSET else None
        position = await hosts.disable(call.context, host, reason)
    await call.services.settle(position, call.services.settings.cell)
