"""Compute services: the agents of the hosts and the processes of the control plane.

https://docs.openstack.org/api-ref/compute/#compute-services-os-services
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import UNSET, Meta, UnsetType

from adapters.rest.kit import since
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.times import micros
from adapters.rest.kit.validation import UUID, Body, Flag, Text255, Versions, boolean
from domain.errors import Invalid, Refused
from domain.fleet.host import Host
from handlers.fleet.fleet import COMPUTE, service_id

operations = Operations()

RULE = "os_compute_api:os-services"
INTERNAL_ZONE = "internal"
BINARIES = {"conductor": ("nova-conductor", "nova-scheduler")}
"""Nova's names for our roles."""


class Service(NamedTuple):
    """One row of the list."""

    number: int
    """Its id before 2.53."""
    binary: str
    host: str
    zone: str
    enabled: bool
    disabled_reason: str | None
    state: str
    last_seen: datetime | None
    forced_down: bool = False


def _of_host(call: Call, host: Host) -> Service:
    liveness, number = call.services.liveness, call.services.fleet.number(host)
    return Service(
        number,
        COMPUTE,
        host.name,
        host.availability_zone,
        host.enabled,
        host.disabled_reason,
        "down" if host.forced_down else liveness.host_state(host.name),
        liveness.host_seen(host.name),
        host.forced_down,
    )


def _of_processes(call: Call) -> list[Service]:
    """Those of the control plane, numbered behind the hosts."""
    liveness = call.services.liveness
    found = [
        (binary, beat)
        for role, binaries in BINARIES.items()
        for beat in sorted(liveness.of_role(role))
        for binary in binaries
    ]
    return [
        Service(
            number,
            binary,
            beat.name.partition("/")[2],
            INTERNAL_ZONE,
            True,
            None,
            liveness.state(beat.name),
            beat.time,
        )
        for number, (binary, beat) in enumerate(found, start=len(call.services.fleet) + 1)
    ]


def _services(call: Call, host: str | None, binary: str | None) -> list[Service]:
    """All services, or those on one machine, or of one kind."""
    fleet = call.services.fleet
    hosts: Iterable[Host] = ()
    if binary in (None, COMPUTE):
        hosts = fleet.all() if host is None else [known] if (known := fleet.named(host)) else []
    return [_of_host(call, known) for known in hosts] + [
        service
        for service in _of_processes(call)
        if host in (None, service.host) and binary in (None, service.binary)
    ]


def _find(call: Call, wanted: str) -> Service | None:
    host = call.services.fleet.by_id(wanted)
    if host and service_id(COMPUTE, host.name) == wanted:
        return _of_host(call, host)
    return next((one for one in _of_processes(call) if service_id(one.binary, one.host) == wanted), None)


def _document(call: Call, service: Service) -> dict[str, Any]:
    shown = {
        "id": service_id(service.binary, service.host) if call.minor >= since.UUIDS else service.number,
        "binary": service.binary,
        "host": service.host,
        "zone": service.zone,
        "status": "enabled" if service.enabled else "disabled",
        "state": service.state,
        "updated_at": micros(service.last_seen),
        "disabled_reason": service.disabled_reason,
    }
    return shown | ({"forced_down": service.forced_down} if call.minor >= since.FORCED_DOWN else {})


@operations("GET", "/os-services", Access.ADMIN, f"{RULE}:list", query=frozenset(("host", "binary")))
async def index(call: Call) -> Any:
    host, binary = call.query.get("host") or None, call.query.get("binary") or None
    return {"services": [_document(call, service) for service in _services(call, host, binary)]}


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
    if call.minor < since.UUIDS:
        return await _update_by_name(call, asked)
    wanted = call.params["service_id"]
    if UUID.fullmatch(wanted) is None:
        raise Invalid(f"Invalid uuid {wanted}")
    service = _find(call, wanted)
    if service is None:
        raise Refused("service.not_found", f"Service {wanted} could not be found.", status=404)
    if asked.status is UNSET and asked.forced_down is UNSET:
        raise Invalid("No updates were requested. Fields 'status' or 'forced_down' should be specified.")
    if asked.disabled_reason is not UNSET and asked.status != "disabled":
        raise Invalid("Specifying 'disabled_reason' when status is not 'disabled' is invalid.")
    if asked.status is not UNSET:
        await _switch(call, service.binary, service.host, asked)
    if asked.forced_down is not UNSET:
        await _force(call, service.binary, service.host, down=boolean("forced_down", asked.forced_down))
    return {"service": _document(call, _find(call, wanted) or service)}


async def _update_by_name(call: Call, asked: UpdateBody) -> Any:
    change = call.params["service_id"]
    if asked.host is UNSET or asked.binary is UNSET:
        raise Invalid(f"'{'host' if asked.host is UNSET else 'binary'}' is a required property")
    if change == "force-down" and call.minor >= since.FORCED_DOWN:
        return await _force_by_name(call, asked)
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


async def _force_by_name(call: Call, asked: UpdateBody) -> Any:
    if asked.forced_down is UNSET:
        raise Invalid("Missing forced_down field")
    down = boolean("forced_down", asked.forced_down)
    await _force(call, str(asked.binary), str(asked.host), down=down)
    return {"service": {"binary": asked.binary, "host": asked.host, "forced_down": down}}


def _check_binary(binary: str) -> None:
    if binary != COMPUTE:
        raise Invalid(f"Updating a {binary} service is not supported. Only {COMPUTE} services can be updated.")


async def _force(call: Call, binary: str, host: str, *, down: bool) -> None:
    """Declare a host dead, or let it take part again."""
    _check_binary(binary)
    hosts = call.services.hosts
    await call.settle(await (hosts.force_down if down else hosts.let_up)(call.context, host))


async def _switch(call: Call, binary: str, host: str, asked: UpdateBody) -> None:
    _check_binary(binary)
    hosts = call.services.hosts
    if asked.status == "enabled":
        accepted = await hosts.enable(call.context, host)
    else:
        reason = asked.disabled_reason if asked.disabled_reason is not UNSET else None
        accepted = await hosts.disable(call.context, host, reason)
    await call.settle(accepted)
