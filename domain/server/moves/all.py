"""What can be done to move a server, and what the events of moves change."""

from domain.log.record import Event
from domain.server.action import Action, Change, Task
from domain.server.moves import cold, course, dead_hosts, evacuation, live, steering
from domain.server.moves.cold import CONFIRM, MIGRATE, RESIZE_ACTION, REVERT
from domain.server.moves.evacuation import EVACUATE
from domain.server.moves.live import LIVE_MIGRATE

MOVES: tuple[Action, ...] = (RESIZE_ACTION, MIGRATE, LIVE_MIGRATE, EVACUATE)
"""They begin a move."""
ENDINGS: tuple[Action, ...] = (CONFIRM, REVERT)
"""And these are the user's word on it."""
CHANGES: dict[type[Event], Change] = (
    course.CHANGES | cold.CHANGES | live.CHANGES | evacuation.CHANGES | steering.CHANGES | dead_hosts.CHANGES
)
"""For each event but those that begin or end an action."""
TASKS: tuple[Task, ...] = course.TASKS
"""Of a move that is given up."""
