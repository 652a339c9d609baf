"""How each event changes a server."""

import msgspec

from domain.log.kind import Kind, Snapshots, unfoldable
from domain.log.record import Event, Metadata
from domain.server import action, creation, deletion, details, observation, password, reset
from domain.server.action import Change, Fields, ServerActionFailed
from domain.server.actions import create_image, shelve, unshelve
from domain.server.actions.all import ACTIONS
from domain.server.creation import ServerAbandoned, ServerRequested
from domain.server.moves import all as moves
from domain.server.moves import cold
from domain.server.state import Server, weigh


def _failed(server: Server, event: ServerActionFailed, meta: Metadata) -> Fields:
    of_images = create_image.given_up(server) | shelve.given_up(server, event) | unshelve.failed(server, event)
    return action.failed(server, event, meta) | cold.failed(server) | of_images


CHANGES: dict[type[Event], Change] = (
    creation.CHANGES
    | {
        event: change
        for each in (*ACTIONS, *moves.MOVES, *moves.ENDINGS)
        for event, change in ((each.requested, each.began), (each.done, each.ended))
    }
    | moves.CHANGES
    | create_image.CHANGES
    | shelve.CHANGES
    | {ServerActionFailed: _failed}
    | observation.CHANGES
    | details.CHANGES
    | password.CHANGES
    | reset.CHANGES
    | deletion.CHANGES
)
"""For every event after the first, the fields that it changes."""

EVENTS: tuple[type[Event], ...] = (ServerRequested, ServerAbandoned, *CHANGES)

VERSION = 7
"""Of what ``evolve`` makes of events: raised when it changes, so that what was kept of it is made anew."""


def evolve(state: Server | None, event: Event, meta: Metadata) -> Server:
    if isinstance(event, ServerRequested):
        return creation.requested(event, meta)
    if isinstance(event, ServerAbandoned):
        return creation.abandoned(event, meta)
    change = CHANGES.get(type(event))
    if change is None:
        raise unfoldable(event)
    assert state is not None
    fields = change(state, event, meta)
    return msgspec.structs.replace(state, updated_at=meta.time, version=state.version + 1, **fields)


KIND = Kind("server", EVENTS, evolve, snapshots=Snapshots(Server, VERSION, weigh))
