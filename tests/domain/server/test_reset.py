"""An administrator says in which state a server is."""

import pytest

from domain.errors import Refused
from domain.guest import GuestState, PowerState
from domain.server import creation, observation, reported, reset
from domain.server.fold import evolve
from domain.server.state import existing
from domain.server.steps import DropImage, next_step
from tests.domain.server.servers import GIVEN, NOW, PLACED, SERVER_ID, given, meta

NEVER_LAUNCHED = {"requested", "spawning", "build failed", "failed", "failed on host"}
NOWHERE = {"offloading", "offloaded", "returning", "returning placed"}
THERE = [name for name in GIVEN if name not in {"nothing", "abandoned", "deleted"}]
REFUSED = {
    "active": {*NEVER_LAUNCHED, *NOWHERE, "rescuing", "rescued", "deleting", "deleting unplaced"},
    "error": {*NOWHERE, "deleting", "deleting unplaced"},
}


@pytest.mark.parametrize("vm_state", ["active", "error"])
@pytest.mark.parametrize("state", THERE)
def test_nothing_is_left_under_way(state: str, vm_state: str) -> None:
    before = existing(given(state), SERVER_ID)
    if state in REFUSED[vm_state]:
        with pytest.raises(Refused) as refusal:
            reset.request(before, vm_state)
        assert refusal.value.status == 409
        return
    event = reset.request(before, vm_state)
    assert event.supersedes == (before.action.request_id if before.action else None)
    after = evolve(before, event, meta(30))
    assert (after.vm_state, after.task_state, after.action, after.rescue) == (vm_state, None, None, None)
    # Nothing but what was in the making, and is not wanted any more.
    assert next_step(after, NOW) == (DropImage(after.unwanted_images[0]) if before.images_of_it else None)


def test_what_the_guest_really_is_its_host_tells() -> None:
    stopping = existing(given("stopping"), SERVER_ID)
    after = evolve(stopping, reset.request(stopping, "active"), meta(30))
    late = GuestState(server_id=SERVER_ID, epoch=1, power_state=PowerState.SHUTDOWN)
    assert reported.done(after, "stop", 4, late) is None
    observed = observation.power_observed(after, 1, PowerState.SHUTDOWN)
    assert observed
    assert evolve(after, observed, meta(31)).vm_state == "stopped"


def test_a_creation_that_was_ended_finds_no_host_any_more() -> None:
    requested = existing(given("requested"), SERVER_ID)
    after = evolve(requested, reset.request(requested, "error"), meta(30))
    assert after.never_came
    assert creation.placed(after, PLACED) is None


def test_a_host_that_never_heard_of_what_was_under_way_tells_what_the_guest_is() -> None:
    stopping = given("stopping")
    assert stopping
    assert stopping.last_action > 0
    after = evolve(stopping, reset.request(stopping, "active"), meta(30))
    assert after.last_action == 0
