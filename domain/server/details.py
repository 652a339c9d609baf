"""What may be changed of a server without touching its guest: names, metadata, tags, and the lock.

The rules are Nova's (its compute API); refusals speak Nova's words. None is nothing left to do.
"""

from domain.errors import Refused
from domain.log.record import Event, Metadata
from domain.server.action import Change, Fields
from domain.server.limits import MAX_TAGS, check_metadata
from domain.server.parts import Lock
from domain.server.state import ACTIVE, PAUSED, STOPPED, SUSPENDED, Server, check_state

MAY_CHANGE = (ACTIVE, PAUSED, SUSPENDED, STOPPED)
"""The vm_states in which metadata and tags can be changed."""

NOT_THE_LOCKER = "server.locked_by_another"
"""The code of what is refused to who may not end another's lock."""


class ServerRenamed(Event, tag="server.renamed", frozen=True, kw_only=True):
    """The display name is now another."""

    name: str


class ServerDescribed(Event, tag="server.described", frozen=True, kw_only=True):
    """The description is now another, or there is none."""

    description: str | None


class ServerHostnameChanged(Event, tag="server.hostname_changed", frozen=True, kw_only=True):
    """The guest is told another host name from now on."""

    hostname: str


class ServerAccessAddressesChanged(Event, tag="server.access_addresses_changed", frozen=True, kw_only=True):
    """The addresses by which the server is said to be reached are now these, both."""

    access_ipv4: str | None
    access_ipv6: str | None


class ServerMetadataChanged(Event, tag="server.metadata_changed", frozen=True, kw_only=True):
    """The metadata is now this, all of it."""

    metadata: dict[str, str]


class ServerTagsChanged(Event, tag="server.tags_changed", frozen=True, kw_only=True):
    """The tags are now these, all of them."""

    tags: tuple[str, ...]


class ServerLocked(Event, tag="server.locked", frozen=True, kw_only=True):
    """Nobody but an administrator may change the guest."""

    by_owner: bool
    """Whether it was locked from its own project, which then may unlock it."""
    reason: str | None = None


class ServerUnlocked(Event, tag="server.unlocked", frozen=True, kw_only=True):
    """The lock is off."""


def check_lock(server: Server, *, is_admin: bool) -> None:
    """Refuse (409) what a lock forbids: everything that changes the guest, but to an administrator nothing."""
    if server.lock and not is_admin:
        raise Refused("server.locked", f"Instance {server.id} is locked")


def lock(server: Server, *, project_id: str | None, reason: str | None) -> ServerLocked | None:
    """Lock it against its own project's doings; ``project_id`` is the caller's. An owner locks only once."""
    by_owner = server.project_id == project_id
    if server.lock and by_owner:
        return None
    return ServerLocked(by_owner=by_owner, reason=reason)


def unlock(server: Server, *, project_id: str | None, overrides: bool) -> ServerUnlocked | None:
    """End the lock. Raises Refused (403, NOT_THE_LOCKER) for one that was set from elsewhere, unless the caller
    ``overrides`` it."""
    by_owner = server.project_id == project_id
    if server.lock and server.lock.by_owner != by_owner and not overrides:
        raise Refused(NOT_THE_LOCKER, f"Instance {server.id} was locked by somebody else.", status=403)
    return ServerUnlocked() if server.lock else None


def set_metadata(server: Server, given: dict[str, str], *, replace: bool) -> ServerMetadataChanged | None:
    """Add items, or have no others than these. Raises Refused: 403 for too many, 409 in a state that forbids it."""
    check_state(server, "update metadata", MAY_CHANGE)
    metadata = given if replace else server.metadata | given
    check_metadata(metadata)
    return _metadata(server, metadata)


def remove_metadata(server: Server, key: str) -> ServerMetadataChanged | None:
    """Remove an item. Raises Refused (404) if there is none."""
    check_state(server, "delete metadata", MAY_CHANGE)
    if key not in server.metadata:
        raise Refused("metadata.not_found", "Metadata item was not found", status=404)
    return _metadata(server, {name: value for name, value in server.metadata.items() if name != key})


def _metadata(server: Server, metadata: dict[str, str]) -> ServerMetadataChanged | None:
    return None if metadata == server.metadata else ServerMetadataChanged(metadata=metadata)


def set_tags(server: Server, tags: tuple[str, ...]) -> ServerTagsChanged | None:
    """Have these tags and no others."""
    check_state(server, "update tags", MAY_CHANGE)
    return _tags(server, tuple(dict.fromkeys(tags)))


def add_tag(server: Server, tag: str) -> ServerTagsChanged | None:
    """Have this tag, too. Raises Refused (400) if there are as many as there can be."""
    check_state(server, "update tags", MAY_CHANGE)
    if tag not in server.tags and len(server.tags) >= MAX_TAGS:
        raise Refused("tags.limit", f"The number of tags exceeded the per-server limit {MAX_TAGS}", status=400)
    return _tags(server, tuple(dict.fromkeys((*server.tags, tag))))


def remove_tag(server: Server, tag: str) -> ServerTagsChanged | None:
    """Have this tag no more. Raises Refused (404) if it has not."""
    check_state(server, "delete tags", MAY_CHANGE)
    if tag not in server.tags:
        raise Refused("tag.not_found", f"Server {server.id} has no tag '{tag}'", status=404)
    return _tags(server, tuple(name for name in server.tags if name != tag))


def _tags(server: Server, tags: tuple[str, ...]) -> ServerTagsChanged | None:
    return None if tags == server.tags else ServerTagsChanged(tags=tags)


def rename(server: Server, name: str) -> ServerRenamed | None:
    return None if server.name == name else ServerRenamed(name=name)


def describe(server: Server, description: str | None) -> ServerDescribed | None:
    unchanged = server.description == description
    return None if unchanged else ServerDescribed(description=description)


def set_hostname(server: Server, hostname: str) -> ServerHostnameChanged | None:
    """Change the host name that the metadata service tells; the guest learns of it when it asks."""
    unchanged = server.hostname == hostname
    return None if unchanged else ServerHostnameChanged(hostname=hostname)


def set_access_addresses(server: Server, given: dict[str, str]) -> ServerAccessAddressesChanged | None:
    """Say by which addresses it is reached; one that is not given stays."""
    present = {"access_ipv4": server.access_ipv4, "access_ipv6": server.access_ipv6}
    wanted = present | given
    return None if wanted == present else ServerAccessAddressesChanged(**wanted)


def _access_addresses(_server: Server, event: ServerAccessAddressesChanged, _meta: Metadata) -> Fields:
    return {"access_ipv4": event.access_ipv4, "access_ipv6": event.access_ipv6}


def _detail(name: str) -> Change:
    """For events that say what one field is now."""
    return lambda _server, event, _meta: {name: getattr(event, name)}


def _locked(_server: Server, event: ServerLocked, _meta: Metadata) -> Fields:
    return {"lock": Lock(by_owner=event.by_owner, reason=event.reason)}


CHANGES: dict[type[Event], Change] = {
    ServerRenamed: _detail("name"),
    ServerDescribed: _detail("description"),
    ServerHostnameChanged: _detail("hostname"),
    ServerAccessAddressesChanged: _access_addresses,
    ServerMetadataChanged: _detail("metadata"),
    ServerTagsChanged: _detail("tags"),
    ServerLocked: _locked,
    ServerUnlocked: lambda _server, _event, _meta: {"lock": None},
}
