"""What comes of an action: which report of a host counts, and what it is recorded as."""

from datetime import datetime

import msgspec

from domain.guest import GuestState
from domain.server import creation, deletion
from domain.server.action import ActionDone, ServerActionFailed, Task
from domain.server.actions import shelve, unshelve
from domain.server.actions.all import ACTIONS
from domain.server.creation import ServerBuildFailed, ServerFailed
from domain.server.moves import all as moves
from domain.server.moves import course
from domain.server.moves.cold import RESIZE_CONFIRMING
from domain.server.moves.course import ServerMoveAbandoned, ServerTargetFailed
from domain.server.moves.live import ServerArrived
from domain.server.moves.move import EVACUATION, TARGET
from domain.server.parts import Fault
from domain.server.state import DELETED, Server

TASKS: dict[str, Task] = {
    task.state: task
    for task in (
        creation.TASK,
        *(task for action in (*ACTIONS, *moves.MOVES, *moves.ENDINGS) for task in action.tasks),
        *moves.TASKS,
    )
}
"""What a host is told in which task_state, or on which leg of a move. Deletion is not among them: no host can fail at
it."""


NEVER_GIVEN_UP = (RESIZE_CONFIRMING, *course.ONE_WAY)
"""Legs of a move that end otherwise, however long they take."""


def task_of(server: Server) -> Task | None:
    """What a host is told now."""
    if course.is_choosing(server):
        return None
    if server.is_returning:
        return unshelve.BUILD if server.host else None
    leg = server.move.leg if server.move else None
    return TASKS.get(leg or server.task_state or "")


def told(server: Server, task: Task) -> tuple[str | None, int]:
    """The host that is told, and the epoch of the assignment that it is told of."""
    if task.at is None or server.move is None:
        return server.host, server.epoch
    place = server.move.at(task.at)
    return place.host, place.epoch


def _acting(server: Server | None, epoch: int, version: int) -> tuple[Server, Task] | None:
    """The server and its task, if what is reported on is the action under way: the one accepted at ``version``."""
    if server is None or server.vm_state == DELETED or server.action is None or server.action.version != version:
        return None
    task = task_of(server)
    if task is None:
        return None
    host, told_epoch = told(server, task)
    return (server, task) if host is not None and told_epoch == epoch else None


def done(server: Server | None, command: str, version: int, guest: GuestState) -> ActionDone | None:
    """The host has carried out ``command``, for the request accepted at ``version``, and the guest is now so."""
    acting = _acting(server, guest.epoch, version)
    if acting is None or acting[1].command != command:
        return None
    server, task = acting
    event = task.done(guest)
    if isinstance(event, ServerArrived) and server.move:
        return msgspec.structs.replace(event, order=server.move.order_request)
    return shelve.with_what_follows(server, event)


Failed = ServerBuildFailed | ServerActionFailed | ServerTargetFailed | ServerMoveAbandoned


def failed(
    server: Server | None, command: str, epoch: int, version: int, fault: Fault, now: datetime
) -> Failed | None:
    """The host could not carry out ``command``, for the request accepted at ``version``. Deletion cannot fail, nor
    can what a move has to remove."""
    acting = _acting(server, epoch, version)
    if acting is None or acting[1].command != command:
        return None
    server, task = acting
    if not task.can_fail:
        return None
    if server.is_building:
        return ServerBuildFailed(epoch=epoch, fault=fault)
    if course.started_at(server) and not course.is_going_back(server):
        if task.at == TARGET:
            return ServerTargetFailed(epoch=epoch, fault=fault)
        return course.abandoned(server, fault, now)
    return ServerActionFailed(fault=fault, to_error=task.in_doubt)


def expired(
    server: Server | None, now: datetime, request_id: str
) -> ServerFailed | ServerActionFailed | ServerMoveAbandoned | None:
    """End that request's action if its deadline has passed. What cannot be given up is completed instead."""
    action = server.action if server else None
    if server is None or action is None or action.request_id != request_id:
        return None
    leg = server.move.leg if server.move else None
    ends_otherwise = action.name == deletion.NAME or leg in NEVER_GIVEN_UP or shelve.is_offloading(server)
    if ends_otherwise or now < action.deadline:
        return None
    fault = Fault(code=500, message=f"The {action.name} did not finish in time. Its host may be out of reach.")
    if server.move and server.move.kind == EVACUATION and server.fault and course.is_going_back(server):
        fault = Fault(
            code=500, message=f"It could not be evacuated, and its host is out of reach: {server.fault.message}"
        )
    if server.is_creating:
        return ServerFailed(fault=fault)
    if course.started_at(server) and not course.is_going_back(server):
        return course.abandoned(server, fault, now)
    task = task_of(server)
    harmless = server.is_returning or (task is not None and task.of_image)
    return ServerActionFailed(fault=fault, to_error=not harmless)
