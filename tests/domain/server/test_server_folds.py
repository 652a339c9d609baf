"""What an event makes of a server."""

import msgspec
import pytest

from domain.errors import Refused
from domain.guest import PowerState
from domain.log.record import Event
from domain.server import reported
from domain.server.action import ServerActionFailed
from domain.server.actions import rescue
from domain.server.actions.rebuild import ServerRebuilt
from domain.server.fold import evolve
from domain.server.observation import ServerPowerChanged
from domain.server.password import ServerPasswordCleared, ServerPasswordSet
from domain.server.state import Server, existing
from domain.server.steps import guest_spec
from tests.domain.server.servers import FAULT, GIVEN, IMAGE, LATER, NOW, REBUILD, SERVER_ID, given, meta


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("requested", ("building", "scheduling", PowerState.NOSTATE)),
        ("spawning", ("building", "spawning", PowerState.NOSTATE)),
        ("build failed", ("building", "scheduling", PowerState.NOSTATE)),
        ("failed", ("error", None, PowerState.NOSTATE)),
        ("active", ("active", None, PowerState.RUNNING)),
        ("stopping", ("active", "powering-off", PowerState.RUNNING)),
        ("stopped", ("stopped", None, PowerState.SHUTDOWN)),
        ("starting", ("stopped", "powering-on", PowerState.SHUTDOWN)),
        ("rebooting", ("active", "rebooting", PowerState.RUNNING)),
        ("reboot failed", ("error", None, PowerState.RUNNING)),
        ("pausing", ("active", "pausing", PowerState.RUNNING)),
        ("paused", ("paused", None, PowerState.PAUSED)),
        ("unpausing", ("paused", "unpausing", PowerState.PAUSED)),
        ("suspending", ("active", "suspending", PowerState.RUNNING)),
        ("suspended", ("suspended", None, PowerState.SHUTDOWN)),
        ("resuming", ("suspended", "resuming", PowerState.SHUTDOWN)),
        ("rebuilding", ("active", "rebuilding", PowerState.RUNNING)),
        ("rebuilding stopped", ("stopped", "rebuilding", PowerState.SHUTDOWN)),
        ("rebuild failed", ("error", None, PowerState.RUNNING)),
        ("rescuing", ("active", "rescuing", PowerState.RUNNING)),
        ("rescued", ("rescued", None, PowerState.RUNNING)),
        ("unrescuing", ("rescued", "unrescuing", PowerState.RUNNING)),
        ("deleting", ("active", "deleting", PowerState.RUNNING)),
        ("deleted", ("deleted", None, PowerState.NOSTATE)),
    ],
)
def test_the_states_are_novas(state: str, expected: tuple[str, str | None, PowerState]) -> None:
    server = given(state)
    assert server
    assert (server.vm_state, server.task_state, server.power_state) == expected


def test_a_guest_that_powers_itself_off_and_on() -> None:
    off = evolve(given("active"), ServerPowerChanged(epoch=1, power_state=PowerState.SHUTDOWN), meta(9))
    assert (off.vm_state, off.power_state) == ("stopped", PowerState.SHUTDOWN)
    on = evolve(off, ServerPowerChanged(epoch=1, power_state=PowerState.RUNNING), meta(10))
    assert (on.vm_state, on.power_state, on.updated_at) == ("active", PowerState.RUNNING, NOW)


def test_a_rebuilt_server_is_what_the_request_says_and_launched_anew() -> None:
    posted = evolve(given("active"), ServerPasswordSet(password="old"), meta(9))
    server = evolve(posted, REBUILD, meta(10))
    assert (server.name, server.metadata, server.image, server.key_name) == ("web2", {"new": "yes"}, IMAGE, "k")
    assert (server.generation, server.sealed_password, server.secrets) == (1, None, "sealed")
    later = msgspec.structs.replace(meta(11), time=LATER)
    done = evolve(server, ServerRebuilt(epoch=1, power_state=PowerState.RUNNING), later)
    assert (done.vm_state, done.task_state, done.launched_at) == ("active", None, LATER)


def test_a_stopped_server_is_rebuilt_stopped() -> None:
    server = given("rebuilding stopped")
    assert server
    assert not guest_spec(server).powered_on
    done = evolve(server, ServerRebuilt(epoch=1, power_state=PowerState.SHUTDOWN), meta(9))
    assert (done.vm_state, done.power_state) == ("stopped", PowerState.SHUTDOWN)


def test_a_rescued_server_starts_from_the_rescue_image_until_it_is_unrescued() -> None:
    images = {state: guest_spec(server).rescue_image for state in GIVEN if (server := given(state))}
    assert {state for state, image in images.items() if image == IMAGE} == {"rescuing", "rescued"}


def test_without_an_image_named_a_rescue_starts_from_the_servers_own() -> None:
    with pytest.raises(Refused) as refusal:
        rescue.request(existing(given("active"), SERVER_ID), LATER, None, None)
    assert refusal.value.status == 400
    server = given("active")
    assert server
    own = msgspec.structs.replace(server, image=IMAGE)
    assert rescue.request(own, LATER, None, None).image == IMAGE


def test_a_rescue_system_that_powers_off_is_still_a_rescue() -> None:
    off = evolve(given("rescued"), ServerPowerChanged(epoch=1, power_state=PowerState.SHUTDOWN), meta(9))
    assert (off.vm_state, off.power_state) == ("rescued", PowerState.SHUTDOWN)


def _failed(server: Server) -> Event | None:
    """What is recorded if its host cannot do what it is told."""
    task = reported.task_of(server)
    assert task
    assert server.action
    return reported.failed(server, task.command, 1, server.action.version, FAULT, NOW)


@pytest.mark.parametrize("state", ["rebuilding", "rescuing", "unrescuing", "rebooting"])
def test_what_changed_the_guest_and_failed_leaves_its_state_in_doubt(state: str) -> None:
    server = given(state)
    assert server
    failed = _failed(server)
    assert failed == ServerActionFailed(fault=FAULT, to_error=True)


@pytest.mark.parametrize("state", ["pausing", "unpausing", "suspending", "resuming", "stopping", "starting"])
def test_what_only_changed_its_power_and_failed_leaves_it_as_it_was(state: str) -> None:
    server = given(state)
    assert server
    failed = _failed(server)
    assert failed == ServerActionFailed(fault=FAULT, to_error=False)


def test_the_key_of_whatever_was_sealed_is_known_to_exist() -> None:
    keys = {state for state in GIVEN if (server := given(state)) and server.has_key}
    assert keys == {state for state in GIVEN if "rebuil" in state or "rescu" in state}
    posted = evolve(given("active"), ServerPasswordSet(password="sealed"), meta(9))
    assert evolve(posted, ServerPasswordCleared(), meta(10)).has_key
