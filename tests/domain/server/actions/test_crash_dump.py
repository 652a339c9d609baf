"""A crash dump is triggered in any state in which there is a guest to interrupt, and leaves it as it is."""

import pytest

from domain.errors import Refused
from domain.guest import GuestState
from domain.server import reported
from domain.server.action import ServerActionFailed
from domain.server.actions.crash_dump import TRIGGER_CRASH_DUMP, ServerCrashDumpTriggered
from domain.server.fold import evolve
from domain.server.state import Server
from domain.server.steps import Command, Expire, guest_spec, next_step
from tests.domain.server.servers import FAULT, GIVEN, IMAGE, LATER, NOW, SERVER_ID, given, meta

ALLOWED = {"active", "image failed", "paused", "rescued", "reboot failed", "rebuild failed", "rescue failed"}


def dumping(state: str = "active") -> Server:
    server = given(state)
    assert server
    return evolve(server, TRIGGER_CRASH_DUMP.request(server, LATER), meta(9))


@pytest.mark.parametrize("state", [state for state in GIVEN if given(state)])
def test_in_which_states(state: str) -> None:
    if state in ALLOWED:
        assert dumping(state).task_state == "triggering_crash_dump"
        return
    with pytest.raises(Refused, match="Cannot 'trigger_crash_dump' instance") as refusal:
        dumping(state)
    assert refusal.value.status == 409


def test_the_host_injects_an_nmi_and_needs_to_know_only_the_server() -> None:
    assert next_step(dumping(), NOW) == Command("node1", "inject_nmi", with_spec=False)
    assert next_step(dumping(), LATER) == Expire()


@pytest.mark.parametrize("state", sorted(ALLOWED))
def test_the_server_is_as_it_was(state: str) -> None:
    before, asked = given(state), dumping(state)
    assert before
    guest = GuestState(server_id=SERVER_ID, epoch=1, power_state=before.power_state)
    done = reported.done(asked, "inject_nmi", asked.version, guest)
    assert type(done) is ServerCrashDumpTriggered
    failed = reported.failed(asked, "inject_nmi", 1, asked.version, FAULT, NOW)
    assert failed == ServerActionFailed(fault=FAULT, to_error=False)
    for end in (done, failed):
        after = evolve(asked, end, meta(10))
        assert (after.vm_state, after.task_state, after.power_state) == (before.vm_state, None, before.power_state)


def test_one_at_a_time() -> None:
    asked = dumping()
    with pytest.raises(Refused, match="task_state triggering_crash_dump"):
        TRIGGER_CRASH_DUMP.request(asked, LATER)


def test_a_rescue_outlives_one_that_fails_but_not_a_doubt_about_the_guest() -> None:
    kept = evolve(dumping("rescued"), ServerActionFailed(fault=FAULT), meta(10))
    assert (kept.vm_state, guest_spec(kept).rescue_image) == ("rescued", IMAGE)
    lost = evolve(dumping("rescued"), ServerActionFailed(fault=FAULT, to_error=True), meta(10))
    assert (lost.vm_state, guest_spec(lost).rescue_image) == ("error", None)
