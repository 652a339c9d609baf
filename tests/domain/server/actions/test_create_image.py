"""An image is made of a server that goes on as it is; one of which nothing comes is removed."""

import pytest

from domain.errors import Refused
from domain.guest import GuestState, PowerState
from domain.log.record import Event
from domain.server import deletion, reported, reset
from domain.server.action import ServerActionFailed
from domain.server.actions import create_image
from domain.server.actions.create_image import ServerDiskSaved, ServerImaged, ServerImageDropped
from domain.server.fold import evolve
from domain.server.moves import evacuation
from domain.server.state import Server, existing
from domain.server.steps import Command, DropImage, next_step
from tests.domain.server.servers import FAULT, GIVEN, LATER, NOW, SERVER_ID, given, meta

IMAGE_ID = "33333333-3333-4333-8333-333333333333"
ALLOWED = {"active", "image failed", "stopped", "paused", "suspended"}


def imaging(state: str = "active") -> Server:
    server = given(state)
    return evolve(server, create_image.request(existing(server, SERVER_ID), LATER, IMAGE_ID), meta(9))


def after(server: Server, *events: Event | None) -> Server:
    for number, event in enumerate(events, start=50):
        assert event
        server = evolve(server, event, meta(number))
    return server


def done(server: Server, command: str) -> Event | None:
    assert server.action
    guest = GuestState(server_id=SERVER_ID, epoch=1, power_state=PowerState.RUNNING)
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
        assert imaging(state).task_state == "image_snapshot"
        return
    with pytest.raises(Refused) as refusal:
        imaging(state)
    assert refusal.value.status in (404, 409)


def test_nobody_wants_the_image_of_a_server_that_is_evacuated_meanwhile() -> None:
    server = imaging()
    server = after(server, evacuation.evacuate(server, LATER, None, stopped=False, secrets=None))
    assert (server.imaging, server.unwanted_images) == (None, (IMAGE_ID,))


@pytest.mark.parametrize("state", sorted(ALLOWED))
def test_it_is_made_then_sent_and_the_server_is_as_it_was(state: str) -> None:
    before, server = given(state), imaging(state)
    assert before
    assert next_step(server, NOW) == Command("node1", "snapshot", with_spec=False, image_id=IMAGE_ID)
    assert type(done(server, "snapshot")) is ServerDiskSaved
    assert done(server, "upload") is None
    server = after(server, done(server, "snapshot"))
    assert server.task_state == "image_uploading"
    assert next_step(server, NOW) == Command("node1", "upload", with_spec=False, image_id=IMAGE_ID)
    assert type(done(server, "upload")) is ServerImaged
    server = after(server, done(server, "upload"))
    assert (server.vm_state, server.power_state, server.imaging) == (before.vm_state, before.power_state, None)
    assert server.unwanted_images == before.unwanted_images


@pytest.mark.parametrize("leg", ["snapshot", "upload"])
def test_one_of_which_nothing_comes_is_removed_and_the_server_is_in_no_doubt(leg: str) -> None:
    server = imaging() if leg == "snapshot" else after(imaging(), done(imaging(), "snapshot"))
    for end in (failed(server, leg), expired(server)):
        assert isinstance(end, ServerActionFailed)
        ended = after(server, end)
        assert (ended.vm_state, ended.task_state, ended.action, ended.unfinished) == ("active", None, None, True)
        assert ended.fault
        assert next_step(ended, NOW) == DropImage(IMAGE_ID)
        assert create_image.dropped(ended, "another") is None
        gone = after(ended, create_image.dropped(ended, IMAGE_ID))
        assert (next_step(gone, NOW), gone.unfinished) == (None, False)
        assert create_image.dropped(gone, IMAGE_ID) is None


def test_what_is_asked_next_does_not_wait_for_that() -> None:
    server = after(imaging(), failed(imaging(), "snapshot"))
    again = after(server, create_image.request(server, LATER, "44444444-3333-4333-8333-333333333333"))
    assert isinstance(next_step(again, NOW), Command)
    assert set(again.images_of_it) == {IMAGE_ID, "44444444-3333-4333-8333-333333333333"}


def test_a_reset_ends_it_and_the_image() -> None:
    server = after(imaging(), reset.request(imaging(), "active"))
    assert next_step(server, NOW) == DropImage(IMAGE_ID)


def test_a_deleted_server_has_no_image_in_the_making() -> None:
    server = after(imaging(), deletion.request(imaging(), LATER))
    assert server.images_of_it == (IMAGE_ID,)
    gone = after(server, deletion.deleted(server, without_host=False))
    assert (gone.images_of_it, gone.unfinished) == ((), False)


def test_only_an_image_that_is_unwanted_is_dropped() -> None:
    assert create_image.dropped(imaging(), IMAGE_ID) is None
    assert ServerImageDropped(image_id=IMAGE_ID) == create_image.dropped(
        after(imaging(), failed(imaging(), "snapshot")), IMAGE_ID
    )
