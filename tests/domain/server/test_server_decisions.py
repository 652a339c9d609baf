"""Which action is allowed in which state, and which report counts: given a history, when asked, then this."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from domain.errors import Refused
from domain.guest import GuestState, PowerState
from domain.log.record import Event
from domain.server import creation, deletion, observation, reported
from domain.server.action import Action, ServerActionFailed
from domain.server.actions import reboot, rebuild, rescue
from domain.server.actions.all import ACTIONS
from domain.server.actions.pause import (
    PAUSE,
    UNPAUSE,
    ServerPaused,
    ServerPauseRequested,
    ServerUnpaused,
    ServerUnpauseRequested,
)
from domain.server.actions.power import (
    START,
    STOP,
    ServerStarted,
    ServerStartRequested,
    ServerStopped,
    ServerStopRequested,
)
from domain.server.actions.reboot import ServerRebooted, ServerRebootRequested
from domain.server.actions.rebuild import ServerRebuildRequested, ServerRebuilt
from domain.server.actions.rescue import (
    UNRESCUE,
    ServerRescued,
    ServerRescueRequested,
    ServerUnrescued,
    ServerUnrescueRequested,
)
from domain.server.actions.shelve import ServerLaidDown
from domain.server.actions.suspend import (
    RESUME,
    SUSPEND,
    ServerResumed,
    ServerResumeRequested,
    ServerSuspended,
    ServerSuspendRequested,
)
from domain.server.creation import ServerAbandoned, ServerBuildFailed, ServerBuilt, ServerFailed, ServerPlaced
from domain.server.deletion import ServerDeleted, ServerDeleteRequested
from domain.server.observation import ServerPowerChanged
from domain.server.state import Server, existing
from tests.domain.server.servers import FAULT, GIVEN, IMAGE, LATER, NOW, REBUILD, SERVER_ID, given

Ask = Callable[[Server | None], Event | None]

PLAIN = (STOP, START, PAUSE, UNPAUSE, SUSPEND, RESUME, UNRESCUE)


def _done(server: Server | None, command: str, epoch: int, version: int) -> Event | None:
    guest = GuestState(server_id=SERVER_ID, epoch=epoch, power_state=PowerState.RUNNING)
    return reported.done(server, command, version, guest)


ASKED: dict[str, Ask] = {
    **{
        action.name: lambda server, action=action: action.request(existing(server, SERVER_ID), LATER)
        for action in PLAIN
    },
    "reboot": lambda server: reboot.request(existing(server, SERVER_ID), LATER, hard=False),
    "hard reboot": lambda server: reboot.request(existing(server, SERVER_ID), LATER, hard=True),
    "rebuild": lambda server: rebuild.request(existing(server, SERVER_ID), REBUILD),
    "rescue": lambda server: rescue.request(existing(server, SERVER_ID), LATER, IMAGE, None),
    "delete": lambda server: deletion.request(existing(server, SERVER_ID), LATER),
    "built": lambda server: _done(server, "build", 1, 1),
    "stopped": lambda server: _done(server, "stop", 1, 4),
    "started": lambda server: _done(server, "start", 1, 6),
    "rebooted": lambda server: _done(server, "reboot_soft", 1, 4),
    "is paused": lambda server: _done(server, "pause", 1, 4),
    "is unpaused": lambda server: _done(server, "unpause", 1, 6),
    "is suspended": lambda server: _done(server, "suspend", 1, 4),
    "is resumed": lambda server: _done(server, "resume", 1, 6),
    "rebuilt": lambda server: _done(server, "rebuild", 1, 4),
    "rescued": lambda server: _done(server, "rescue", 1, 4),
    "unrescued": lambda server: _done(server, "unrescue", 1, 6),
    "observed off": lambda server: observation.power_observed(server, 1, PowerState.SHUTDOWN),
    "late": lambda server: reported.expired(
        server, LATER, server.action.request_id if server and server.action else ""
    ),
    "give up": lambda server: creation.given_up(server, FAULT, {}),
    "abandon": lambda server: creation.abandon(server, SERVER_ID),
    "gone": lambda server: deletion.deleted(server, without_host=False),
}

BY_USERS = (
    *("stop", "start", "reboot", "hard reboot", "pause", "unpause", "suspend", "resume"),
    *("rebuild", "rescue", "unrescue", "delete"),
)
NOTHING = None
NOT_FOUND, CONFLICT = 404, 409

IN_ERROR: dict[str, object] = {
    "stop": ServerStopRequested,
    "hard reboot": ServerRebootRequested,
    "rebuild": ServerRebuildRequested,
    "rescue": ServerRescueRequested,
    "delete": ServerDeleteRequested,
    "observed off": ServerPowerChanged,
}

IN_ACTIVE: dict[str, object] = {
    "stop": ServerStopRequested,
    "reboot": ServerRebootRequested,
    "hard reboot": ServerRebootRequested,
    "pause": ServerPauseRequested,
    "suspend": ServerSuspendRequested,
    "rebuild": ServerRebuildRequested,
    "rescue": ServerRescueRequested,
    "delete": ServerDeleteRequested,
    "observed off": ServerPowerChanged,
}

# For each state, what each question leads to: an event, a refusal's status, or nothing. Questions left out lead to
# a conflict if a user asks them, and to nothing if they are reports.
THEN: dict[str, dict[str, object]] = {
    "nothing": dict.fromkeys(BY_USERS, NOT_FOUND) | {"abandon": ServerAbandoned},
    "abandoned": dict.fromkeys(BY_USERS, NOT_FOUND),
    "requested": {"delete": ServerDeleteRequested, "late": ServerFailed, "give up": ServerFailed},
    "spawning": {"delete": ServerDeleteRequested, "built": ServerBuilt, "late": ServerFailed},
    "build failed": {"delete": ServerDeleteRequested, "late": ServerFailed, "give up": ServerFailed},
    "failed": {"delete": ServerDeleteRequested},
    "failed on host": {"delete": ServerDeleteRequested},
    "active": IN_ACTIVE,
    "stopping": {
        "delete": ServerDeleteRequested,
        "hard reboot": ServerRebootRequested,
        "stopped": ServerStopped,
        "late": ServerActionFailed,
    },
    "stopped": {
        "start": ServerStartRequested,
        "hard reboot": ServerRebootRequested,
        "rebuild": ServerRebuildRequested,
        "rescue": ServerRescueRequested,
        "delete": ServerDeleteRequested,
    },
    "starting": {"delete": ServerDeleteRequested, "started": ServerStarted, "late": ServerActionFailed},
    "rebooting": {
        "rebooted": ServerRebooted,
        "hard reboot": ServerRebootRequested,
        "delete": ServerDeleteRequested,
        "late": ServerActionFailed,
    },
    "reboot failed": IN_ERROR,
    "pausing": {
        "delete": ServerDeleteRequested,
        "hard reboot": ServerRebootRequested,
        "is paused": ServerPaused,
        "late": ServerActionFailed,
    },
    "paused": {
        "unpause": ServerUnpauseRequested,
        "hard reboot": ServerRebootRequested,
        "delete": ServerDeleteRequested,
        "observed off": ServerPowerChanged,
    },
    "unpausing": {
        "delete": ServerDeleteRequested,
        "hard reboot": ServerRebootRequested,
        "is unpaused": ServerUnpaused,
        "late": ServerActionFailed,
    },
    "suspending": {
        "hard reboot": ServerRebootRequested,
        "delete": ServerDeleteRequested,
        "is suspended": ServerSuspended,
        "late": ServerActionFailed,
    },
    "suspended": {
        "resume": ServerResumeRequested,
        "hard reboot": ServerRebootRequested,
        "delete": ServerDeleteRequested,
    },
    "resuming": {
        "delete": ServerDeleteRequested,
        "hard reboot": ServerRebootRequested,
        "is resumed": ServerResumed,
        "late": ServerActionFailed,
    },
    "rebuilding": {"delete": ServerDeleteRequested, "rebuilt": ServerRebuilt, "late": ServerActionFailed},
    "rebuilding stopped": {"delete": ServerDeleteRequested, "late": ServerActionFailed},
    "rebuild failed": IN_ERROR,
    "rescuing": {"delete": ServerDeleteRequested, "rescued": ServerRescued, "late": ServerActionFailed},
    "rescued": {
        "unrescue": ServerUnrescueRequested,
        "delete": ServerDeleteRequested,
        "observed off": ServerPowerChanged,
    },
    "rescue failed": IN_ERROR,
    "unrescuing": {"delete": ServerDeleteRequested, "unrescued": ServerUnrescued, "late": ServerActionFailed},
    "saving": {"delete": ServerDeleteRequested, "late": ServerActionFailed},
    "uploading": {"delete": ServerDeleteRequested, "late": ServerActionFailed},
    "image failed": IN_ACTIVE,
    "shelving": {"delete": ServerDeleteRequested, "stopped": ServerLaidDown, "late": ServerActionFailed},
    "shelving laid down": {"delete": ServerDeleteRequested, "late": ServerActionFailed},
    "shelving saved": {"delete": ServerDeleteRequested, "late": ServerActionFailed},
    "shelved": {"delete": ServerDeleteRequested},
    "offloading": {"delete": ServerDeleteRequested},
    "offloaded": {"delete": ServerDeleteRequested},
    "unshelving": {"delete": ServerDeleteRequested, "late": ServerActionFailed},
    "returning": {"delete": ServerDeleteRequested, "late": ServerActionFailed},
    "returning placed": {"delete": ServerDeleteRequested, "late": ServerActionFailed},
    "deleting": {"delete": NOTHING, "gone": ServerDeleted},
    "deleting unplaced": {"delete": NOTHING, "gone": ServerDeleted},
    "deleted": dict.fromkeys(BY_USERS, NOT_FOUND),
}


def test_the_table_is_complete() -> None:
    assert THEN.keys() == GIVEN.keys()
    here = [action for action in ACTIONS if not _has_tests_of_its_own(action)]
    assert {action.name for action in here} <= set(BY_USERS)
    assert {task.state for action in here for task in action.tasks} <= {
        server.task_state for state in GIVEN if (server := given(state))
    } | {"rebooting_hard"}


def _has_tests_of_its_own(action: Action) -> bool:
    """Whether the tests have a room for it, as the domain has."""
    room = action.requested.__module__.rpartition(".")[2]
    return (Path(__file__).parent / "actions" / f"test_{room}.py").exists()


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
        ("spawning", lambda server: _done(server, "build", 2, 1)),
        ("spawning", lambda server: reported.failed(server, "build", 2, 1, FAULT, NOW)),
        ("stopping", lambda server: _done(server, "stop", 2, 4)),
        ("stopping", lambda server: _done(server, "stop", 1, 2)),
        ("starting", lambda server: _done(server, "start", 1, 4)),
        ("spawning", lambda server: _done(server, "build", 1, 2)),
        ("stopping", lambda server: reported.failed(server, "stop", 1, 3, FAULT, NOW)),
        ("rebooting", lambda server: _done(server, "reboot_soft", 1, 3)),
        ("active", lambda server: observation.power_observed(server, 2, PowerState.SHUTDOWN)),
        ("active", lambda server: observation.power_observed(server, 1, PowerState.RUNNING)),
        ("stopping", lambda server: observation.power_observed(server, 1, PowerState.SHUTDOWN)),
    ],
)
def test_reports_of_another_epoch_or_action_or_without_news_count_for_nothing(state: str, report: Ask) -> None:
    assert report(given(state)) is None


def test_a_failed_build_lets_another_host_try() -> None:
    assert isinstance(reported.failed(given("spawning"), "build", 1, 1, FAULT, NOW), ServerBuildFailed)
    server = given("build failed")
    assert server
    assert (server.host, server.failed_hosts, server.epoch) == (None, ("node1",), 1)


def test_a_host_is_recorded_only_while_one_is_looked_for_and_in_the_next_epoch() -> None:
    placed = ServerPlaced(host="node2", host_id="h2", epoch=2, availability_zone="nova")
    assert creation.placed(given("build failed"), placed) is placed
    assert creation.placed(given("requested"), placed) is None
    assert creation.placed(given("deleting unplaced"), placed) is None
    assert creation.placed(given("spawning"), placed) is None


def test_an_abandoned_id_can_never_be_requested() -> None:
    with pytest.raises(Refused):
        creation.request(given("abandoned"), GIVEN["requested"][0])  # type: ignore[arg-type]


def test_an_action_is_not_late_before_its_deadline() -> None:
    assert reported.expired(given("stopping"), LATER - timedelta(microseconds=1), "req-4") is None


def test_only_the_action_that_was_found_late_is_ended() -> None:
    assert reported.expired(given("stopping"), LATER, "req-1") is None


def test_a_delete_names_the_action_that_it_supersedes() -> None:
    event = deletion.request(existing(given("rebooting"), SERVER_ID), LATER)
    assert event
    assert event.supersedes == "req-4"
