"""Hosts: the machines that run guests. Whether one lives is told by its heartbeat, not by the log."""

import re
from datetime import datetime
from ipaddress import ip_address
from typing import Annotated

import msgspec
from msgspec import Meta

from domain.errors import Invalid, Refused, not_found
from domain.guest import HostDescription
from domain.image_properties import known_architecture
from domain.log.kind import Kind, unfoldable
from domain.log.record import AggregateId, Event, Metadata

DEFAULT_ZONE = "nova"
MAX_NAME = 128
"""Characters of a host's name."""
MAX_DOTS = 32
"""In a host's name: each costs three bytes where the log names a queue after the host."""
MAX_OFFER = 2**31 - 1
"""Of each resource: what Placement, and every column, can hold."""
MAX_CPU_INFO = 16 * 1024
"""Bytes of what a host says of its processors, encoded."""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_SIMULATED = re.compile(r"sim-[0-9]{4,6}")
_Fact = str | Annotated[int, Meta(ge=-MAX_OFFER, le=MAX_OFFER)] | bool | None


class HostEnrolled(Event, tag="host.enrolled", frozen=True, kw_only=True):
    """A machine joined the cell. ``host_id`` is its identity for ever, whatever its name becomes."""

    host_id: str
    description: HostDescription
    availability_zone: str = DEFAULT_ZONE


class HostDescribed(Event, tag="host.described", frozen=True, kw_only=True):
    """The machine offers something else than before."""

    description: HostDescription


class HostDisabled(Event, tag="host.disabled", frozen=True, kw_only=True):
    """The operator lets no new server go there."""

    reason: str | None = None


class HostEnabled(Event, tag="host.enabled", frozen=True, kw_only=True):
    """New servers may go there again."""


class HostForcedDown(Event, tag="host.forced_down", frozen=True, kw_only=True):
    """Somebody who knows says that the machine is dead: it is fenced, whatever it may say itself."""


class HostLetUp(Event, tag="host.let_up", frozen=True, kw_only=True):
    """The machine may take part again, if it lives."""


class HostForgotten(Event, tag="host.forgotten", frozen=True, kw_only=True):
    """The operator says that the machine will not come back as what it was."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A host as the operator sees it."""

    id: str
    name: str
    description: HostDescription
    availability_zone: str
    enrolled_at: datetime
    updated_at: datetime
    enabled: bool = True
    disabled_reason: str | None = None
    forced_down: bool = False
    """It is fenced: nothing that it says counts, and it gets nothing to do."""
    forgotten: bool = False
    """It will not come back: what is held for what may have been left there is for nothing."""


class _Bounded(msgspec.Struct, frozen=True, kw_only=True):
    """What of a description has a type and bounds of its own."""

    hypervisor_type: Annotated[str, Meta(pattern=r"\A[!-~ ]{1,64}\Z")]
    hypervisor_version: Annotated[int, Meta(ge=0, le=MAX_OFFER)]
    vcpus: Annotated[int, Meta(ge=1, le=MAX_OFFER)]
    memory_mb: Annotated[int, Meta(ge=1, le=MAX_OFFER)]
    disk_gb: Annotated[int, Meta(ge=0, le=MAX_OFFER)]
    cpu_info: dict[str, _Fact | list[_Fact] | dict[str, _Fact]] = {}


def is_name(text: str) -> bool:
    """Whether a host can be called so."""
    return len(text) <= MAX_NAME and text.count(".") <= MAX_DOTS and _NAME.fullmatch(text) is not None


def is_simulated(name: str) -> bool:
    """Whether the name is one of those that simulated hosts have, and no others."""
    return _SIMULATED.fullmatch(name) is not None


def simulated_name(number: int) -> str:
    return f"sim-{number:04d}"


def check(description: HostDescription) -> None:
    """Raise Invalid for what no event may say of a host: everybody has to be able to hold it, for ever."""
    if not is_name(description.name):
        raise Invalid(f"{description.name[:MAX_NAME]!r} is no name of a host.")
    try:
        msgspec.convert(msgspec.to_builtins(description), _Bounded)
        for address in (description.host_ip, description.migration_ip):
            if address is not None:
                ip_address(address)
        cpu_info = msgspec.json.encode(description.cpu_info)
    except ValueError as error:
        raise Invalid(f"Host {description.name} describes itself wrongly: {error}") from None
    if known_architecture(description.architecture) != description.architecture:
        raise Invalid(f"Host {description.name} has an architecture that nobody knows.")
    if len(cpu_info) > MAX_CPU_INFO or b"\\u0000" in cpu_info:
        raise Invalid(f"Host {description.name} says of its processors what cannot be kept.")


def aggregate(name: str) -> AggregateId:
    return AggregateId("host", name)


def enrol(host: Host | None, host_id: str, description: HostDescription) -> HostEnrolled | HostDescribed | None:
    """A machine reports for duty; None if nothing about it is new.

    A second machine that comes under a name already taken is refused: a cloned image or a swapped name
    must never be believed to be the first one. So is another address, because the console proxies go there: only the
    operator may give it. A loopback address is none. Raises Refused, Invalid.
    """
    check(description)
    if host is None or (host.forgotten and host.id == host_id):
        return HostEnrolled(host_id=host_id, description=description)
    if host.id != host_id:
        raise Refused("host.name_taken", f"Host name {host.name} belongs to another machine ({host.id}).")
    known = host.description
    if known.host_ip != description.host_ip and not _is_loopback(known.host_ip):
        raise Refused(
            "host.other_address",
            f"Host {host.name} is enrolled with the address {known.host_ip}, not {description.host_ip}. If it has "
            f"moved, say so: lightcurve host address {host.name} {description.host_ip}",
        )
    return None if known == description else HostDescribed(description=description)


def move(host: Host | None, name: str, address: str) -> HostDescribed | None:
    """The operator says that a host has another address; None if it has that one."""
    if host is None:
        raise not_found("Host", name)
    described = msgspec.structs.replace(host.description, host_ip=address)
    check(described)
    return None if described == host.description else HostDescribed(description=described)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return True


def disable(host: Host | None, name: str, reason: str | None) -> HostDisabled | None:
    """Take a host out of scheduling; None if it is out for that reason already."""
    if host is None:
        raise not_found("Host", name)
    unchanged = not host.enabled and host.disabled_reason == reason
    return None if unchanged else HostDisabled(reason=reason)


def enable(host: Host | None, name: str) -> HostEnabled | None:
    """Put a host back into scheduling; None if it is in."""
    if host is None:
        raise not_found("Host", name)
    return None if host.enabled else HostEnabled()


def force_down(host: Host | None, name: str) -> HostForcedDown | None:
    """Fence a host that is dead; None if it is fenced."""
    if host is None:
        raise not_found("Host", name)
    return None if host.forced_down else HostForcedDown()


def let_up(host: Host | None, name: str) -> HostLetUp | None:
    """Let a host take part again; None if it may."""
    if host is None:
        raise not_found("Host", name)
    return HostLetUp() if host.forced_down else None


def forget(host: Host | None) -> HostForgotten | None:
    """Count on a host no more; None if nobody does, or it was never here."""
    return HostForgotten() if host and not host.forgotten else None


def evolve(state: Host | None, event: Event, meta: Metadata) -> Host:
    if isinstance(event, HostEnrolled):
        return Host(
            id=event.host_id,
            name=event.description.name,
            description=event.description,
            availability_zone=event.availability_zone,
            enrolled_at=meta.time,
            updated_at=meta.time,
        )
    assert state is not None
    replace = msgspec.structs.replace
    match event:
        case HostDescribed():
            return replace(state, description=event.description, updated_at=meta.time)
        case HostDisabled():
            return replace(state, enabled=False, disabled_reason=event.reason, updated_at=meta.time)
        case HostEnabled():
            return replace(state, enabled=True, disabled_reason=None, updated_at=meta.time)
        case HostForcedDown():
            return replace(state, forced_down=True, updated_at=meta.time)
        case HostLetUp():
            return replace(state, forced_down=False, updated_at=meta.time)
        case HostForgotten():
            return replace(state, forgotten=True, updated_at=meta.time)
    raise unfoldable(event)


EVENTS = (
    HostEnrolled, HostDescribed, HostDisabled, HostEnabled, HostForcedDown, HostLetUp, HostForgotten,
)  # fmt: skip
KIND = Kind("host", EVENTS, evolve)
