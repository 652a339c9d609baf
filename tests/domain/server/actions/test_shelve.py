"""A server that is put away is an image, and at last nowhere."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from domain.errors import Refused
from domain.guest import GuestState, PowerState
from domain.log.record import Event
from domain.server import deletion, reported, reset
from domain.server.actions import shelve
from domain.server.actions.shelve import OFFLOAD, ServerOffloadRequested, ServerShelved
from domain.server.fold import evolve
from domain.server.moves import evacuation
from domain.server.state import Server, existing, places
from domain.server.steps import Command, DropImage, FinishDelete, FinishOffload, Offload, next_step
from tests.domain.server.servers import FAULT, GIVEN, LATER, NOW, SERVER_ID, SHELVE, given, meta, told_by

ALLOWED = {"active", "image failed", "stopped", "paused", "suspended"}
DISCARD = Command("node1", "discard", with_spec=False)


def there(state: str) -> Server:
    return existing(given(state), SERVER_ID)


def after(server: Server, *events: Event | None) -> Server:
    for number, event in enumerate(events, start=50):
        assert event
        server = evolve(server, event, meta(number))
    return server


def done(server: Server, command: str, epoch: int = 1) -> Event | None:
    assert server.action
    guest = GuestState(server_id=SERVER_ID, epoch=epoch, power_state=PowerState.SHUTDOWN)
    return reported.done(server, command, server.action.version, guest)


def failed(server: Server, command: str) -> Event | None:
    assert server.action
    return reported.failed(server, command, 1, server.action.version, FAULT, NOW)


def expired(server: Server) -> Event | None:
    assert server.action
    return reported.expired(server, LATER, server.action.request_id)


@pytest.mark.parametrize("state", [state for state in GIVEN if given(state)])
def test_in_which_states(state: str) -> None:
    if state in ALLOWED:
        asked = shelve.request(there(state), LATER, "image", 0)
        assert evolve(there(state), asked, meta(9)).task_state == "shelving"
    else:
        with pytest.raises(Refused) as refusal:
            shelve.request(there(state), LATER, "image", 0)
        assert refusal.value.status in (404, 409)


def test_it_is_off_then_an_image_and_offloaded_at_once_if_that_is_wanted() -> None:
    for asked, offloading in ((0.0, True), (60.0, False), (None, False)):
        server = after(there("active"), replace(SHELVE, offload_after=asked))
        states = []
        for command in ("stop", "snapshot", "upload"):
            server = after(server, done(server, command))
            states.append(server.task_state)
        uploading = "shelving_image_uploading"
        assert states == ["shelving_image_pending_upload", uploading, "shelving_offloading" if offloading else None]
        assert (server.vm_state, server.power_state, server.imaging) == ("shelved", PowerState.SHUTDOWN, None)
        assert (server.action is not None) == offloading


def test_what_is_told_of_a_shelved_server_says_whether_it_goes_on() -> None:
    assert done(there("shelving saved"), "upload") == ServerShelved(epoch=1)
    away = told_by(GIVEN["offloading"][:-1])
    assert away
    assert done(away, "upload") == ServerShelved(epoch=1, offloading=True)


def test_it_leaves_its_host_after_its_time() -> None:
    server = after(there("active"), replace(SHELVE, offload_after=60.0))
    for command in ("stop", "snapshot", "upload"):
        server = after(server, done(server, command))
    in_time = NOW + timedelta(seconds=60)
    assert (server.unfinished, server.waits_until) == (True, in_time)
    assert next_step(server, NOW) is None
    assert next_step(server, in_time) == Offload()
    assert shelve.offloaded_by_time(server, NOW) is None
    leaving = after(server, shelve.offloaded_by_time(server, in_time))
    assert next_step(leaving, in_time) == DISCARD
    assert shelve.offloaded_by_time(leaving, in_time) is None
    assert shelve.offloaded_by_time(there("shelved"), LATER) is None, "it stays, unless somebody says so"


def test_offloaded_it_is_nowhere_and_keeps_what_is_not_its_hosts() -> None:
    server = there("offloading")
    assert next_step(server, NOW) == DISCARD
    server = after(server, done(server, "discard"))
    assert (server.vm_state, server.host, server.host_id, server.availability_zone, server.action) == (
        "shelved_offloaded", None, None, None, None,
    )  # fmt: skip
    assert server.nics == there("active").nics
    assert server.is_nowhere
    assert ("node1", 1) not in places(server)
    assert not server.never_came


def test_a_host_that_does_not_answer_keeps_nobody_on_it() -> None:
    server = there("offloading")
    assert next_step(server, LATER) == FinishOffload(DISCARD)
    assert expired(server) is None
    assert failed(server, "discard") is None
    gone = after(server, shelve.offloaded(server, without_host=True))
    assert gone.is_nowhere
    assert shelve.offloaded(gone, without_host=True) is None


@pytest.mark.parametrize(("state", "command", "vm_state"), [
    ("shelving", "stop", "active"), ("shelving laid down", "snapshot", "stopped"),
    ("shelving saved", "upload", "stopped"),
])  # fmt: skip
def test_what_fails_leaves_the_server_on_its_host_and_no_image(state: str, command: str, vm_state: str) -> None:
    server = after(there(state), failed(there(state), command))
    assert (server.vm_state, server.host, server.shelf, server.fault) == (vm_state, "node1", None, FAULT)
    assert next_step(server, NOW) == DropImage(SHELVE.image_id)


def test_one_that_takes_too_long_is_in_no_doubt_once_its_guest_is_off() -> None:
    for state in ("shelving laid down", "shelving saved"):
        assert after(there(state), expired(there(state))).vm_state == "stopped"
    assert after(there("shelving"), expired(there("shelving"))).vm_state == "error"


def test_only_a_shelved_one_is_offloaded_by_its_user() -> None:
    assert isinstance(OFFLOAD.request(there("shelved"), LATER), ServerOffloadRequested)
    for state in ("active", "offloading", "offloaded", "shelving"):
        with pytest.raises(Refused):
            OFFLOAD.request(there(state), LATER)


def test_a_deleted_one_takes_its_image_along() -> None:
    for state in ("shelved", "offloaded", "shelving saved"):
        server = after(there(state), deletion.request(there(state), LATER))
        assert server.images_of_it == (SHELVE.image_id,)
        gone = after(server, deletion.deleted(server, without_host=False))
        assert (gone.images_of_it, gone.unfinished, gone.shelf) == ((), False, None)
    nowhere = after(there("offloaded"), deletion.request(there("offloaded"), LATER))
    assert next_step(nowhere, NOW) == FinishDelete(without_host=False)


def test_a_reset_of_a_shelved_one_has_it_on_its_host_without_the_image() -> None:
    server = after(there("shelved"), reset.request(there("shelved"), "active"))
    assert (server.vm_state, server.host, server.shelf) == ("active", "node1", None)
    assert next_step(server, NOW) == DropImage(SHELVE.image_id)


def test_an_evacuation_ends_it() -> None:
    asked = evacuation.evacuate(there("shelving saved"), LATER, None, stopped=False, secrets=None)
    server = after(there("shelving saved"), asked)
    assert (server.shelf, server.unwanted_images) == (None, (SHELVE.image_id,))
    assert server.power_state is PowerState.NOSTATE, "its guest is off, and it is active again if this fails"
