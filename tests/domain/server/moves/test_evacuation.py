"""Evacuation, from the request until nothing is left on the host that was dead."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from domain.errors import Refused
from domain.guest import GuestState, PowerState
from domain.log.record import Event
from domain.server import deletion, reported, reset
from domain.server.action import ServerActionFailed
from domain.server.actions import create_image
from domain.server.actions.rebuild import REBUILDING
from domain.server.deletion import ServerDeleted
from domain.server.fold import evolve
from domain.server.moves import course, evacuation
from domain.server.moves.course import (
    ServerMoveAbandoned,
    ServerMoveReturned,
    ServerTargetChosen,
    ServerTargetCleared,
    ServerTargetFailed,
)
from domain.server.moves.evacuation import ServerEvacuated, ServerEvacuateRequested, ServerRemainsRemoved
from domain.server.moves.move import Remains
from domain.server.reset import ServerStateReset
from domain.server.state import Server, existing, places
from domain.server.steps import ChooseTarget, ClearRemains, Command, Expire, FinishReturn, guest_spec, next_step
from tests.domain.server.moves.servers import CHOSEN, MOVING
from tests.domain.server.servers import (
    BUILT,
    DELETE,
    FAULT,
    GIVEN,
    IMAGE,
    LATER,
    NOW,
    PLACED,
    REQUESTED,
    SERVER_ID,
    STOP,
    STOPPED,
    given,
    meta,
    told_by,
)

LONG_AFTER = LATER + timedelta(hours=1)


def evacuate(server: Server | None, host: str | None = None, *, stopped: bool = False) -> ServerEvacuateRequested:
    return evacuation.evacuate(existing(server, SERVER_ID), LATER, host, stopped=stopped, secrets=None)


EVACUATE = evacuate(given("active"))
EVACUATED = ServerEvacuated(epoch=2, power_state=PowerState.RUNNING)
ABANDONED = ServerMoveAbandoned(fault=FAULT, deadline=LATER)
TARGET_FAILED = ServerTargetFailed(epoch=2, fault=FAULT)
ALIVE = (REQUESTED, PLACED, BUILT)
HISTORIES: dict[str, tuple[Event, ...]] = {
    "choosing": (*ALIVE, EVACUATE),
    "making": (*ALIVE, EVACUATE, CHOSEN),
    "failed once": (*ALIVE, EVACUATE, CHOSEN, TARGET_FAILED),
    "undoing": (*ALIVE, EVACUATE, CHOSEN, ABANDONED),
    "returning": (*ALIVE, EVACUATE, CHOSEN, ABANDONED, ServerTargetCleared(epoch=2)),
    "nowhere": (*ALIVE, EVACUATE, ABANDONED),
    "evacuated": (*ALIVE, EVACUATE, CHOSEN, EVACUATED),
    "deleting": (*ALIVE, EVACUATE, CHOSEN, DELETE),
}


def there(name: str) -> Server:
    return existing(told_by(HISTORIES[name]), SERVER_ID)


def after(server: Server, *events: Event | None) -> Server:
    for number, event in enumerate(events, start=50):
        assert event
        server = evolve(server, event, meta(number))
    return server


def done(server: Server, command: str, epoch: int, power: PowerState = PowerState.NOSTATE) -> Event | None:
    assert server.action
    guest = GuestState(server_id=SERVER_ID, epoch=epoch, power_state=power)
    return reported.done(server, command, server.action.version, guest)


@pytest.mark.parametrize("state", ["active", "stopped", "reboot failed", "stopping", "rebooting", "rebuilding",
                                   "rescuing", "pausing"])  # fmt: skip
def test_it_may_be_asked_for_over_what_a_dead_host_will_not_end(state: str) -> None:
    server = existing(given(state), SERVER_ID)
    event = evacuate(server)
    assert event.supersedes == (server.action.request_id if server.action else None)
    begun = after(server, event)
    assert (begun.task_state, begun.rescue, begun.vm_state) == (REBUILDING, None, server.vm_state)


@pytest.mark.parametrize(
    "state", ["paused", "suspended", "rescued", "deleting", "failed", "spawning", "failed on host"]
)
def test_nor_otherwise(state: str) -> None:
    with pytest.raises(Refused, match="Cannot 'evacuate'") as refusal:
        evacuate(given(state))
    assert refusal.value.status == 409


@pytest.mark.parametrize("history", ["resized", "receiving", "reverting"])
def test_nor_of_a_server_that_is_moved_otherwise(history: str) -> None:
    with pytest.raises(Refused, match="Cannot 'evacuate'"):
        evacuate(told_by(MOVING[history]))


def test_nor_of_a_server_that_is_nowhere() -> None:
    with pytest.raises(Refused, match="has no host"):
        evacuate(replace(existing(given("active"), SERVER_ID), host=None))


def test_nor_twice_nor_to_where_it_is() -> None:
    with pytest.raises(Refused, match="has been moved"):
        evacuate(there("making"))
    with pytest.raises(Refused, match="can't be the same") as refusal:
        evacuate(given("active"), "node1")
    assert refusal.value.status == 400


def test_the_target_is_another_host_and_makes_the_guest_anew() -> None:
    choice = next_step(there("choosing"), NOW)
    assert isinstance(choice, ChooseTarget)
    assert (choice.demand.source, choice.demand.epoch, choice.demand.host) == ("node1", 2, None)
    server = there("making")
    assert next_step(server, NOW) == Command("node2", "recreate", epoch=2)
    assert (server.task_state, server.host) == ("rebuild_spawning", "node1")
    spec = guest_spec(server)
    assert (spec.epoch, spec.powered_on) == (2, True)


@pytest.mark.parametrize(
    ("history", "stopped", "on"),
    [(ALIVE, False, True), (ALIVE, True, False), ((*ALIVE, STOP, STOPPED), False, False),
     (GIVEN["reboot failed"], False, True)],
)  # fmt: skip
def test_whether_it_runs_afterwards(history: tuple[Event, ...], stopped: bool, on: bool) -> None:
    before = existing(told_by(history), SERVER_ID)
    making = after(before, evacuate(before, stopped=stopped), CHOSEN)
    assert guest_spec(making).powered_on is on
    power = PowerState.RUNNING if on else PowerState.SHUTDOWN
    server = after(making, done(making, "recreate", 2, power))
    assert (server.vm_state, server.power_state) == ("active" if on else "stopped", power)


def test_what_is_left_on_the_dead_host_has_no_place_any_more_and_keeps_its_claim() -> None:
    server = there("evacuated")
    assert (server.host, server.epoch, server.move, server.task_state) == ("node2", 2, None, None)
    assert places(server) == (("node2", 2),)
    assert server.remains == (Remains(move_id=EVACUATE.move.id, place=EVACUATE.move.source),)
    assert server.unfinished
    assert next_step(server, NOW) == ClearRemains()
    assert evacuation.left_at(server, "node1", 1) == server.remains[0]
    assert evacuation.left_at(server, "node1", 2) is None
    gone = after(server, evacuation.removed(server, EVACUATE.move.id, without_host=False))
    assert (gone.remains, gone.unfinished, next_step(gone, NOW)) == ((), False, None)
    assert evacuation.removed(gone, EVACUATE.move.id, without_host=True) is None


def test_each_evacuation_leaves_something_until_it_is_removed() -> None:
    server = there("evacuated")
    again = after(
        server,
        evacuate(server),
        ServerTargetChosen(host="node3", host_id="h3", epoch=3, availability_zone="nova"),
        ServerEvacuated(epoch=3, power_state=PowerState.RUNNING),
    )
    assert [left.place.host for left in again.remains] == ["node1", "node2"]
    one = after(again, ServerRemainsRemoved(move_id=again.remains[0].move_id))
    assert [left.place.host for left in one.remains] == ["node2"]
    assert after(again, DELETE, ServerDeleted()).remains == ()


@pytest.mark.parametrize(
    ("state", "void"),
    [("choosing", False), ("making", True), ("failed once", False), ("undoing", True), ("returning", False),
     ("nowhere", False), ("evacuated", False)],
)  # fmt: skip
def test_a_guest_must_not_run_at_the_source_while_another_may_be_made(state: str, *, void: bool) -> None:
    assert evacuation.is_void(there(state), "node1", 1) is void
    assert not evacuation.is_void(there(state), "node2", 2)
    assert not evacuation.is_void(there(state), "node1", 7)
    # Its disk is wanted, should all fail: it has a place there until the end.
    assert (("node1", 1) in places(there(state))) is (state != "evacuated")


def test_no_other_move_makes_a_guest_void() -> None:
    for history in MOVING.values():
        assert not evacuation.is_void(told_by(history), "node1", 1)


def test_another_target_is_tried() -> None:
    making = there("making")
    assert making.action
    failed = reported.failed(making, "recreate", 2, making.action.version, FAULT, NOW)
    assert failed == TARGET_FAILED
    step = next_step(there("failed once"), NOW)
    assert isinstance(step, ChooseTarget)
    assert (step.demand.excluded_hosts, step.demand.epoch) == (("node2",), 3)


def test_a_target_that_dies_too_is_given_up() -> None:
    making = there("making")
    lost = evacuation.target_lost(making, 2)
    assert isinstance(lost, ServerTargetFailed)
    again = after(making, lost)
    assert isinstance(next_step(again, NOW), ChooseTarget)
    assert ("node2", 2) not in places(again)
    assert evacuation.target_lost(again, 2) is None
    assert evacuation.target_lost(making, 3) is None
    assert evacuation.target_lost(there("undoing"), 2) is None
    # Who is being deleted looks for no other.
    assert evacuation.target_lost(there("deleting"), 2) is None
    for history in MOVING.values():
        assert evacuation.target_lost(told_by(history), 2) is None


@pytest.mark.parametrize("before", [ALIVE, GIVEN["reboot failed"], (*ALIVE, STOP, STOPPED)])
def test_where_no_host_takes_it_the_server_stays_what_it_was(before: tuple[Event, ...]) -> None:
    server = existing(told_by(before), SERVER_ID)
    abandoned = after(server, evacuate(server), course.abandoned(after(server, evacuate(server)), FAULT, NOW))
    assert next_step(abandoned, NOW) == FinishReturn()
    back = after(abandoned, course.returned(abandoned))
    assert (back.vm_state, back.power_state, back.host) == (server.vm_state, server.power_state, "node1")
    assert (back.move, back.task_state, back.fault, back.newest_epoch) == (None, None, FAULT, 2)


def test_where_all_targets_failed_its_own_host_takes_it_back_if_it_lives() -> None:
    assert next_step(there("undoing"), NOW) == Command("node2", "discard", with_spec=False, epoch=2)
    server = there("returning")
    assert next_step(server, NOW) == Command("node1", "adopt", epoch=1)
    back = after(server, done(server, "adopt", 1, PowerState.RUNNING))
    assert isinstance(done(server, "adopt", 1, PowerState.RUNNING), ServerMoveReturned)
    assert (back.vm_state, back.host, back.move) == ("active", "node1", None)


def test_and_if_it_does_not_the_server_is_in_error_with_the_reason() -> None:
    server = there("returning")
    assert next_step(server, LONG_AFTER) == Expire()
    assert server.action
    failed = reported.expired(server, LONG_AFTER, server.action.request_id)
    assert isinstance(failed, ServerActionFailed)
    assert FAULT.message in failed.fault.message
    lost = after(server, failed)
    assert (lost.vm_state, lost.host, lost.move) == ("error", "node1", None)
    # And the way on: it can be evacuated again.
    assert evacuate(lost).move.source.epoch == 1


def test_deleted_meanwhile_it_ends_at_the_target_first() -> None:
    server = there("deleting")
    assert next_step(server, NOW) == Command("node2", deletion.COMMAND, with_spec=False, epoch=2)


def test_no_report_of_a_rebuild_is_taken_for_one_of_an_evacuation() -> None:
    assert done(there("choosing"), "rebuild", 1) is None


def test_sealed_anew_is_what_the_guest_is_told() -> None:
    server = existing(given("active"), SERVER_ID)
    event = replace(EVACUATE, secrets="sealed")
    begun: Any = after(server, event)
    assert (begun.secrets, begun.has_key) == ("sealed", True)
    assert after(replace(server, secrets="before"), EVACUATE).secrets == "before"


def test_a_reset_waits_for_its_end() -> None:
    with pytest.raises(Refused):
        reset.request(there("making"), "active")
    assert isinstance(reset.request(there("evacuated"), "error"), ServerStateReset)


def test_an_image_that_a_dead_host_was_making_is_unwanted() -> None:
    server = existing(given("active"), SERVER_ID)
    imaging = after(server, create_image.request(server, LATER, IMAGE.id))
    begun = after(imaging, evacuate(imaging))
    assert (begun.imaging, begun.unwanted_images) == (None, (IMAGE.id,))
