"""Deletion: allowed in any state, over any action, and it cannot fail."""

from datetime import datetime, timedelta

from domain.guest import PowerState
from domain.log.record import Event, Metadata
from domain.server.action import IDLE, ActionRequested, Change, Fields, begun, superseded
from domain.server.moves.move import Place
from domain.server.state import DELETED, Server

NAME, STEP = "delete", "compute_terminate_instance"
"""Of the action, and of its work, in Nova's instance actions."""
DELETING = "deleting"
"""Its task_state."""
COMMAND = "destroy"
"""What the host is told; it cannot fail at it, only be late."""
TIME = timedelta(minutes=2)
"""After which it is completed without the host."""


class ServerDeleteRequested(ActionRequested, tag="server.delete_requested", frozen=True, kw_only=True):
    """Deletion was accepted. It cannot fail: past the deadline it is completed without the host."""

    supersedes: str | None = None
    """The request id of the action under way that ends by this."""
    order: str | None = None
    """And of what was said of its move."""


class ServerDeleted(Event, tag="server.deleted", frozen=True, kw_only=True):
    """Guest, claim, addresses, quota and secrets are gone. ``without_host``: the host did not answer, and
    removes the guest when it comes back."""

    without_host: bool = False


class ServerElsewhereCleared(Event, tag="server.elsewhere_cleared", frozen=True, kw_only=True):
    """A server that was on its way to another host, or size, is on its own host only: of the other there is nothing,
    and no claim; or it will be gone when that host comes back."""


def request(server: Server, deadline: datetime) -> ServerDeleteRequested | None:
    """Delete in any state; None if that is under way already."""
    if server.task_state == DELETING:
        return None
    order = server.move.order_request if server.move else None
    return ServerDeleteRequested(deadline=deadline, supersedes=superseded(server), order=order)


def deleted(server: Server | None, *, without_host: bool) -> ServerDeleted | None:
    """Everything of the server is gone."""
    return ServerDeleted(without_host=without_host) if server and server.task_state == DELETING else None


def _deleted(_server: Server, _event: ServerDeleted, meta: Metadata) -> Fields:
    return IDLE | {
        "vm_state": DELETED,
        "power_state": PowerState.NOSTATE,
        "terminated_at": meta.time,
        "nics": (),
        "secrets": None,
        "sealed_password": None,
        "rescue": None,
        "lock": None,
        "move": None,
        "remains": (),
        "imaging": None,
        "unwanted_images": (),
        "shelf": None,
    }


def elsewhere(server: Server) -> Place | None:
    """Where something of a moving server is beside its own host: it is removed there first."""
    move = server.move
    others = [place for place in move.places if place.host != server.host] if move else []
    return others[-1] if others else None


def elsewhere_cleared(server: Server | None) -> ServerElsewhereCleared | None:
    """A server that is being deleted is on its own host only."""
    return ServerElsewhereCleared() if server and server.task_state == DELETING and server.move else None


CHANGES: dict[type[Event], Change] = {
    ServerElsewhereCleared: lambda _server, _event, _meta: {"move": None},
    ServerDeleteRequested: begun(NAME, DELETING),
    ServerDeleted: _deleted,
}
