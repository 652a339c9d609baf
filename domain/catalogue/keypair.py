"""Keypairs: the public SSH keys of a user. All keys of one user are one aggregate."""

from datetime import datetime

import msgspec

from domain.errors import Refused, not_found
from domain.log.kind import Kind, unfoldable
from domain.log.record import AggregateId, Event, Metadata

MAX_KEYPAIRS = 100
"""Of one user; Nova's default."""


class Keypair(msgspec.Struct, frozen=True, kw_only=True):
    """A public key. The private key is shown once and never kept."""

    name: str
    key_type: str
    public_key: str
    fingerprint: str
    created_at: datetime


class KeypairCreated(Event, tag="keypair.created", frozen=True, kw_only=True):
    """A key was imported, or made for the user."""

    name: str
    key_type: str
    public_key: str
    fingerprint: str


class KeypairDeleted(Event, tag="keypair.deleted", frozen=True, kw_only=True):
    """The key is forgotten; servers that were given it still have it."""

    name: str


class Keypairs(msgspec.Struct, frozen=True):
    """The keypairs of one user, by name."""

    by_name: dict[str, Keypair] = {}

    def get(self, name: str) -> Keypair:
        """The keypair of that name; raises Refused (404)."""
        try:
            return self.by_name[name]
        except KeyError:
            raise not_found("Keypair", name) from None


def aggregate(user_id: str) -> AggregateId:
    return AggregateId("keypair", user_id)


def create(
    keypairs: Keypairs | None, *, name: str, key_type: str, public_key: str, fingerprint: str
) -> KeypairCreated:
    """Keep a key under a name that the user has not used yet. Raises Refused: 409 for a name that is used, 403 for
    more keys than a user may have."""
    if keypairs and len(keypairs.by_name) >= MAX_KEYPAIRS:
        raise Refused("keypair.quota", "Quota exceeded, too many key pairs.", status=403)
    if keypairs and name in keypairs.by_name:
        raise Refused("keypair.exists", f"Key pair '{name}' already exists.")
    return KeypairCreated(name=name, key_type=key_type, public_key=public_key, fingerprint=fingerprint)


def delete(keypairs: Keypairs | None, name: str) -> KeypairDeleted:
    (keypairs or Keypairs()).get(name)
    return KeypairDeleted(name=name)


def evolve(state: Keypairs | None, event: Event, meta: Metadata) -> Keypairs:
    by_name = dict(state.by_name) if state else {}
    match event:
        case KeypairCreated():
            by_name[event.name] = Keypair(
                name=event.name,
                key_type=event.key_type,
                public_key=event.public_key,
                fingerprint=event.fingerprint,
                created_at=meta.time,
            )
        case KeypairDeleted():
            del by_name[event.name]
        case _:
            raise unfoldable(event)
    return Keypairs(by_name)


KIND = Kind("keypair", (KeypairCreated, KeypairDeleted), evolve)
