"""What becomes of servers on their way when a host that they need is declared dead."""

import pytest
from msgspec.structs import replace

from domain.guest import PowerState
from domain.log.record import Event
from domain.server.action import ServerActionFailed
from domain.server.creation import ServerBuildFailed
from domain.server.moves import course, dead_hosts
from domain.server.moves.course import ServerMoveAbandoned, ServerMoveReturned, ServerTargetCleared
from domain.server.moves.dead_hosts import ServerTargetLeft
from domain.server.moves.evacuation import is_void, left_at
from domain.server.moves.move import Remains
from domain.server.state import ERROR, Server, existing
from domain.server.steps import ClearRemains, Command, next_step
from tests.domain.server.moves import test_evacuation, test_steering
from tests.domain.server.moves.servers import MOVING, REVERTED, there
from tests.domain.server.servers import NOW, SERVER_ID, given, told_by

SOURCE, TARGET = 1, 2
"""Their epochs."""


def ended(server: Server, epoch: int) -> Event | None:
    return dead_hosts.ended(server, epoch, NOW)


@pytest.mark.parametrize("history", ["receiving", "receiving stopped"])
def test_who_would_arrive_at_a_dead_host_goes_back(history: str) -> None:
    event = ended(there(history), TARGET)
    assert isinstance(event, ServerMoveAbandoned)
    assert event.fault == dead_hosts.TARGET_DEAD
    assert ended(there(history), SOURCE) is None, "what was had of it may be enough"


def test_who_is_taken_from_a_dead_host_stays_its_server() -> None:
    event = ended(there("giving"), SOURCE)
    assert isinstance(event, ServerMoveAbandoned)
    assert event.fault == dead_hosts.SOURCE_DEAD
    assert ended(there("giving"), TARGET) is None, "nothing is there yet"


@pytest.mark.parametrize(("history", "epoch"), [("returning", SOURCE), ("taking back", 3)])
def test_what_only_a_dead_host_could_take_back_ends_in_error_at_once(history: str, epoch: int) -> None:
    event = ended(there(history), epoch)
    assert event == ServerActionFailed(fault=dead_hosts.SOURCE_DEAD, to_error=True)
    after = told_by([*MOVING[history], event])
    assert after
    assert (after.vm_state, after.move, after.action, after.host) == (ERROR, None, None, "node1")
    assert test_evacuation.evacuate(after)


@pytest.mark.parametrize(("history", "leg"), [("undoing", course.RETURNING), ("reverting", "taking_back")])
def test_what_a_dead_target_has_is_left_there_and_remembered(history: str, leg: str) -> None:
    server = there(history)
    event = ended(server, TARGET)
    assert event == ServerTargetLeft(epoch=TARGET)
    after = told_by([*MOVING[history], event])
    assert after
    assert after.move
    assert server.move
    assert server.move.target
    assert (after.move.leg, after.move.target) == (leg, None)
    assert after.remains == (Remains(move_id=server.move.id, place=server.move.target),)
    assert course.left_on(after) == "h2"
    step = next_step(after, NOW)
    assert isinstance(step, Command)
    assert (step.host, step.kind) == ("node1", "adopt")
    # Its claims change hands at the end of the move only.
    assert left_at(after, "node2", TARGET) is None
    back = REVERTED if history == "reverting" else ServerMoveReturned(epoch=1, power_state=PowerState.RUNNING)
    done = existing(told_by([*MOVING[history], event, replace(back, epoch=after.move.at("source").epoch)]), SERVER_ID)
    assert (done.move, done.host) == (None, "node1")
    assert left_at(done, "node2", TARGET) == after.remains[0]
    assert next_step(done, NOW) == ClearRemains()


@pytest.mark.parametrize(
    ("history", "outcome"),
    [
        ("undoing", ServerActionFailed(fault=dead_hosts.SOURCE_DEAD, to_error=True)),
        ("reverting", ServerTargetCleared(epoch=TARGET)),
    ],
)
def test_within_one_host_nothing_is_left_and_nothing_waits(history: str, outcome: Event) -> None:
    server = there(history)
    assert server.move
    assert server.move.target
    within = replace(server, move=replace(server.move, target=replace(server.move.target, host_id="h1")))
    assert ended(within, TARGET) == outcome


@pytest.mark.parametrize("history", ["undoing", "reverting"])
def test_what_runs_where_it_was_left_is_void_until_the_source_has_it(history: str) -> None:
    server = existing(told_by([*MOVING[history], ServerTargetLeft(epoch=TARGET)]), SERVER_ID)
    assert is_void(server, "node2", TARGET)
    assert not is_void(server, "node1", SOURCE)
    assert not is_void(there(history), "node2", TARGET)


@pytest.mark.parametrize(("history", "epoch"), [
    ("choosing", 1), ("resized", 2), ("confirming", 1), ("confirming", 2), ("deleting resized", 2), ("reverting", 1),
    ("undoing", 1), ("returning", 2),
])  # fmt: skip
def test_what_has_another_end_or_is_not_about_it(history: str, epoch: int) -> None:
    assert ended(there(history), epoch) is None


def test_who_is_deleted_leaves_by_that_alone() -> None:
    server = there("undoing")
    assert ended(replace(server, task_state="deleting"), TARGET) is None
    assert dead_hosts.ended(None, 1, NOW) is None


def test_an_evacuated_one_whose_targets_failed_can_be_evacuated_again() -> None:
    event = ended(test_evacuation.there("returning"), SOURCE)
    assert isinstance(event, ServerActionFailed)
    assert event.fault.message.startswith("It could not be evacuated, and its host is dead: ")


def test_one_that_goes_on_live_stays_when_its_target_is_dead() -> None:
    event = ended(test_steering.after(test_steering.CHOSEN), TARGET)
    assert isinstance(event, ServerMoveAbandoned)


def test_a_new_one_is_built_elsewhere() -> None:
    building = existing(given("spawning"), SERVER_ID)
    event = dead_hosts.not_built(building, 1)
    assert event == ServerBuildFailed(epoch=1, fault=dead_hosts.TARGET_DEAD)
    assert dead_hosts.not_built(building, 2) is None
    assert dead_hosts.not_built(given("active"), 1) is None
    assert dead_hosts.not_built(None, 1) is None
