"""The ends of the embedded identity's tokens. A token itself is in no log: it says all that it is (ADR 29)."""

from datetime import datetime

import msgspec

from domain.log.kind import Kind, unfoldable
from domain.log.record import AggregateId, Event, Metadata


class TokenRevoked(Event, tag="token.revoked", frozen=True, kw_only=True):
    """A token is void before its time: somebody has logged out, or an administrator wants it so."""

    user_id: str
    """Whose it was; who revoked it surrounds the event."""
    expires_at: datetime
    """From then on nobody needs to know of it any more."""


class RevokedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token that is void."""

    expires_at: datetime


def aggregate(audit_id: str) -> AggregateId:
    """The aggregate of one token, by what names it without opening anything."""
    return AggregateId("token", audit_id)


def revoke(revoked: RevokedToken | None, user_id: str, expires_at: datetime) -> TokenRevoked | None:
    """Make a token void; None if it is."""
    return None if revoked else TokenRevoked(user_id=user_id, expires_at=expires_at)


def evolve(_state: RevokedToken | None, event: Event, _meta: Metadata) -> RevokedToken:
    if not isinstance(event, TokenRevoked):
        raise unfoldable(event)
    return RevokedToken(expires_at=event.expires_at)


KIND = Kind("token", (TokenRevoked,), evolve)
