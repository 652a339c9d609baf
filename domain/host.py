"""Hosts: the machines that run guests. Whether one lives is told by its heartbeat, not by the log."""

from datetime import datetime

import msgspec

from domain.errors import Refused, not_found
from domain.guest import HostDescription
from domain.kind import Kind, unfoldable
from domain.record import AggregateId, Event, Metadata

DEFAULT_ZONE = "nova"


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


def aggregate(name: str) -> AggregateId:
    """The aggregate of one host."""
    return AggregateId("host", name)


def enrol(host: Host | None, host_id: str, description: HostDescription) -> HostEnrolled | HostDescribed | None:
    """A machine reports for duty; None if nothing about it is new.

    A second machine that comes under a name already taken is refused: a cloned image or a swapped name
    must never be believed to be the first one.
    """
    if host is None:
        return HostEnrolled(host_id=host_id, description=description)
    if host.id != host_id:
        raise Refused("host.name_taken", f"Host name {host.name} belongs to another machine ({host.id}).")
    return None if host.description == description else HostDescribed(description=description)


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


def evolve(state: Host | None, event: Event, meta: Metadata) -> Host:
    """Fold one event."""
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
    raise unfoldable(event)


KIND = Kind("host", (HostEnrolled, HostDescribed, HostDisabled, HostEnabled), evolve)
