"""The password that a guest posts for its owner, encrypted by the guest itself."""

from domain.errors import Refused
from domain.log.record import Event
from domain.server.action import Change
from domain.server.state import Server, existing


class ServerPasswordSet(Event, tag="server.password_set", frozen=True, kw_only=True):
    """The guest has posted its administrator's password, encrypted for the owner of the SSH key; sealed here too."""

    password: str


class ServerPasswordCleared(Event, tag="server.password_cleared", frozen=True, kw_only=True):
    """The posted password is forgotten; the guest may post another."""


def set_password(server: Server | None, server_id: str, sealed: str) -> ServerPasswordSet:
    """Keep what the guest posted as its password; once, until the owner clears it."""
    if existing(server, server_id).sealed_password is not None:
        raise Refused("server.password_set", f"Instance {server_id} has posted its password already.")
    return ServerPasswordSet(password=sealed)


def clear_password(server: Server | None, server_id: str) -> ServerPasswordCleared | None:
    """Forget the posted password; None if there is none."""
    return ServerPasswordCleared() if existing(server, server_id).sealed_password is not None else None


CHANGES: dict[type[Event], Change] = {
    ServerPasswordSet: lambda _server, event, _meta: {"sealed_password": event.password, "has_key": True},
    ServerPasswordCleared: lambda _server, _event, _meta: {"sealed_password": None},
}
