"""What was done to a server, by whom, and how did it go? Nova's os-instance-actions.

An action is everything that one request id did to one server; its events are the steps, with Nova's names.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from domain.log.record import Event, Recorded
from domain.server import deletion
from domain.server.action import ServerActionFailed
from domain.server.actions.all import ACTIONS
from domain.server.actions.shelve import OFFLOAD, ServerShelved
from domain.server.actions.unshelve import UNSHELVE
from domain.server.creation import ServerBuildFailed, ServerBuilt, ServerFailed, ServerPlaced, ServerRequested
from domain.server.deletion import ServerDeleted, ServerDeleteRequested
from domain.server.details import ServerLocked, ServerUnlocked
from domain.server.instance_action import ActionEvent, InstanceAction
from domain.server.moves import steering
from domain.server.moves.all import ENDINGS, MOVES
from domain.server.moves.cold import CONFIRM, MIGRATE, RESIZE_ACTION, REVERT, ServerSourceReady
from domain.server.moves.course import (
    ServerMoveAbandoned,
    ServerMoveReturned,
    ServerTargetChosen,
    ServerTargetCleared,
    ServerTargetFailed,
)
from domain.server.moves.dead_hosts import ServerTargetLeft
from domain.server.moves.evacuation import EVACUATE
from domain.server.moves.live import LIVE_MIGRATE, ServerArrived, ServerTargetReady
from domain.server.moves.steering import (
    ServerMigrationAbortRequested,
    ServerMigrationForceCompleteRequested,
    ServerMigrationLost,
)
from domain.server.state import CREATE
from projections import places
from projections.places import ServerPlace
from projections.table import Key, Rows, Table

SCHEDULE, BUILD = "conductor_schedule_and_build_instances", "compute__do_build_and_run_instance"

STARTS: dict[type, tuple[str, str]] = {
    ServerRequested: (CREATE, SCHEDULE),
    **{action.requested: (action.name, action.step) for action in (*ACTIONS, *MOVES, *ENDINGS)},
    ServerDeleteRequested: (deletion.NAME, deletion.STEP),
    ServerMigrationAbortRequested: (steering.ABORT_NAME, steering.ABORT_STEP),
    ServerMigrationForceCompleteRequested: (steering.FORCE_NAME, steering.FORCE_STEP),
}
"""The events that begin an action: its name, and its first step."""

AT_ONCE: dict[type, str] = {ServerLocked: "lock", ServerUnlocked: "unlock"}
"""Actions that are over when they are accepted, and have no steps."""

BEGINNINGS = frozenset({*STARTS, *AT_ONCE})
"""No action of their request was there before."""

SUCCESSES: tuple[type, ...] = (
    ServerBuilt,
    *dict.fromkeys(action.done for action in (*ACTIONS, *MOVES, *ENDINGS)),
    ServerDeleted,
)
CHOOSE, LEAVE, ARRIVE = "conductor_migrate_server", "compute_resize_instance", "compute_finish_resize"
RETURN, TAKE_BACK = "compute_revert_resize", "compute_finish_revert_resize"
"""Nova's names of the legs of a move."""
NEXT_STEPS: dict[type, str] = {
    ServerBuildFailed: SCHEDULE,
    ServerTargetChosen: LEAVE,
    ServerSourceReady: ARRIVE,
    ServerTargetReady: "compute_live_migration",
    ServerArrived: "compute_post_live_migration_at_destination",
    ServerTargetFailed: CHOOSE,
    ServerMoveAbandoned: RETURN,
    ServerMigrationLost: RETURN,
    ServerTargetCleared: TAKE_BACK,
    ServerTargetLeft: TAKE_BACK,
}
"""What follows when a step has ended: with an error, if the event says why."""
OTHER_STEPS: dict[str, dict[str, str]] = {
    LIVE_MIGRATE.name: {LEAVE: "compute_pre_live_migration", RETURN: "compute_rollback_live_migration"},
    EVACUATE.name: {LEAVE: "compute_rebuild_instance", CHOOSE: EVACUATE.step},
    UNSHELVE.name: {BUILD: "compute_unshelve_instance", SCHEDULE: UNSHELVE.step},
}
"""What other names these steps have where the guest runs meanwhile, is made anew, or comes back."""
AT_OTHER = {
    (RESIZE_ACTION.name, ARRIVE),
    (RESIZE_ACTION.name, RETURN),
    (MIGRATE.name, ARRIVE),
    (MIGRATE.name, RETURN),
    (CONFIRM.name, CONFIRM.step),
    (REVERT.name, TAKE_BACK),
    (LIVE_MIGRATE.name, OTHER_STEPS[LIVE_MIGRATE.name][LEAVE]),
    (EVACUATE.name, OTHER_STEPS[EVACUATE.name][LEAVE]),
}
"""Actions and their steps that are not done where the server is at that time, but on the other host of its move."""
BY_HOSTS, BY_NOBODY = "compute_", RESIZE_ACTION.step
"""Names of steps: how those begin that hosts do, but for one, in which a host is looked for."""
SUPERSEDED = "Superseded by a later action."
TOO_LATE = "The server had arrived at its target before."

TABLE = Table(
    name="instance_actions",
    row=InstanceAction,
    key=("server_id", "request_id"),
    columns={
        "server_id": "text",
        "request_id": "text",
        "cell": "text",
        "action": "text",
        "user_id": "text",
        "project_id": "text",
        "start_time": "timestamptz",
        "updated_at": "timestamptz",
        "finish_time": "timestamptz",
        "message": "text",
        "events": "json",
    },
)

replace = msgspec.structs.replace


def newest_first(rows: Iterable[InstanceAction]) -> list[InstanceAction]:
    """As the read database orders them, and so the API."""
    return sorted(sorted(rows, key=lambda row: row.request_id), key=lambda row: row.start_time, reverse=True)


class InstanceActionsView:
    """Follows the servers' events. The follow-up of a request carries its request id, so that tells the action."""

    name = "instance_actions"
    version = 3
    folds = True
    tables = (TABLE, places.TABLE)

    def reads(self, recorded: Recorded) -> Iterable[tuple[Table, Key]]:
        """The action of the event's request, the one that it supersedes, and where the server is."""
        if recorded.aggregate.kind != "server":
            return
        if _asks_where(recorded.event):
            yield places.TABLE, (recorded.aggregate.id,)
        if type(recorded.event) not in BEGINNINGS:
            yield TABLE, (recorded.aggregate.id, recorded.meta.request_id)
        for ended in ("supersedes", "order"):
            if request_id := getattr(recorded.event, ended, None):
                yield TABLE, (recorded.aggregate.id, request_id)

    def apply(self, recorded: Recorded, rows: Rows) -> None:
        if recorded.aggregate.kind != "server":
            return
        event, meta = recorded.event, recorded.meta
        superseded = _open(rows, recorded, getattr(event, "supersedes", None))
        if superseded:
            rows.put(TABLE, _end(superseded, meta.time, "Error", SUPERSEDED))
        if order := _open(rows, recorded, getattr(event, "order", None)):
            rows.put(TABLE, _obeyed(order, event, meta.time))
        place = rows.get(places.TABLE, (recorded.aggregate.id,)) if _asks_where(event) else None
        if isinstance(event, places.CHANGES):
            place = places.after(recorded.aggregate.id, place, event)
            rows.put(places.TABLE, place)
        start = STARTS.get(type(event))
        if start:
            rows.put(TABLE, _begin(recorded, *start, place=place))
            return
        if type(event) in AT_ONCE:
            rows.put(TABLE, replace(_begin(recorded, AT_ONCE[type(event)]), finish_time=meta.time))
            return
        action = _open(rows, recorded, meta.request_id)
        if action is None:
            return
        rows.put(TABLE, _followed(action, event, meta.time, place))


def _asks_where(event: Event) -> bool:
    """Whether something follows for which it has to be known where the server is."""
    kind = type(event)
    if isinstance(event, places.ANEW) or kind is ServerRequested:
        return False
    return kind in STARTS or kind in NEXT_STEPS or isinstance(event, (*places.CHANGES, ServerShelved))


def _host(action: str, step: str, place: ServerPlace | None) -> str | None:
    """Who does a step."""
    if place is None or not step.startswith(BY_HOSTS) or step == BY_NOBODY:
        return None
    return place.other if (action, step) in AT_OTHER else place.host


def _followed(action: InstanceAction, event: Event, at: datetime, place: ServerPlace | None) -> InstanceAction:
    """What an open action is after an event of its request."""
    match event:
        case ServerPlaced():
            build = OTHER_STEPS.get(action.action, {}).get(BUILD, BUILD)
            return _next_step(_end_step(action, at, "Success"), build, at, place)
        case ServerShelved() if event.offloading:
            return _next_step(_end_step(action, at, "Success"), OFFLOAD.step, at, place)
        case _ if step := NEXT_STEPS.get(type(event)):
            fault = getattr(event, "fault", None)
            told = (fault.message, fault.details) if fault else (_measured(event),)
            action = _end_step(action, at, "Error" if fault else "Success", *told)
            return _next_step(action, OTHER_STEPS.get(action.action, {}).get(step, step), at, place)
        case ServerMoveReturned():
            return _end(action, at, "Success", message="Error")
        case ServerFailed() | ServerActionFailed():
            return _end(action, at, "Error", event.fault.message, event.fault.details)
        case _ if isinstance(event, SUCCESSES):
            return _end(action, at, "Success")
    return action


def _open(rows: Rows, recorded: Recorded, request_id: str | None) -> InstanceAction | None:
    row: InstanceAction | None = rows.get(TABLE, (recorded.aggregate.id, request_id)) if request_id else None
    return row if row and row.finish_time is None else None


def _obeyed(order: InstanceAction, event: Event, at: datetime) -> InstanceAction:
    """What has come of an order to a migration that ends."""
    aborts = order.action == steering.ABORT_NAME
    match event:
        case ServerMoveAbandoned():
            failed = not (aborts and event.cancelled)
            return _end(order, at, "Error", event.fault.message) if failed else _end(order, at, "Success")
        case ServerArrived():
            return _end(order, at, "Error", TOO_LATE) if aborts else _end(order, at, "Success")
        case _:
            return _end(order, at, "Error", SUPERSEDED)


def _measured(event: Event) -> str | None:
    downtime = event.downtime_ms if isinstance(event, ServerArrived) else None
    return None if downtime is None else f"The server stood still for {downtime} ms."


def _begin(recorded: Recorded, name: str, *steps: str, place: ServerPlace | None = None) -> InstanceAction:
    meta = recorded.meta
    return InstanceAction(
        server_id=recorded.aggregate.id,
        request_id=meta.request_id,
        cell=recorded.cell,
        action=name,
        user_id=meta.user_id,
        project_id=meta.project_id,
        start_time=meta.time,
        updated_at=meta.time,
        events=tuple(ActionEvent(event=step, start_time=meta.time, host=_host(name, step, place)) for step in steps),
    )


def _next_step(action: InstanceAction, event: str, at: datetime, place: ServerPlace | None) -> InstanceAction:
    step = ActionEvent(event=event, start_time=at, host=_host(action.action, event, place))
    return replace(action, events=(*action.events, step), updated_at=at)


def _end_step(
    action: InstanceAction, at: datetime, result: str, details: str | None = None, admin_details: str = ""
) -> InstanceAction:
    step = replace(
        action.events[-1], finish_time=at, result=result, details=details, admin_details=admin_details or None
    )
    return replace(action, events=(*action.events[:-1], step), updated_at=at)


def _end(
    action: InstanceAction,
    at: datetime,
    result: str,
    details: str | None = None,
    admin_details: str = "",
    message: str | None = None,
) -> InstanceAction:
    """``message``: of an action that fails although its last step is a success."""
    action = _end_step(action, at, result, details, admin_details)
    return replace(action, finish_time=at, message=message or ("Error" if result == "Error" else None))
