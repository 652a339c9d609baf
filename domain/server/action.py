"""An action is what somebody asks for, and history shows; a task is what a host is told meanwhile. So it is in Nova.

Each action is declared once, in its own room under ``actions``. What the fold, the conductor, the hosts' reports and
the projections know of it follows from there.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self

from domain.errors import Refused
from domain.guest import GuestState, PowerState
from domain.log.record import Event, Metadata
from domain.server.parts import Fault, UnderWay
from domain.server.state import ACTIVE, ERROR, RESCUED, Server, check_state

Fields = dict[str, Any]
"""Fields of a server, with what an event makes of them."""
Change = Callable[[Server, Any, Metadata], Fields]
"""Of the server before an event, the event, and what surrounds it."""

IDLE: Fields = {"task_state": None, "action": None}


class ActionRequested(Event, frozen=True, kw_only=True):
    """The base of what begins an action."""

    deadline: datetime


class ActionDone(Event, frozen=True, kw_only=True):
    """The base of what a host's success is recorded as."""

    epoch: int

    @classmethod
    def of(cls, guest: GuestState) -> Self:
        """What is recorded of a guest that is now like this."""
        return cls(epoch=guest.epoch)


class ActionDoneAs(ActionDone, frozen=True, kw_only=True):
    """The same, where the action does not say what the guest's power is afterwards."""

    power_state: PowerState

    @classmethod
    def of(cls, guest: GuestState) -> Self:
        return cls(epoch=guest.epoch, power_state=guest.power_state)


class ServerActionFailed(Event, tag="server.action_failed", frozen=True, kw_only=True):
    """The action in progress has ended without success. ``to_error`` tells whether its state is now in doubt."""

    fault: Fault
    to_error: bool = False


class Task(NamedTuple):
    """One task_state: what a host is told while it lasts, and what its success is recorded as."""

    state: str
    command: str
    done: Callable[[GuestState], ActionDone]
    with_spec: bool = True
    """Whether the host has to know what the guest shall be."""
    in_doubt: bool = False
    """Whether a failure leaves open what the guest is. After the others it is as it was, or its power tells."""
    at: str | None = None
    """Which host of a move is told; None is where the server is."""
    by_peer: bool = False
    """Whether the host has to know the other one of the move."""
    can_fail: bool = True
    """Whether a host may say that it failed. What it may only be late with ends by itself."""
    of_image: bool = False
    """Whether it is about an image that is made of the guest: the host has to know which, and whatever comes of it
    leaves the guest as it is."""


def nothing(_server: Server, _event: Any, _meta: Metadata) -> Fields:
    """No field but those that every action changes."""
    return {}


def running(_server: Server, _event: Any, _meta: Metadata) -> Fields:
    """The guest runs from its own disk."""
    return {"vm_state": ACTIVE, "power_state": PowerState.RUNNING}


class Action(NamedTuple):
    """An action on a server that is there."""

    name: str
    """Nova's, as os-instance-actions shows it."""
    step: str
    """Nova's name of its work there."""
    requested: type[ActionRequested]
    done: type[ActionDone]
    allowed: tuple[str, ...]
    """The vm_states in which it may be asked for."""
    time: timedelta
    """How long it may take before it ends as failed."""
    tasks: tuple[Task, ...]
    """The first is the usual one; another is chosen by ``begin``."""
    end: Change
    begin: Change = nothing
    ends_move: bool = False
    """Whether it is about a server that has moved, and waits for its user's word."""

    def check(self, server: Server) -> None:
        """Raise Refused (409) where the server's state forbids it."""
        check(server, self.name, self.allowed)
        check_move(server, self.name, ends_it=self.ends_move)

    def request(self, server: Server, deadline: datetime) -> Event:
        """Begin it, if all that it needs is time. Raises Refused."""
        self.check(server)
        return self.requested(deadline=deadline)

    def began(self, server: Server, event: Any, meta: Metadata) -> Fields:
        """What ``requested`` changes."""
        return begun(self.name, self.tasks[0].state)(server, event, meta) | self.begin(server, event, meta)

    def ended(self, server: Server, event: Any, meta: Metadata) -> Fields:
        """What ``done`` changes."""
        return IDLE | self.end(server, event, meta)


def check(
    server: Server, action: str, vm_states: tuple[str, ...], task_states: tuple[str | None, ...] = (None,)
) -> None:
    """Raise Refused (409) in Nova's words unless the server is in one of those states, and was launched once."""
    check_state(server, action, vm_states, task_states)
    if server.launched_at is None:
        raise Refused("server.state", f"Cannot '{action}' instance {server.id} while it was never launched")


def check_move(server: Server, action: str, *, ends_it: bool = False) -> None:
    """Raise Refused (409) for a server that moves; or, for what ends a move, for one that does not wait for that."""
    # One whose action is under way is on its way still, and its user's word is not waited for.
    fits = (server.move is not None and server.action is None) if ends_it else server.move is None
    if not fits:
        has = "has" if server.move else "has not"
        raise Refused("server.state", f"Cannot '{action}' instance {server.id} while it {has} been moved")


def under_way(name: str, deadline: datetime, meta: Metadata, version: int) -> UnderWay:
    """What is kept of an action that was accepted."""
    return UnderWay(
        name=name,
        request_id=meta.request_id,
        global_request_id=meta.global_request_id,
        user_id=meta.user_id,
        project_id=meta.project_id,
        started_at=meta.time,
        deadline=deadline,
        version=version,
    )


def begun(name: str, task_state: str) -> Change:
    """What the beginning of any action changes."""

    def fields(server: Server, event: Any, meta: Metadata) -> Fields:
        version = server.version + 1
        action = under_way(name, event.deadline, meta, version)
        return {"task_state": task_state, "action": action, "last_action": version}

    return fields


def superseded(server: Server) -> str | None:
    """The request whose action ends by another's beginning."""
    return server.action.request_id if server.action else None


def failed(server: Server, event: ServerActionFailed, meta: Metadata) -> Fields:
    """What the failure of any action changes."""
    vm_state = ERROR if event.to_error else server.vm_state
    # A rescue ends with its own failure, and in doubt: what the server is started with next is its own disk.
    rescue = server.rescue if vm_state == RESCUED else None
    return IDLE | {"fault": event.fault, "fault_at": meta.time, "vm_state": vm_state, "rescue": rescue}
