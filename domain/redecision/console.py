"""The rules of consoles. Whether the server was such that it had a screen is believed: who gave the token out looked
at it a moment before, and nothing keeps it from changing meanwhile."""

from domain import console
from domain.console import (
    ConsoleClosed,
    ConsoleGrant,
    ConsoleGranted,
    ConsoleOpened,
    ConsoleRefused,
    ConsoleRevoked,
)
from domain.errors import Refused
from domain.log.record import Event, Metadata
from domain.redecision.rules import Rule


def _granted(held: ConsoleGrant | None, event: ConsoleGranted, meta: Metadata) -> Event:
    if held is not None:
        raise Refused("console.used", "This token was given out already.")
    if event.expires_at <= meta.time:
        raise Refused("console.expired", "This token had expired before it was given out.")
    return event


def _opened(held: ConsoleGrant | None, event: ConsoleOpened, meta: Metadata) -> Event:
    if console.check_token(held, meta.time).revoked:
        raise Refused("console.revoked", "This console was revoked.")
    return event


RULES: dict[type[Event], Rule] = {
    ConsoleGranted: _granted,
    ConsoleOpened: _opened,
    ConsoleClosed: lambda held, event, _: console.close(held, event),
    ConsoleRefused: lambda held, event, _: console.refuse(held, event.code, event.address),
    ConsoleRevoked: lambda held, _event, _: console.revoke(held),
}
