"""Which action is allowed in which state, and which report counts: given a history, when asked, then this."""

from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from domain.errors import Refused
from domain.guest import PowerState
from domain.record import Event
from domain.server import decide
from domain.server import events as e
from domain.server.state import Server, evolve
from domain.server.steps import guest_spec
from tests.domain.servers import FAULT, GIVEN, IMAGE, LATER, NOW, REBUILD, SERVER_ID, given, meta

Ask = Callable[[Server | None], Event | None]

ASKED: dict[str, Ask] = {
    "stop": lambda server: decide.stop(server, SERVER_ID, LATER),
    "start": lambda server: decide.start(server, SERVER_ID, LATER),
    "reboot": lambda server: decide.reboot(server, SERVER_ID, LATER, hard=False),
    "hard reboot": lambda server: decide.reboot(server, SERVER_ID, LATER, hard=True),
    "pause": lambda server: decide.pause(server, SERVER_ID, LATER),
    "unpause": lambda server: decide.unpause(server, SERVER_ID, LATER),
    "suspend": lambda server: decide.suspend(server, SERVER_ID, LATER),
    "resume": lambda server: decide.resume(server, SERVER_ID, LATER),
    "rebuild": lambda server: decide.rebuild(server, SERVER_ID, REBUILD),
    "rescue": lambda server: decide.rescue(server, SERVER_ID, LATER, IMAGE, None),
    "unrescue": lambda server: decide.unrescue(server, SERVER_ID, LATER),
    "delete": lambda server: decide.delete(server, SERVER_ID, LATER),
    "built": lambda server: decide.built(server, 1, 1, PowerState.RUNNING),
    "stopped": lambda server: decide.stopped(server, 1, 4),
    "started": lambda server: decide.started(server, 1, 6),
    "rebooted": lambda server: decide.rebooted(server, 1, 4),
    "is paused": lambda server: decide.paused(server, 1, 4),
    "is unpaused": lambda server: decide.unpaused(server, 1, 6),
    "is suspended": lambda server: decide.suspended(server, 1, 4, PowerState.SHUTDOWN),
    "is resumed": lambda server: decide.resumed(server, 1, 6),
    "rebuilt": lambda server: decide.rebuilt(server, 1, 4, PowerState.RUNNING),
    "rescued": lambda server: decide.rescued(server, 1, 4),
    "unrescued": lambda server: decide.unrescued(server, 1, 6),
    "observed off": lambda server: decide.power_observed(server, 1, PowerState.SHUTDOWN),
    "late": lambda server: decide.expired(
        server, LATER, server.action.request_id if server and server.action else ""
    ),
    "give up": lambda server: decide.given_up(server, FAULT, {}),
    "abandon": lambda server: decide.abandon(server, SERVER_ID),
    "gone": lambda server: decide.deleted(server, without_host=False),
}

BY_USERS = (
    *("stop", "start", "reboot", "hard reboot", "pause", "unpause", "suspend", "resume"),
    *("rebuild", "rescue", "unrescue", "delete"),
)
NOTHING = None
NOT_FOUND, CONFLICT = 404, 409

IN_ERROR: dict[str, object] = {
    "stop": e.ServerStopRequested,
    "hard reboot": e.ServerRebootRequested,
    "rebuild": e.ServerRebuildRequested,
    "rescue": e.ServerRescueRequested,
    "delete": e.ServerDeleteRequested,
    "observed off": e.ServerPowerChanged,
}

# For each state, what each question leads to: an event, a refusal's status, or nothing. Questions left out lead to
# a conflict if a user asks them, and to nothing if they are reports.
THEN: dict[str, dict[str, object]] = {
    "nothing": dict.fromkeys(BY_USERS, NOT_FOUND) | {"abandon": e.ServerAbandoned},
    "abandoned": dict.fromkeys(BY_USERS, NOT_FOUND),
    "requested": {"delete": e.ServerDeleteRequested, "late": e.ServerFailed, "give up": e.ServerFailed},
    "spawning": {"delete": e.ServerDeleteRequested, "built": e.ServerBuilt, "late": e.ServerFailed},
    "build failed": {"delete": e.ServerDeleteRequested, "late": e.ServerFailed, "give up": e.ServerFailed},
    "failed": {"delete": e.ServerDeleteRequested},
    "failed on host": {"delete": e.ServerDeleteRequested},
    "active": {
        "stop": e.ServerStopRequested,
        "reboot": e.ServerRebootRequested,
        "hard reboot": e.ServerRebootRequested,
        "pause": e.ServerPauseRequested,
        "suspend": e.ServerSuspendRequested,
        "rebuild": e.ServerRebuildRequested,
        "rescue": e.ServerRescueRequested,
        "delete": e.ServerDeleteRequested,
        "observed off": e.ServerPowerChanged,
    },
    "stopping": {
        "delete": e.ServerDeleteRequested,
        "hard reboot": e.ServerRebootRequested,
        "stopped": e.ServerStopped,
        "late": e.ServerActionFailed,
    },
    "stopped": {
        "start": e.ServerStartRequested,
        "hard reboot": e.ServerRebootRequested,
        "rebuild": e.ServerRebuildRequested,
        "rescue": e.ServerRescueRequested,
        "delete": e.ServerDeleteRequested,
    },
    "starting": {"delete": e.ServerDeleteRequested, "started": e.ServerStarted, "late": e.ServerActionFailed},
    "rebooting": {
        "rebooted": e.ServerRebooted,
        "hard reboot": e.ServerRebootRequested,
        "delete": e.ServerDeleteRequested,
        "late": e.ServerActionFailed,
    },
    "reboot failed": IN_ERROR,
    "pausing": {
        "delete": e.ServerDeleteRequested,
        "hard reboot": e.ServerRebootRequested,
        "is paused": e.ServerPaused,
        "late": e.ServerActionFailed,
    },
    "paused": {
        "unpause": e.ServerUnpauseRequested,
        "hard reboot": e.ServerRebootRequested,
        "delete": e.ServerDeleteRequested,
        "observed off": e.ServerPowerChanged,
    },
    "unpausing": {
        "delete": e.ServerDeleteRequested,
        "hard reboot": e.ServerRebootRequested,
        "is unpaused": e.ServerUnpaused,
        "late": e.ServerActionFailed,
    },
    "suspending": {
        "hard reboot": e.ServerRebootRequested,
        "delete": e.ServerDeleteRequested,
        "is suspended": e.ServerSuspended,
        "late": e.ServerActionFailed,
    },
    "suspended": {
        "resume": e.ServerResumeRequested,
        "hard reboot": e.ServerRebootRequested,
        "delete": e.ServerDeleteRequested,
    },
    "resuming": {
        "delete": e.ServerDeleteRequested,
        "hard reboot": e.ServerRebootRequested,
        "is resumed": e.ServerResumed,
        "late": e.ServerActionFailed,
    },
    "rebuilding": {"delete": e.ServerDeleteRequested, "rebuilt": e.ServerRebuilt, "late": e.ServerActionFailed},
    "rebuilding stopped": {"delete": e.ServerDeleteRequested, "late": e.ServerActionFailed},
    "rebuild failed": IN_ERROR,
    "rescuing": {"delete": e.ServerDeleteRequested, "rescued": e.ServerRescued, "late": e.ServerActionFailed},
    "rescued": {
        "unrescue": e.ServerUnrescueRequested,
        "delete": e.ServerDeleteRequested,
        "observed off": e.ServerPowerChanged,
    },
    "rescue failed": IN_ERROR,
    "unrescuing": {"delete": e.ServerDeleteRequested, "unrescued": e.ServerUnrescued, "late": e.ServerActionFailed},
    "deleting": {"delete": NOTHING, "gone": e.ServerDeleted},
    "deleting unplaced": {"delete": NOTHING, "gone": e.ServerDeleted},
    "deleted": dict.fromkeys(BY_USERS, NOT_FOUND),
}


def test_the_table_is_complete() -> None:
    assert THEN.keys() == GIVEN.keys()


@pytest.mark.parametrize("state", GIVEN)
@pytest.mark.parametrize("asked", ASKED)
def test_decision(state: str, asked: str) -> None:
    server = given(state)
    expected = THEN[state].get(asked, CONFLICT if asked in BY_USERS else NOTHING)
    if isinstance(expected, int):
        with pytest.raises(Refused) as refusal:
            ASKED[asked](server)
        assert refusal.value.status == expected
    else:
        assert type(ASKED[asked](server)) is (expected or type(None))


@pytest.mark.parametrize(
    ("state", "report"),
    [
        ("spawning", lambda server: decide.built(server, 2, 1, PowerState.RUNNING)),
        ("spawning", lambda server: decide.failed(server, 2, 1, FAULT)),
        ("stopping", lambda server: decide.stopped(server, 2, 4)),
        ("stopping", lambda server: decide.stopped(server, 1, 2)),
        ("starting", lambda server: decide.started(server, 1, 4)),
        ("spawning", lambda server: decide.built(server, 1, 2, PowerState.RUNNING)),
        ("stopping", lambda server: decide.failed(server, 1, 3, FAULT)),
        ("rebooting", lambda server: decide.rebooted(server, 1, 3)),
        ("active", lambda server: decide.power_observed(server, 2, PowerState.SHUTDOWN)),
        ("active", lambda server: decide.power_observed(server, 1, PowerState.RUNNING)),
        ("stopping", lambda server: decide.power_observed(server, 1, PowerState.SHUTDOWN)),
    ],
)
def test_reports_of_another_epoch_or_action_or_without_news_count_for_nothing(state: str, report: Ask) -> None:
    assert report(given(state)) is None


def test_a_failed_build_lets_another_host_try() -> None:
    assert isinstance(decide.failed(given("spawning"), 1, 1, FAULT), e.ServerBuildFailed)
    server = given("build failed")
    assert server
    assert (server.host, server.failed_hosts, server.epoch) == (None, ("node1",), 1)


def test_a_host_is_recorded_only_while_one_is_looked_for_and_in_the_next_epoch() -> None:
    placed = e.ServerPlaced(host="node2", host_id="h2", epoch=2, availability_zone="nova")
    assert decide.placed(given("build failed"), placed) is placed
    assert decide.placed(given("requested"), placed) is None
    assert decide.placed(given("deleting unplaced"), placed) is None
    assert decide.placed(given("spawning"), placed) is None


def test_an_abandoned_id_can_never_be_requested() -> None:
    with pytest.raises(Refused):
        decide.request(given("abandoned"), GIVEN["requested"][0])  # type: ignore[arg-type]


def test_an_action_is_not_late_before_its_deadline() -> None:
    assert decide.expired(given("stopping"), LATER - timedelta(microseconds=1), "req-4") is None


def test_only_the_action_that_was_found_late_is_ended() -> None:
    assert decide.expired(given("stopping"), LATER, "req-1") is None


def test_a_delete_names_the_action_that_it_supersedes() -> None:
    event = decide.delete(given("rebooting"), SERVER_ID, LATER)
    assert event
    assert event.supersedes == "req-4"


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
    off = evolve(given("active"), e.ServerPowerChanged(epoch=1, power_state=PowerState.SHUTDOWN), meta(9))
    assert (off.vm_state, off.power_state) == ("stopped", PowerState.SHUTDOWN)
    on = evolve(off, e.ServerPowerChanged(epoch=1, power_state=PowerState.RUNNING), meta(10))
    assert (on.vm_state, on.power_state, on.updated_at) == ("active", PowerState.RUNNING, NOW)


def test_a_rebuilt_server_is_what_the_request_says_and_launched_anew() -> None:
    posted = evolve(given("active"), e.ServerPasswordSet(password="old"), meta(9))
    server = evolve(posted, REBUILD, meta(10))
    assert (server.name, server.metadata, server.image, server.key_name) == ("web2", {"new": "yes"}, IMAGE, "k")
    assert (server.generation, server.sealed_password, server.secrets) == (1, None, "sealed")
    later = msgspec.structs.replace(meta(11), time=LATER)
    done = evolve(server, e.ServerRebuilt(epoch=1, power_state=PowerState.RUNNING), later)
    assert (done.vm_state, done.task_state, done.launched_at) == ("active", None, LATER)


def test_a_stopped_server_is_rebuilt_stopped() -> None:
    server = given("rebuilding stopped")
    assert server
    assert not guest_spec(server).powered_on
    done = evolve(server, e.ServerRebuilt(epoch=1, power_state=PowerState.SHUTDOWN), meta(9))
    assert (done.vm_state, done.power_state) == ("stopped", PowerState.SHUTDOWN)


def test_a_rescued_server_starts_from_the_rescue_image_until_it_is_unrescued() -> None:
    images = {state: guest_spec(server).rescue_image for state in GIVEN if (server := given(state))}
    assert {state for state, image in images.items() if image == IMAGE} == {"rescuing", "rescued"}


def test_without_an_image_named_a_rescue_starts_from_the_servers_own() -> None:
    with pytest.raises(Refused) as refusal:
        decide.rescue(given("active"), SERVER_ID, LATER, None, None)
    assert refusal.value.status == 400
    server = given("active")
    assert server
    own = msgspec.structs.replace(server, image=IMAGE)
    assert decide.rescue(own, SERVER_ID, LATER, None, None).image == IMAGE


def test_a_rescue_system_that_powers_off_is_still_a_rescue() -> None:
    off = evolve(given("rescued"), e.ServerPowerChanged(epoch=1, power_state=PowerState.SHUTDOWN), meta(9))
    assert (off.vm_state, off.power_state) == ("rescued", PowerState.SHUTDOWN)


@pytest.mark.parametrize("state", ["rebuilding", "rescuing", "unrescuing", "rebooting"])
def test_what_changed_the_guest_and_failed_leaves_its_state_in_doubt(state: str) -> None:
    server = given(state)
    assert server
    assert server.action
    failed = decide.failed(server, 1, server.action.version, FAULT)
    assert failed == e.ServerActionFailed(fault=FAULT, to_error=True)


@pytest.mark.parametrize("state", ["pausing", "unpausing", "suspending", "resuming", "stopping", "starting"])
def test_what_only_changed_its_power_and_failed_leaves_it_as_it_was(state: str) -> None:
    server = given(state)
    assert server
    assert server.action
    failed = decide.failed(server, 1, server.action.version, FAULT)
    assert failed == e.ServerActionFailed(fault=FAULT, to_error=False)


def test_the_key_of_whatever_was_sealed_is_known_to_exist() -> None:
    keys = {state for state in GIVEN if (server := given(state)) and server.has_key}
    assert keys == {state for state in GIVEN if "rebuil" in state or "rescu" in state}
    posted = evolve(given("active"), e.ServerPasswordSet(password="sealed"), meta(9))
    assert evolve(posted, e.ServerPasswordCleared(), meta(10)).has_key
