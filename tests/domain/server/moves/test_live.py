"""Live migration, from the request until nothing is left at the source."""

import pytest

from domain.errors import Refused
from domain.guest import GuestState, PowerState
from domain.log.record import Event
from domain.server import reported
from domain.server.action import ServerActionFailed
from domain.server.fold import evolve
from domain.server.moves import live
from domain.server.moves.course import ServerMoveAbandoned, ServerTargetFailed
from domain.server.moves.live import ServerArrived, ServerTargetReady
from domain.server.state import Server, existing, places
from domain.server.steps import ChooseTarget, Command, FinishConfirm, Leave, guest_spec, next_step
from tests.domain.server.moves.servers import CHOSEN
from tests.domain.server.servers import FAULT, GIVEN, LATER, NOW, SERVER_ID, given, meta, told_by

ASKED = live.migrate(existing(given("active"), SERVER_ID), LATER, None)
READY = ServerTargetReady(epoch=2)
ARRIVED = ServerArrived(epoch=1, power_state=PowerState.RUNNING)


def after(*events: Event) -> Server:
    server = told_by((*GIVEN["active"], ASKED, *events))
    assert server
    return server


def failed(server: Server, command: str, epoch: int) -> Event | None:
    assert server.action
    return reported.failed(server, command, epoch, server.action.version, FAULT, NOW)


def test_the_target_makes_ready_the_source_sends_and_forgets() -> None:
    assert isinstance(next_step(after(), NOW), ChooseTarget)
    assert next_step(after(CHOSEN), NOW) == Command("node2", "prepare", epoch=2)
    leave = Command("node1", "leave", with_spec=False, epoch=1, by_peer=True)
    assert next_step(after(CHOSEN, READY), NOW) == Leave(leave)
    arrived = after(CHOSEN, READY, ARRIVED)
    assert next_step(arrived, NOW) == Command("node1", "discard", with_spec=False, epoch=1)
    assert (arrived.host, arrived.epoch, arrived.vm_state) == ("node2", 2, "active")
    assert guest_spec(after(CHOSEN)).epoch == 2
    assert {state.task_state for state in (after(), after(CHOSEN), after(CHOSEN, READY), arrived)} == {"migrating"}


def test_at_the_end_it_is_at_its_target_only() -> None:
    arrived = after(CHOSEN, READY, ARRIVED)
    assert arrived.action
    gone = GuestState(server_id=SERVER_ID, epoch=1, power_state=PowerState.NOSTATE)
    done = reported.done(arrived, "discard", arrived.action.version, gone)
    assert done
    server = evolve(arrived, done, meta(9))
    assert (places(server), server.task_state, server.move) == ((("node2", 2),), None, None)


def test_what_a_failure_is_recorded_as() -> None:
    assert type(failed(after(CHOSEN), "prepare", 2)) is ServerTargetFailed
    assert type(failed(after(CHOSEN, READY), "leave", 1)) is ServerMoveAbandoned


def test_a_guest_that_stays_goes_on_once_nothing_of_it_is_at_the_target() -> None:
    fails = failed(after(CHOSEN, READY), "leave", 1)
    assert fails
    assert next_step(after(CHOSEN, READY, fails), NOW) == Command("node2", "discard", with_spec=False, epoch=2)


def test_nobody_but_the_source_says_where_a_guest_is_that_leaves() -> None:
    for leaving in (after(CHOSEN, READY), after(CHOSEN, READY, ARRIVED)):
        assert leaving.action
        assert reported.expired(leaving, LATER, leaving.action.request_id) is None
    assert next_step(after(CHOSEN, READY), LATER) == next_step(after(CHOSEN, READY), NOW)


def test_a_source_that_does_not_answer_any_more_does_not_keep_it_from_ending() -> None:
    arrived = after(CHOSEN, READY, ARRIVED)
    discard = Command("node1", "discard", with_spec=False, epoch=1)
    assert next_step(arrived, NOW) == discard
    # However long it might have taken to come.
    assert next_step(arrived, NOW + live.TIME_TO_CLEAR) == FinishConfirm(discard)
    assert live.migrated(arrived, without_host=True)
    assert live.migrated(after(CHOSEN, READY), without_host=True) is None


def test_before_anything_was_sent_time_ends_it() -> None:
    preparing = after(CHOSEN)
    assert preparing.action
    assert isinstance(reported.expired(preparing, LATER, preparing.action.request_id), ServerMoveAbandoned)
    assert not isinstance(reported.expired(preparing, LATER, preparing.action.request_id), ServerActionFailed)


def test_not_to_where_it_is_and_only_while_it_runs() -> None:
    with pytest.raises(Refused) as refusal:
        live.migrate(existing(given("active"), SERVER_ID), LATER, "node1")
    assert refusal.value.status == 400
    with pytest.raises(Refused):
        live.migrate(existing(given("stopped"), SERVER_ID), LATER, None)
