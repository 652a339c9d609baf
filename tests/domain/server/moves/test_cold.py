"""Resize and cold migration, from the request to the user's word on it."""

from datetime import timedelta
from types import NoneType
from typing import Any

import pytest
from msgspec.structs import replace

from domain.catalogue.flavor import Flavor
from domain.errors import Refused
from domain.guest import GuestState, PowerState
from domain.log.record import Event
from domain.server import deletion, reported, reset
from domain.server.action import ServerActionFailed
from domain.server.actions import reboot
from domain.server.actions.power import START
from domain.server.fold import evolve
from domain.server.moves import cold, course
from domain.server.moves.cold import CONFIRM, REVERT
from domain.server.moves.course import ServerMoveAbandoned, ServerMoveReturned, ServerTargetFailed
from domain.server.observation import ServerPowerChanged
from domain.server.state import Server, existing, places
from domain.server.steps import (
    Abandon,
    ChooseTarget,
    Command,
    Confirm,
    Expire,
    FinishConfirm,
    FinishReturn,
    guest_spec,
    next_step,
)
from tests.domain.server.moves.servers import ARRIVED, CHOSEN, LARGER, RESIZE, there
from tests.domain.server.servers import (
    BUILT,
    FAULT,
    FLAVOR,
    LATER,
    NOW,
    PLACED,
    REQUESTED,
    SERVER_ID,
    given,
    meta,
    told_by,
)


def after(server: Server, *events: Event | None) -> Server:
    for number, event in enumerate(events, start=50):
        assert event
        server = evolve(server, event, meta(number))
    return server


def done(server: Server, command: str, epoch: int, power: PowerState = PowerState.NOSTATE) -> Event | None:
    assert server.action
    guest = GuestState(server_id=SERVER_ID, epoch=epoch, power_state=power)
    return reported.done(server, command, server.action.version, guest)


def failed(server: Server, command: str, epoch: int) -> Event | None:
    assert server.action
    return reported.failed(server, command, epoch, server.action.version, FAULT, NOW)


def test_what_each_leg_tells_whom() -> None:
    told: dict[str, Any] = {state: next_step(there(state), NOW) for state in (
        "giving", "receiving", "undoing", "returning", "confirming", "reverting", "taking back", "deleting resized",
    )}  # fmt: skip
    assert told == {
        "giving": Command("node1", "give", with_spec=False, epoch=1),
        "receiving": Command("node2", "receive", epoch=2, by_peer=True),
        "undoing": Command("node2", "discard", with_spec=False, epoch=2),
        "returning": Command("node1", "adopt", epoch=1),
        "confirming": Command("node1", "discard", with_spec=False, epoch=1),
        "reverting": Command("node2", "discard", with_spec=False, epoch=2),
        "taking back": Command("node1", "adopt", epoch=3),
        "deleting resized": Command("node1", "destroy", with_spec=False, epoch=1),
    }


def test_the_target_is_another_host_that_did_not_fail_with_room_for_the_new_size() -> None:
    step = next_step(there("choosing"), NOW)
    assert isinstance(step, ChooseTarget)
    assert (step.demand.source, step.demand.epoch, step.demand.resources["VCPU"]) == ("node1", 2, LARGER.vcpus)
    again = after(there("receiving"), failed(there("receiving"), "receive", 2))
    step = next_step(again, NOW)
    assert isinstance(step, ChooseTarget)
    assert (step.demand.excluded_hosts, step.demand.epoch) == (("node2",), 3)


def test_each_host_is_told_the_size_that_it_shall_have() -> None:
    sizes = {state: guest_spec(there(state)) for state in ("receiving", "returning", "taking back")}
    assert {state: (spec.flavor_id, spec.epoch) for state, spec in sizes.items()} == {
        "receiving": (LARGER.id, 2),
        "returning": (FLAVOR.id, 1),
        "taking back": (FLAVOR.id, 3),
    }
    assert guest_spec(there("receiving")).powered_on
    assert not guest_spec(there("receiving stopped")).powered_on


def test_a_server_that_has_arrived_waits_for_its_users_word() -> None:
    server = there("resized")
    assert (server.vm_state, server.host, server.epoch, server.flavor) == ("resized", "node2", 2, LARGER)
    assert next_step(server, NOW) is None
    assert not server.unfinished
    assert set(places(server)) == {("node2", 2), ("node1", 1)}


def test_confirmed_it_is_at_its_target_only() -> None:
    server = after(there("confirming"), done(there("confirming"), "discard", 1))
    assert (server.vm_state, server.host, server.flavor, server.move) == ("active", "node2", LARGER, None)
    powered_off = ServerPowerChanged(epoch=2, power_state=PowerState.SHUTDOWN)
    off = after(there("resized"), powered_off, CONFIRM.request(there("resized"), LATER))
    assert after(off, done(off, "discard", 1)).vm_state == "stopped"


def test_reverted_it_is_what_it_was_where_it_was_in_an_epoch_of_its_own() -> None:
    server = after(there("taking back"), done(there("taking back"), "adopt", 3, PowerState.RUNNING))
    assert (server.vm_state, server.host, server.epoch, server.flavor) == ("active", "node1", 3, FLAVOR)
    assert (server.move, server.newest_epoch) == (None, 3)


def test_a_source_that_does_not_answer_keeps_nobody_from_confirming() -> None:
    # It may never have been told: whoever should have told it was down.
    discard = next_step(there("confirming"), NOW)
    assert isinstance(discard, Command)
    assert next_step(there("confirming"), LATER) == FinishConfirm(discard)
    assert cold.confirmed(there("confirming"), without_host=True) is not None
    assert expired(there("confirming")) is None


def test_the_time_to_confirm_passes_once_it_has_arrived() -> None:
    server = told_by(
        (REQUESTED, PLACED, BUILT, replace(RESIZE, move=replace(RESIZE.move, confirm_after=60.0)), *ARRIVED)
    )
    assert server
    assert server.unfinished
    in_time = NOW + timedelta(seconds=60)
    assert next_step(server, NOW) is None
    assert next_step(server, in_time) == Confirm()
    assert cold.confirmed_by_time(server, NOW) is None
    confirming = after(server, cold.confirmed_by_time(server, in_time))
    assert cold.confirmed_by_time(confirming, in_time) is None


@pytest.mark.parametrize(("state", "command", "epoch", "kind"), [
    ("giving", "give", 1, ServerMoveAbandoned), ("receiving", "receive", 2, ServerTargetFailed),
    ("returning", "adopt", 1, ServerActionFailed), ("taking back", "adopt", 3, ServerActionFailed),
    ("confirming", "discard", 1, NoneType), ("undoing", "discard", 2, NoneType),
    ("reverting", "discard", 2, NoneType),
])  # fmt: skip
def test_what_a_failure_is_recorded_as(state: str, command: str, epoch: int, kind: type[Event] | type[None]) -> None:
    assert type(failed(there(state), command, epoch)) is kind


@pytest.mark.parametrize(("state", "command", "epoch"), [
    ("giving", "receive", 1), ("giving", "give", 2), ("receiving", "give", 1), ("returning", "give", 1),
    ("taking back", "adopt", 1), ("resized", "receive", 2),
])  # fmt: skip
def test_a_report_on_another_leg_says_nothing(state: str, command: str, epoch: int) -> None:
    server = there(state)
    guest = GuestState(server_id=SERVER_ID, epoch=epoch, power_state=PowerState.RUNNING)
    assert reported.done(server, command, server.last_action, guest) is None
    assert reported.failed(server, command, epoch, server.last_action, FAULT, NOW) is None


def test_a_target_that_may_have_something_is_cleared_before_the_source_goes_on() -> None:
    server = after(there("receiving"), expired(there("receiving")))
    assert next_step(server, NOW) == Command("node2", "discard", with_spec=False, epoch=2)
    server = after(server, done(server, "discard", 2))
    assert next_step(server, NOW) == Command("node1", "adopt", epoch=1)
    server = after(server, done(server, "adopt", 1, PowerState.RUNNING))
    assert (server.vm_state, server.host, server.move, server.fault) == (
        "active",
        "node1",
        None,
        reported_fault(server),
    )


def reported_fault(server: Server) -> Any:
    assert server.fault
    return server.fault


def test_without_a_target_nothing_is_told_to_anybody() -> None:
    gone = course.abandoned(there("choosing"), FAULT, NOW)
    server = after(there("choosing"), gone)
    assert next_step(server, NOW) == FinishReturn()
    back = after(server, course.returned(server))
    assert (back.vm_state, back.host, back.epoch, back.move) == ("active", "node1", 1, None)
    assert back.newest_epoch == 2, "a claim that was taken for it meanwhile is void"
    assert back.last_action == 0, "its host, which heard of nothing, is believed"


def test_who_chooses_too_late_is_not_heard() -> None:
    assert course.chosen(there("choosing"), CHOSEN) == CHOSEN
    for state in ("giving", "receiving", "returning", "resized"):
        assert course.chosen(there(state), replace(CHOSEN, epoch=there(state).newest_epoch + 1)) is None
    assert course.chosen(there("choosing"), replace(CHOSEN, epoch=3)) is None


def test_only_so_many_targets_are_tried() -> None:
    server = there("choosing")
    for attempt in range(course.MAX_ATTEMPTS):
        chosen = replace(CHOSEN, host=f"n{attempt}", epoch=server.newest_epoch + 1)
        server = after(server, course.chosen(server, chosen), cold.ServerSourceReady(epoch=1))
        server = after(server, failed(server, "receive", chosen.epoch))
    step = next_step(server, NOW)
    assert isinstance(step, Abandon)
    assert FAULT.message in step.message


def test_a_revert_that_fails_leaves_only_another_revert_or_deletion() -> None:
    server = after(there("reverting"), expired(there("reverting")))
    assert (server.vm_state, server.host, server.move is not None) == ("error", "node2", True)
    with pytest.raises(Refused):
        CONFIRM.request(server, LATER)
    with pytest.raises(Refused):
        START.request(server, LATER)
    with pytest.raises(Refused):
        reboot.request(server, LATER, hard=True)
    assert after(server, REVERT.request(server, LATER)).task_state == "resize_reverting"
    assert deletion.request(server, LATER)


def test_a_disk_that_is_back_is_where_the_server_is_also_in_error() -> None:
    server = after(there("taking back"), failed(there("taking back"), "adopt", 3))
    assert (server.vm_state, server.host, server.epoch, server.flavor, server.move) == (
        "error", "node1", 3, FLAVOR, None,
    )  # fmt: skip


def test_a_deleted_server_is_removed_from_both_hosts_from_its_own_last() -> None:
    server = there("deleting resized")
    server = after(server, deletion.elsewhere_cleared(server))
    assert next_step(server, NOW) == Command("node2", "destroy", with_spec=False)
    assert deletion.elsewhere_cleared(server) is None


@pytest.mark.parametrize("flavor", [FLAVOR, replace(LARGER, disk_gb=0)])
def test_what_a_resize_cannot_be(flavor: Flavor) -> None:
    with pytest.raises(Refused) as refusal:
        cold.resize(existing(given("active"), SERVER_ID), LATER, flavor, None)
    assert refusal.value.status == 400


def test_an_ephemeral_disk_does_not_shrink_either() -> None:
    server = existing(given("active"), SERVER_ID)
    server = replace(server, flavor=replace(server.flavor, ephemeral_gb=2))
    with pytest.raises(Refused, match="ephemeral"):
        cold.resize(server, LATER, replace(LARGER, ephemeral_gb=1), None)


def test_a_host_is_told_of_all_disks_of_the_flavor() -> None:
    server = existing(given("active"), SERVER_ID)
    spec = guest_spec(replace(server, flavor=replace(server.flavor, ephemeral_gb=2, swap_mb=512)))
    assert (spec.ephemeral_gb, spec.swap_mb) == (2, 512)


def test_nobody_resets_the_state_of_a_server_that_moves() -> None:
    for state in ("choosing", "receiving", "resized"):
        with pytest.raises(Refused, match="moved"):
            reset.request(there(state), "active")


def test_what_has_not_moved_is_neither_confirmed_nor_reverted() -> None:
    for state in ("active", "reboot failed"):
        for ending in (CONFIRM, REVERT):
            with pytest.raises(Refused):
                ending.request(existing(given(state), SERVER_ID), LATER)


def expired(server: Server) -> Event | None:
    assert server.action
    return reported.expired(server, LATER, server.action.request_id)


def test_too_late_means_given_up_only_before_it_has_arrived() -> None:
    for state in ("choosing", "giving", "receiving"):
        assert next_step(there(state), LATER) == Expire()
        assert isinstance(expired(there(state)), ServerMoveAbandoned)
    for state in ("undoing", "returning", "taking back", "reverting"):
        assert isinstance(expired(there(state)), ServerActionFailed)


def test_back_from_a_move_the_guest_is_as_its_power_says() -> None:
    returned = ServerMoveReturned(epoch=1, power_state=PowerState.SHUTDOWN)
    assert after(there("returning"), returned).vm_state == "stopped"
