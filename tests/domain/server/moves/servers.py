"""Servers on their way, told by their events."""

from domain.catalogue.flavor import Flavor
from domain.guest import PowerState
from domain.log.record import Event
from domain.server.moves import cold
from domain.server.moves.cold import (
    ServerMoved,
    ServerResizeConfirmRequested,
    ServerResizeReverted,
    ServerResizeRevertRequested,
    ServerSourceReady,
)
from domain.server.moves.course import ServerMoveAbandoned, ServerTargetChosen, ServerTargetCleared
from domain.server.state import Server, existing
from tests.domain.server.servers import (
    BUILT,
    DELETE,
    FAULT,
    LATER,
    PLACED,
    REQUESTED,
    SERVER_ID,
    STOP,
    STOPPED,
    given,
    told_by,
)

LARGER = Flavor(id="2", name="m1.small", vcpus=2, ram_mb=1024, disk_gb=10)
RESIZE = cold.resize(existing(given("active"), SERVER_ID), LATER, LARGER, None)
MIGRATE = cold.migrate(existing(given("stopped"), SERVER_ID), LATER, None, None)
CHOSEN = ServerTargetChosen(host="node2", host_id="h2", epoch=2, availability_zone="nova")
SOURCE_READY = ServerSourceReady(epoch=1)
MOVED = ServerMoved(epoch=2, power_state=PowerState.RUNNING)
MOVE_ABANDONED = ServerMoveAbandoned(fault=FAULT, deadline=LATER)
CONFIRM = ServerResizeConfirmRequested(deadline=LATER)
REVERT = ServerResizeRevertRequested(deadline=LATER)
CLEARED = ServerTargetCleared(epoch=2)
REVERTED = ServerResizeReverted(epoch=1, power_state=PowerState.RUNNING)
ARRIVED = (CHOSEN, SOURCE_READY, MOVED)

MOVING: dict[str, list[Event]] = {
    "choosing": [REQUESTED, PLACED, BUILT, RESIZE],
    "giving": [REQUESTED, PLACED, BUILT, RESIZE, CHOSEN],
    "receiving": [REQUESTED, PLACED, BUILT, RESIZE, CHOSEN, SOURCE_READY],
    "receiving stopped": [REQUESTED, PLACED, BUILT, STOP, STOPPED, MIGRATE, CHOSEN, SOURCE_READY],
    "undoing": [REQUESTED, PLACED, BUILT, RESIZE, CHOSEN, SOURCE_READY, MOVE_ABANDONED],
    "returning": [REQUESTED, PLACED, BUILT, RESIZE, CHOSEN, MOVE_ABANDONED],
    "resized": [REQUESTED, PLACED, BUILT, RESIZE, *ARRIVED],
    "confirming": [REQUESTED, PLACED, BUILT, RESIZE, *ARRIVED, CONFIRM],
    "reverting": [REQUESTED, PLACED, BUILT, RESIZE, *ARRIVED, REVERT],
    "taking back": [REQUESTED, PLACED, BUILT, RESIZE, *ARRIVED, REVERT, CLEARED],
    "deleting resized": [REQUESTED, PLACED, BUILT, RESIZE, *ARRIVED, DELETE],
}
"""Histories by the name of the state that they lead to."""


def there(name: str) -> Server:
    server = told_by(MOVING[name])
    assert server
    return server
