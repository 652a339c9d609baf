"""A server that was put away is there again: where it is, or on another host."""

import pytest
from msgspec.structs import replace

from domain.errors import Refused
from domain.guest import GuestState, PowerState
from domain.log.record import Event
from domain.server import creation, reported
from domain.server.action import ServerActionFailed
from domain.server.actions import unshelve
from domain.server.actions.rebuild import REBUILD
from domain.server.actions.unshelve import ServerUnshelved
from domain.server.creation import MAX_ATTEMPTS, ServerBuildFailed
from domain.server.fold import evolve
from domain.server.state import Server, existing, places
from domain.server.steps import Command, DropImage, GiveUp, Place, guest_spec, next_step
from tests.domain.server.servers import (
    FAULT,
    GIVEN,
    IMAGE,
    LATER,
    NOW,
    PLACED_AGAIN,
    SERVER_ID,
    SHELVE,
    given,
    meta,
)


def there(state: str) -> Server:
    return existing(given(state), SERVER_ID)


def after(server: Server, *events: Event | None) -> Server:
    for number, event in enumerate(events, start=50):
        assert event
        server = evolve(server, event, meta(number))
    return server


def done(server: Server, command: str, epoch: int) -> Event | None:
    assert server.action
    guest = GuestState(server_id=SERVER_ID, epoch=epoch, power_state=PowerState.RUNNING)
    return reported.done(server, command, server.action.version, guest)


def failed(server: Server, command: str, epoch: int) -> Event | None:
    assert server.action
    return reported.failed(server, command, epoch, server.action.version, FAULT, NOW)


def expired(server: Server) -> Event | None:
    assert server.action
    return reported.expired(server, LATER, server.action.request_id)


@pytest.mark.parametrize("state", [state for state in GIVEN if given(state)])
def test_in_which_states(state: str) -> None:
    image = IMAGE if state == "offloaded" else None
    if state in ("shelved", "offloaded"):
        asked = unshelve.request(there(state), LATER, image, None, None)
        assert evolve(there(state), asked, meta(9)).task_state == "unshelving"
        with pytest.raises(Refused):
            # It has left its host, or come back, since that was looked at.
            unshelve.request(there(state), LATER, None if image else IMAGE, None, None)
        return
    with pytest.raises(Refused) as refusal:
        unshelve.request(there(state), LATER, image, None, None)
    assert refusal.value.status in (404, 409)


def test_one_that_has_a_host_starts_on_it() -> None:
    server = there("unshelving")
    assert next_step(server, NOW) == Command("node1", "start")
    server = after(server, done(server, "start", 1))
    assert (server.vm_state, server.host, server.epoch, server.shelf) == ("active", "node1", 1, None)
    assert next_step(server, NOW) == DropImage(SHELVE.image_id)
    again = after(there("unshelving"), failed(there("unshelving"), "start", 1))
    assert (again.vm_state, again.host, again.fault) == ("shelved", "node1", FAULT)
    assert again.shelf


def test_one_in_doubt_keeps_its_image_for_its_user() -> None:
    server = after(there("unshelving"), expired(there("unshelving")))
    assert (server.vm_state, server.shelf, server.unwanted_images) == ("error", None, ())


def test_one_that_has_none_is_scheduled_anew_and_made_of_its_image() -> None:
    server = there("returning")
    step = next_step(server, NOW)
    assert isinstance(step, Place)
    assert (step.demand.epoch, step.demand.excluded_hosts, step.demand.host) == (2, (), None)
    server = after(server, creation.placed(server, PLACED_AGAIN))
    assert (server.vm_state, server.task_state, server.host) == ("shelved_offloaded", "spawning", "node2")
    assert next_step(server, NOW) == Command("node2", "build")
    spec = guest_spec(server)
    assert (spec.disk_image, spec.image, spec.epoch, spec.powered_on) == (IMAGE, server.image, 2, True)
    assert isinstance(done(server, "build", 2), ServerUnshelved)
    assert done(server, "build", 1) is None
    server = after(server, done(server, "build", 2))
    assert (server.vm_state, server.host, server.epoch, server.action) == ("active", "node2", 2, None)
    assert next_step(server, NOW) == DropImage(SHELVE.image_id)
    assert guest_spec(server).disk_image is None


def test_where_it_shall_be_holds_from_now_on_and_on_which_host_this_once() -> None:
    asked = unshelve.request(there("offloaded"), LATER, IMAGE, "east", "node7")
    step = next_step(after(there("offloaded"), asked), NOW)
    assert isinstance(step, Place)
    assert (step.demand.availability_zone, step.demand.host) == ("east", "node7")


def test_another_host_is_tried_in_an_epoch_of_its_own_and_only_so_many() -> None:
    server = there("returning placed")
    for attempt in range(1, MAX_ATTEMPTS + 1):
        event = failed(server, "build", server.epoch)
        assert isinstance(event, ServerBuildFailed)
        server = after(server, event)
        assert (server.task_state, server.host, len(server.failed_hosts)) == ("unshelving", None, attempt)
        step = next_step(server, NOW)
        if attempt < MAX_ATTEMPTS:
            assert isinstance(step, Place)
            assert step.demand.epoch == attempt + 2
            server = after(server, creation.placed(server, replace(PLACED_AGAIN, epoch=attempt + 2)))
    assert isinstance(next_step(server, NOW), GiveUp)


def test_given_up_it_is_nowhere_as_before_with_its_fault_and_its_image() -> None:
    for server, event in (
        (there("returning"), unshelve.given_up(there("returning"), FAULT)),
        (there("returning placed"), expired(there("returning placed"))),
    ):
        assert isinstance(event, ServerActionFailed)
        ended = after(server, event)
        assert (ended.vm_state, ended.host, ended.task_state, ended.unwanted_images) == (
            "shelved_offloaded", None, None, (),
        )  # fmt: skip
        assert ended.is_nowhere
        assert ended.fault
        assert ended.shelf
        # What was claimed for it meanwhile, recorded or not, is void.
        assert ended.newest_epoch >= 2
        assert ("node2", 2) not in places(ended)
        again = after(ended, unshelve.request(ended, LATER, IMAGE, None, None))
        step = next_step(again, NOW)
        assert isinstance(step, Place)
        assert step.demand.epoch == ended.newest_epoch + 1


def test_who_gives_up_too_late_is_not_heard() -> None:
    assert unshelve.given_up(there("returning placed"), FAULT) is None
    assert unshelve.given_up(there("offloaded"), FAULT) is None
    assert unshelve.given_up(there("requested"), FAULT) is None
    assert creation.given_up(there("returning"), FAULT, {}) is None


def test_it_can_do_nothing_else_meanwhile() -> None:
    for state in ("shelved", "offloaded", "returning"):
        with pytest.raises(Refused, match="Cannot 'rebuild' instance"):
            REBUILD.check(there(state))
