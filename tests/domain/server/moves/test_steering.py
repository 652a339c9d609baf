"""What is said of a live migration while it is under way, and what comes of it."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from domain.errors import Refused
from domain.guest import GuestState, PowerState
from domain.log.record import Event
from domain.server import deletion, reported
from domain.server.actions import reboot
from domain.server.fold import evolve
from domain.server.moves import course, live, steering
from domain.server.moves.cold import REVERT
from domain.server.moves.course import ServerMoveAbandoned
from domain.server.moves.live import ServerArrived, ServerTargetReady
from domain.server.moves.orders import Orders
from domain.server.moves.steering import (
    ServerMigrationAbortRequested,
    ServerMigrationForceCompleteRequested,
    ServerMigrationLost,
    Which,
)
from domain.server.state import Server, existing
from domain.server.steps import Abandon, Command, Leave, guest_spec, next_step
from tests.domain.server.moves.servers import CHOSEN
from tests.domain.server.servers import FAULT, GIVEN, LATER, NOW, SERVER_ID, given, meta, told_by

ASKED = live.migrate(existing(given("active"), SERVER_ID), LATER, None)
READY = ServerTargetReady(epoch=2)
ARRIVED = ServerArrived(epoch=1, power_state=PowerState.RUNNING)
ABORT, FORCE = ServerMigrationAbortRequested(), ServerMigrationForceCompleteRequested()
THIS = Which(7, ASKED.move.id, "running")
LEAVE = Leave(Command("node1", "leave", with_spec=False, epoch=1, by_peer=True))
OVERDUE = replace(LEAVE, overdue=True)
LONG_AFTER = LATER + timedelta(minutes=5)


def after(*events: Event) -> Server:
    server = told_by((*GIVEN["active"], ASKED, *events))
    assert server
    return server


def failed(server: Server, command: str = "leave", epoch: int = 1) -> Event | None:
    assert server.action
    return reported.failed(server, command, epoch, server.action.version, FAULT, NOW)


def done(server: Server, power: PowerState = PowerState.RUNNING, downtime_ms: int | None = None) -> Event | None:
    assert server.action
    guest = GuestState(server_id=SERVER_ID, epoch=1, power_state=power, downtime_ms=downtime_ms)
    return reported.done(server, "leave", server.action.version, guest)


def status(server: Server, *, waiting_too: bool) -> int | None:
    """With which an abort is refused."""
    try:
        steering.abort(server, THIS, waiting_too=waiting_too)
    except Refused as refusal:
        return refusal.status
    return None


def test_when_it_can_be_aborted() -> None:
    legs = {"choosing": after(), "preparing": after(CHOSEN), "leaving": after(CHOSEN, READY)}
    gone = {"arrived": after(CHOSEN, READY, ARRIVED), "undone": after(course.abandoned(after(), FAULT, NOW) or ABORT)}
    at_rest = existing(given("active"), SERVER_ID)
    assert {name: status(server, waiting_too=True) for name, server in (legs | gone).items()} == {
        "choosing": None, "preparing": None, "leaving": None, "arrived": 400, "undone": 400,
    }  # fmt: skip
    assert {name: status(server, waiting_too=False) for name, server in legs.items()} == {
        "choosing": 400, "preparing": 400, "leaving": None,
    }  # fmt: skip
    assert status(at_rest, waiting_too=True) == 409
    with pytest.raises(Refused):
        steering.abort(after(CHOSEN, READY), Which(6, "of another", "error"), waiting_too=True)


def test_aborted_before_it_leaves_it_is_given_up_at_once() -> None:
    for events in ((), (CHOSEN,)):
        server = after(*events, ABORT)
        assert isinstance(next_step(server, NOW), Abandon)
        gone = course.abandoned(server, FAULT, NOW)
        assert gone
        assert (gone.cancelled, gone.order) == (True, f"req-{4 + len(events) + 1}")
    assert next_step(after(CHOSEN, ABORT, READY), NOW) == OVERDUE, "its source is asked, which does not begin"


def test_aborted_while_it_leaves_its_source_is_told_and_no_other_target_is_tried() -> None:
    server = after(CHOSEN, READY, ABORT)
    assert next_step(server, NOW) == OVERDUE, "a source that does not live does not abort it"
    assert steering.orders(server) == Orders(deadline=LATER, order="abort")
    assert steering.abort(server, THIS, waiting_too=True) is None
    stays = failed(server)
    assert isinstance(stays, ServerMoveAbandoned)
    assert (stays.cancelled, stays.order) == (True, "req-7")
    assert next_step(after(CHOSEN, READY, ABORT, stays), NOW) == Command("node2", "discard", with_spec=False, epoch=2)
    assert failed(after(CHOSEN, READY)) == replace(stays, cancelled=False, order=None)


def test_what_arrives_has_arrived_whatever_was_said() -> None:
    for order in (ABORT, FORCE):
        arrived = done(after(CHOSEN, READY, order), downtime_ms=70)
        assert arrived == ServerArrived(
            epoch=1, power_state=PowerState.RUNNING, downtime_ms=70, order="req-7"
        )  # fmt: skip


def test_forced_only_while_it_leaves_and_not_after_an_abort() -> None:
    for server in (after(), after(CHOSEN), after(CHOSEN, READY, ARRIVED), after(CHOSEN, READY, ABORT)):
        with pytest.raises(Refused) as refusal:
            steering.force_complete(server, THIS)
        assert refusal.value.status == 400
    assert steering.force_complete(after(CHOSEN, READY), THIS) == FORCE
    forced = after(CHOSEN, READY, FORCE)
    assert steering.force_complete(forced, THIS) is None
    assert steering.orders(forced).order == "force_complete"
    assert steering.abort(forced, THIS, waiting_too=False) == ServerMigrationAbortRequested(order="req-7")


def test_what_is_due_and_when() -> None:
    assert Orders(deadline=LATER).due(NOW) is None
    assert Orders(deadline=LATER).due(LATER) == "abort"
    assert Orders(deadline=LATER, policy="keep_trying").due(LATER) == "abort"
    assert Orders(deadline=LATER, policy="force_complete").due(LATER) == "force_complete"
    assert Orders(deadline=LATER, policy="force_complete", order="abort").due(NOW) == "abort"
    assert Orders().due(LATER) is None


def test_another_time_or_another_end() -> None:
    server = after(CHOSEN, READY)
    soon = NOW + timedelta(seconds=5)
    changed = steering.change_policy(server, THIS, "force_complete", soon)
    assert changed
    assert steering.orders(after(CHOSEN, READY, changed)) == Orders(deadline=soon, policy="force_complete")
    assert steering.change_policy(after(CHOSEN, READY, changed), THIS, "force_complete", None) is None
    patient = steering.change_policy(server, THIS, "keep_trying", soon)
    assert patient
    assert patient.deadline == NOW + steering.LONGEST
    with pytest.raises(Refused, match="keeps trying"):
        steering.change_policy(after(CHOSEN, READY, patient), THIS, None, soon)
    with pytest.raises(Refused):
        steering.change_policy(after(CHOSEN, READY, ARRIVED), THIS, "abort", soon)


def test_its_time_is_over_before_it_leaves() -> None:
    late = course.abandoned(after(CHOSEN), FAULT, LATER)
    assert late
    assert late.cancelled


def test_a_source_that_is_gone_leaves_the_server_in_error_with_both_claims() -> None:
    leaving = after(CHOSEN, READY)
    assert next_step(leaving, LATER) == LEAVE
    assert next_step(leaving, LONG_AFTER) == OVERDUE
    event = steering.lost(leaving)
    assert event
    server = after(CHOSEN, READY, event)
    assert (server.vm_state, server.task_state, server.unfinished) == ("error", None, True)
    assert server.move
    assert len(set(server.move.places)) == 2
    assert next_step(server, NOW) == OVERDUE, "it is looked for until it is found"
    assert steering.lost(server) is None
    assert steering.lost(after(CHOSEN, READY, ARRIVED)) is None
    for action in (REVERT, live.LIVE_MIGRATE):
        with pytest.raises(Refused):
            action.request(server, LONG_AFTER)
    with pytest.raises(Refused):
        reboot.request(server, LONG_AFTER, hard=True)
    assert deletion.request(server, LONG_AFTER)


LOST = ServerMigrationLost(fault=FAULT)


def seen(server: Server, epoch: int, power: PowerState) -> Event | None:
    return live.seen_at_target(server, GuestState(server_id=SERVER_ID, epoch=epoch, power_state=power))


def test_whoever_sees_the_guest_settles_it() -> None:
    lost = after(CHOSEN, READY, LOST)
    assert seen(lost, 2, PowerState.RUNNING) == ARRIVED
    assert seen(lost, 1, PowerState.RUNNING) is None
    assert seen(after(CHOSEN, READY), 2, PowerState.RUNNING) is None, "its source will tell"
    there = after(CHOSEN, READY, LOST, ARRIVED)
    assert (there.vm_state, there.host, there.task_state) == ("active", "node2", "migrating")
    assert next_step(there, NOW) == Command("node1", "discard", with_spec=False, epoch=1)
    stays = failed(lost)
    assert stays
    back = after(CHOSEN, READY, LOST, stays, course.ServerTargetCleared(epoch=2))
    returned = evolve(back, course.ServerMoveReturned(epoch=1, power_state=PowerState.RUNNING), meta(20))
    assert (returned.vm_state, returned.host, returned.move) == ("active", "node1", None)


def test_one_that_stands_still_is_not_started_on_its_way_back() -> None:
    paused = told_by(
        (*GIVEN["paused"], live.migrate(existing(given("paused"), SERVER_ID), LATER, None), CHOSEN, READY)
    )
    assert paused
    stays = failed(paused)
    assert stays
    server = evolve(evolve(paused, stays, meta(30)), course.ServerTargetCleared(epoch=2), meta(31))
    step = next_step(server, NOW)
    assert isinstance(step, Command)
    assert (step.kind, guest_spec(server).powered_on) == ("adopt", False)
    there = done(paused, PowerState.PAUSED)
    assert there
    assert evolve(paused, there, meta(32)).vm_state == "paused"


def test_deleted_on_its_way_what_was_said_of_it_ends() -> None:
    event = deletion.request(after(CHOSEN, READY, ABORT), LATER)
    assert event
    assert event.order == "req-7"
