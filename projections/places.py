"""Where is a server, and where else may something of it be? What steps of actions are told by."""

from typing import Any

import msgspec

from domain.server.creation import ServerPlaced
from domain.server.moves.cold import ServerMoved, ServerResizeReverted
from domain.server.moves.course import MoveRequested, ServerTargetChosen, ServerTargetFailed
from domain.server.moves.evacuation import ServerEvacuated
from domain.server.moves.live import ServerArrived
from projections.table import Table

replace = msgspec.structs.replace


class ServerPlace(msgspec.Struct, frozen=True, kw_only=True):
    """The hosts of one server."""

    server_id: str
    host: str | None
    other: str | None = None
    """While it moves, and until it is said whether it stays: the one where it goes, or comes from."""


TABLE = Table(
    name="server_places",
    row=ServerPlace,
    key=("server_id",),
    columns={"server_id": "text", "host": "text", "other": "text"},
)
ANEW = (ServerPlaced, MoveRequested)
"""Events that say it whatever was before."""
ARRIVALS = (ServerMoved, ServerArrived, ServerEvacuated, ServerResizeReverted)
CHANGES = (*ANEW, ServerTargetChosen, ServerTargetFailed, *ARRIVALS)


def after(server_id: str, place: ServerPlace | None, event: Any) -> ServerPlace:
    """Where it is after one of CHANGES."""
    place = place or ServerPlace(server_id=server_id, host=None)
    match event:
        case ServerPlaced():
            return replace(place, host=event.host, other=None)
        case MoveRequested():
            return replace(place, host=event.move.source.host, other=None)
        case ServerTargetChosen():
            return replace(place, other=event.host)
        case ServerTargetFailed():
            return replace(place, other=None)
        case _:
            return replace(place, host=place.other, other=place.host)
