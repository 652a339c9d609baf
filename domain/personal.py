"""Which texts in events say something of people, by the words with which an operator has them sealed; and whose they
are.

A sealed text stands where the plain one would, so that no event has another form.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from domain.catalogue.keypair import KeypairCreated, KeypairDeleted
from domain.console import ConsoleOpened, ConsoleRefused
from domain.log.record import Event, Recorded
from domain.neighbours.network import PortsChanged
from domain.neighbours.volume.changes import StorageChanged
from domain.server.actions.rebuild import ServerRebuildRequested
from domain.server.creation import ServerPlaced, ServerRequested
from domain.server.details import ServerAccessAddressesChanged, ServerDescribed

KEYPAIRS, ADDRESSES, DESCRIPTIONS = "keypairs", "addresses", "descriptions"
WORDS = (KEYPAIRS, ADDRESSES, DESCRIPTIONS)

ACCESS = {"access_ipv4": ADDRESSES, "access_ipv6": ADDRESSES}
WISHED = {"key_name": KEYPAIRS, "public_key": KEYPAIRS, "description": DESCRIPTIONS, **ACCESS}

TEXTS: Mapping[type[Event], Mapping[str, str]] = {
    ServerRequested: {**WISHED, "networks.fixed_ip": ADDRESSES},
    ServerRebuildRequested: WISHED,
    ServerDescribed: {"description": DESCRIPTIONS},
    ServerAccessAddressesChanged: ACCESS,
    ServerPlaced: {"nics.ip_address": ADDRESSES},
    PortsChanged: {"changes.ip_address": ADDRESSES},
    StorageChanged: {"changes.description": DESCRIPTIONS},
    ConsoleOpened: {"address": ADDRESSES},
    ConsoleRefused: {"address": ADDRESSES},
    KeypairCreated: {"name": KEYPAIRS, "public_key": KEYPAIRS, "fingerprint": KEYPAIRS},
    KeypairDeleted: {"name": KEYPAIRS},
}
"""By event, the fields, or the fields of its parts; each with its word."""


class Owner(NamedTuple):
    """Whose key seals a text: a server's, or that of the aggregate in which it stands, such as a user's keypairs."""

    cell: str
    id: str


Rewrite = Callable[[Owner, str], str]
S = TypeVar("S", bound=msgspec.Struct)


def rewritten(event: Event, place: Owner, words: Collection[str], rewrite: Rewrite) -> Event:
    """The event with its texts of these words rewritten; the same if none is. ``place`` is where it stands."""
    changed: dict[str, Any] = {}
    owner = _owner(event, place)
    for path, word in TEXTS.get(type(event), {}).items():
        if word not in words:
            continue
        name, _, inner = path.partition(".")
        value = getattr(event, name)
        if inner:
            changed[name] = tuple(_with(part, inner, _owner(part, owner), rewrite) for part in value)
        else:
            changed[name] = rewrite(owner, value) if value else value
    if all(getattr(event, name) == value for name, value in changed.items()):
        return event
    return msgspec.structs.replace(event, **changed)


def texts(recorded: Recorded) -> list[tuple[Owner, str]]:
    """All of them, with their owners."""
    found: list[tuple[Owner, str]] = []

    def note(owner: Owner, text: str) -> str:
        found.append((owner, text))
        return text

    rewritten(recorded.event, place_of(recorded), WORDS, note)
    return found


def place_of(recorded: Recorded) -> Owner:
    return Owner(recorded.cell, recorded.aggregate.id)


def _owner(part: msgspec.Struct, place: Owner) -> Owner:
    return Owner(getattr(part, "cell", place.cell), getattr(part, "server_id", place.id))


def _with(part: S, name: str, owner: Owner, rewrite: Rewrite) -> S:
    text: str | None = getattr(part, name, None)
    return msgspec.structs.replace(part, **{name: rewrite(owner, text)}) if text else part
