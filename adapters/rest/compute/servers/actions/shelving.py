"""Putting a server away, and having it again.

https://docs.openstack.org/api-ref/compute/#shelve-server-shelve-action
"""

from collections.abc import Callable

from msgspec import UNSET, UnsetType

from adapters.rest.compute import inner_rules
from adapters.rest.compute.servers.access import find
from adapters.rest.compute.servers.actions.simple import PATH, command, plain
from adapters.rest.kit import since
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import Body, Name, Text255
from domain.errors import Invalid, Refused
from domain.server.actions.shelve import OFFLOAD
from domain.server.state import OFFLOADED, Server
from handlers.servers.shelving import have_again, put_away

operations = Operations()

RULE = "os_compute_api:os-shelve"


@operations("POST", PATH, Access.MEMBER, f"{RULE}:shelve", action="shelve", body=plain("shelve"), status=202)
async def shelve(call: Call) -> None:
    services = call.services
    seconds = services.settings.shelved_offload_seconds
    accepted = await put_away(
        services.servers,
        services.neighbours.images,
        call.context,
        call.params["server_id"],
        None if seconds < 0 else seconds,
    )
    await call.settle(*accepted)


@operations("POST", PATH, Access.ADMIN, f"{RULE}:shelve_offload", action="shelveOffload", body=plain("shelveOffload"),
            status=202)  # fmt: skip
async def offload(call: Call) -> None:
    await command(call, call.services.servers.act, action=OFFLOAD)


class ZoneArguments(Body):
    availability_zone: Name | UnsetType = UNSET


class HostArguments(Body):
    availability_zone: Name | UnsetType | None = UNSET
    host: Text255 | UnsetType = UNSET


class ZoneBody(Body):
    """``{"unshelve": null}`` or ``{"unshelve": {"availability_zone": "nova"}}``."""

    unshelve: ZoneArguments | None


class HostBody(Body):
    """``{"unshelve": {"availability_zone": null, "host": "node2"}}``: no zone any more, on that host."""

    unshelve: HostArguments | None


@operations("POST", PATH, Access.MEMBER, f"{RULE}:unshelve", action="unshelve", body=plain("unshelve"),
            last=since.UNSHELVE_ZONE - 1, status=202)  # fmt: skip
async def unshelve(call: Call) -> None:
    await _unshelve(call, HostArguments())


@operations("POST", PATH, Access.MEMBER, f"{RULE}:unshelve", action="unshelve", body=ZoneBody,
            first=since.UNSHELVE_ZONE, last=since.UNSHELVE_HOST - 1, status=202)  # fmt: skip
async def unshelve_to_zone(call: Call) -> None:
    zone = call.body.unshelve.availability_zone if call.body.unshelve else UNSET
    await _unshelve(call, HostArguments(availability_zone=zone))


@operations("POST", PATH, Access.MEMBER, f"{RULE}:unshelve", action="unshelve", body=HostBody,
            first=since.UNSHELVE_HOST, status=202)  # fmt: skip
async def unshelve_to_host(call: Call) -> None:
    """Have the server again: in a zone, in none any more, or on a host, which is an administrator's to say."""
    asked = call.body.unshelve
    if asked is not None and asked.host is UNSET and asked.availability_zone is UNSET:
        raise Invalid(
            "Invalid input for field/attribute unshelve. Value: {}. {} is not valid under any of the given schemas"
        )
    await _unshelve(call, asked or HostArguments())


async def _unshelve(call: Call, asked: HostArguments) -> None:
    server = await find(call)
    if asked.host is not UNSET:
        call.require(inner_rules.UNSHELVE_TO_HOST)
    _check_places(call, server, asked)
    services = call.services
    accepted = await have_again(
        services.servers,
        services.neighbours.images,
        call.context,
        server.id,
        _zone(asked),
        None if asked.host is UNSET else asked.host,
    )
    await call.settle(accepted)


def _check_places(call: Call, server: Server, asked: HostArguments) -> None:
    zone, host = asked.availability_zone, asked.host
    if (zone is not UNSET or host is not UNSET) and server.vm_state != OFFLOADED:
        raise Refused(
            "server.state",
            "Specifying an availability zone or a host is not supported when unshelving a server with status "
            f"'{server.vm_state}': it must be 'SHELVED_OFFLOADED'.",
        )
    if isinstance(zone, str) and zone not in call.services.fleet.zones():
        raise Invalid("The requested availability zone is not available")
    named = call.services.fleet.named(host) if isinstance(host, str) else None
    if host is not UNSET and named is None:
        raise Invalid(f"Compute host {host} could not be found.")
    wanted = _zone(asked)(server)
    if named is not None and wanted not in (None, named.availability_zone):
        raise Refused(
            "server.zone",
            f"Host {named.name} is not in the availability zone {wanted}, to which the server is pinned.",
        )


def _zone(asked: HostArguments) -> Callable[[Server], str | None]:
    """The zone to which it is pinned afterwards."""
    zone = asked.availability_zone
    if isinstance(zone, UnsetType):
        return lambda server: server.requested_zone
    return lambda _server: zone
