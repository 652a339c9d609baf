"""What comes of an action: which report of a host counts, and what it is recorded as."""

from datetime import datetime

from domain.guest import GuestState
from domain.server import creation, deletion
from domain.server.action import ActionDone, ServerActionFailed, Task
from domain.server.actions.all import ACTIONS
from domain.server.creation import ServerBuildFailed, ServerFailed
from domain.server.parts import Fault
from domain.server.state import Server, assigned

TASKS: dict[str, Task] = {
    task.state: task for task in (creation.TASK, *(task for action in ACTIONS for task in action.tasks))
}
"""What a host is told in which task_state. Deletion is not among them: no host can fail at it."""


def _acting(server: Server | None, epoch: int, version: int) -> tuple[Server, Task] | None:
    """The server and its task, if what is reported on is the action under way: the one accepted at ``version``."""
    server = assigned(server, epoch)
    if server is None or server.action is None or server.action.version != version:
        return None
    task = TASKS.get(server.task_state or "")
    return (server, task) if task else None


def done(server: Server | None, command: str, version: int, guest: GuestState) -> ActionDone | None:
    """The host has carried out ``command``, for the request accepted at ``version``, and the guest is now so."""
    acting = _acting(server, guest.epoch, version)
    if acting is None or acting[1].command != command:
        return None
    return acting[1].done(guest)


def failed(
    server: Server | None, epoch: int, version: int, fault: Fault
) -> ServerBuildFailed | ServerActionFailed | None:
    """The host could not do what the action accepted at ``version`` wanted. Deletion cannot fail."""
    acting = _acting(server, epoch, version)
    if acting is None:
        return None
    if acting[0].is_creating:
        return ServerBuildFailed(epoch=epoch, fault=fault)
    return ServerActionFailed(fault=fault, to_error=acting[1].in_doubt)


def expired(server: Server | None, now: datetime, request_id: str) -> ServerFailed | ServerActionFailed | None:
    """End that request's action if its deadline has passed. Deletion is completed instead, never given up."""
    action = server.action if server else None
    if action is None or action.request_id != request_id:
        return None
    if action.name == deletion.NAME or now < action.deadline:
        return None
    fault = Fault(code=500, message=f"The {action.name} did not finish in time. Its host may be out of reach.")
    if server and server.is_creating:
        return ServerFailed(fault=fault)
    return ServerActionFailed(fault=fault, to_error=True)
