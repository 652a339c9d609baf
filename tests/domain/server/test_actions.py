"""Nothing that knows of actions forgets one."""

from typing import Any

import msgspec
import pytest

from domain.guest import GuestState, PowerState
from domain.log.record import Event
from domain.server import deletion, reported
from domain.server.action import Action, ActionDone, ActionRequested, ServerActionFailed
from domain.server.actions.all import ACTIONS
from domain.server.actions.create_image import ServerDiskSaved
from domain.server.actions.shelve import ServerLaidDown
from domain.server.creation import ServerRequested
from domain.server.fold import EVENTS, evolve
from domain.server.moves.all import ENDINGS, MOVES
from domain.server.moves.cold import RESIZE_ACTION, ServerSourceReady
from domain.server.moves.course import ServerMoveReturned, ServerTargetCleared
from domain.server.moves.live import LIVE_MIGRATE, ServerArrived, ServerTargetReady
from domain.server.moves.steering import ServerMigrationAbortRequested, ServerMigrationForceCompleteRequested
from domain.server.state import existing
from handlers.host.carrying_out import CARRY_OUT, STEERED
from projections.instance_actions import STARTS, SUCCESSES
from tests.domain.server.servers import (
    FAULT,
    GIVEN,
    IMAGE_REQUESTED,
    LATER,
    NOW,
    REBUILD,
    RESCUE,
    SERVER_ID,
    SHELVE,
    SOFT_REBOOT,
    given,
    meta,
)
from tests.sim.arguments import ARGUMENTS

EVERY_ACTION = (*ACTIONS, *MOVES, *ENDINGS)
LEGS = {ServerSourceReady, ServerTargetCleared, ServerTargetReady, ServerArrived, ServerDiskSaved, ServerLaidDown}
"""What a host's success may be recorded as, and is no end."""
BEGUN_BY: dict[str, Event] = {
    "reboot": SOFT_REBOOT, "rebuild": REBUILD, "rescue": RESCUE, "createImage": IMAGE_REQUESTED, "shelve": SHELVE,
}  # fmt: skip
"""The beginnings that say more than a deadline."""
WITH_TESTS_OF_THEIR_OWN = ("shelveOffload", "unshelve")
"""They go on with what another has left, or with another host."""
each_action = pytest.mark.parametrize(
    "action",
    [action for action in ACTIONS if action.name not in WITH_TESTS_OF_THEIR_OWN],
    ids=lambda action: action.name,
)


def _takes_arguments(action: Action) -> bool:
    fields = msgspec.structs.fields(action.requested)
    return any(field.required and field.name != "deadline" for field in fields)


def test_what_begins_and_what_ends_an_action_is_shown_so() -> None:
    begins = {event for event in EVENTS if issubclass(event, ActionRequested)} | {ServerRequested}
    assert set(STARTS) == begins | {ServerMigrationAbortRequested, ServerMigrationForceCompleteRequested}
    assert set(SUCCESSES) == {event for event in EVENTS if issubclass(event, ActionDone)} - LEGS - {
        ServerMoveReturned
    } | {deletion.ServerDeleted}


def test_a_host_can_carry_out_every_command_and_is_told_no_other() -> None:
    assert CARRY_OUT.keys() | STEERED.keys() == {task.command for task in reported.TASKS.values()} | {
        deletion.COMMAND
    }


def test_every_action_names_what_no_other_does() -> None:
    tasks = [task.state for action in (*ACTIONS, RESIZE_ACTION, LIVE_MIGRATE, *ENDINGS) for task in action.tasks]
    for names in ([action.name for action in EVERY_ACTION], [action.step for action in EVERY_ACTION], tasks):
        assert len(set(names)) == len(names)


def test_the_storm_and_these_tests_have_arguments_for_all_actions_that_take_any() -> None:
    moves = {action.name for action in MOVES}
    assert ARGUMENTS.keys() == BEGUN_BY.keys() | moves | {"unshelve"}
    assert BEGUN_BY.keys() == {action.name for action in ACTIONS if _takes_arguments(action)}


@each_action
def test_an_action_begins_is_done_and_fails(action: Action) -> None:
    before = next(server for state in GIVEN if (server := given(state)) and server.vm_state == action.allowed[0]
                  and not server.unfinished and server.launched_at)  # fmt: skip
    requested: Any = BEGUN_BY.get(action.name) or action.request(existing(before, SERVER_ID), LATER)
    begun = evolve(before, requested, meta(20))
    assert begun.action
    assert (begun.action.name, begun.action.request_id, begun.action.deadline) == (action.name, "req-20", LATER)
    assert begun.task_state == action.tasks[0].state
    version, guest = begun.version, GuestState(server_id=SERVER_ID, epoch=1, power_state=PowerState.RUNNING)
    server, done = begun, None
    while server.action:
        task = reported.task_of(server)
        assert task
        failed = reported.failed(server, task.command, 1, version, FAULT, NOW)
        assert isinstance(failed, ServerActionFailed)
        after = evolve(server, failed, meta(21))
        assert (after.task_state, after.action) == (None, None)
        done = reported.done(server, task.command, version, guest)
        assert done
        server = evolve(server, done, meta(21))
    assert type(done) is action.done
    assert (server.task_state, server.unfinished) == (None, False)
