"""Nova's status of a server, out of vm_state and task_state."""

from adapters.rest.kit.words import words
from domain.server.actions.reboot import REBOOTING, REBOOTING_HARD
from domain.server.actions.rebuild import REBUILDING
from domain.server.moves.cold import RESIZE_FINISH, RESIZE_REVERTING
from domain.server.moves.course import MIGRATING, REBUILD_SPAWNING, RESIZE_MIGRATING, RESIZE_PREP
from domain.server.state import (
    ACTIVE,
    BUILDING,
    DELETED,
    ERROR,
    OFFLOADED,
    PAUSED,
    RESCUED,
    RESIZED,
    SHELVED,
    STOPPED,
    SUSPENDED,
    Server,
)

STATUSES: dict[str, dict[str | None, str]] = {
    BUILDING: {None: "BUILD"},
    ACTIVE: {
        None: "ACTIVE",
        RESIZE_PREP: "RESIZE",
        RESIZE_MIGRATING: "RESIZE",
        RESIZE_FINISH: "RESIZE",
        MIGRATING: "MIGRATING",
        REBOOTING: "REBOOT",
        REBOOTING_HARD: "HARD_REBOOT",
        REBUILDING: "REBUILD",
        REBUILD_SPAWNING: "REBUILD",
    },
    STOPPED: {
        None: "SHUTOFF",
        RESIZE_PREP: "RESIZE",
        RESIZE_MIGRATING: "RESIZE",
        RESIZE_FINISH: "RESIZE",
        REBUILDING: "REBUILD",
        REBUILD_SPAWNING: "REBUILD",
    },
    PAUSED: {None: "PAUSED", MIGRATING: "MIGRATING"},
    SUSPENDED: {None: "SUSPENDED"},
    RESCUED: {None: "RESCUE"},
    RESIZED: {None: "VERIFY_RESIZE", RESIZE_REVERTING: "REVERT_RESIZE"},
    SHELVED: {None: "SHELVED"},
    OFFLOADED: {None: "SHELVED_OFFLOADED"},
    ERROR: {None: "ERROR", REBUILDING: "REBUILD", REBUILD_SPAWNING: "REBUILD"},
    DELETED: {None: "DELETED"},
}
"""By vm_state, then by task_state; None is any other task."""

NEVER_HERE = words("PASSWORD SOFT_DELETED")
"""Nova's other statuses: what has them cannot be made here, so a listing by them finds nothing."""

WITH_FAULT = ("ERROR", "DELETED")
WITH_PROGRESS = ("ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING")


def status_of(server: Server) -> str:
    by_task = STATUSES.get(server.vm_state, {None: "UNKNOWN"})
    return by_task.get(server.task_state, by_task[None])


def states_of(status: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The vm_states, and the task_states (none: any), that a listing by status means. As in Nova, ACTIVE
    includes servers that are being rebooted."""
    vm_states: list[str] = []
    task_states: list[str] = []
    any_task = False
    for vm_state, by_task in STATUSES.items():
        for task_state, shown in by_task.items():
            if shown == status.upper():
                vm_states.append(vm_state)
                any_task = any_task or task_state is None
                if task_state is not None:
                    task_states.append(task_state)
    return tuple(dict.fromkeys(vm_states)), () if any_task else tuple(task_states)
