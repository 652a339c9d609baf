"""Actions, their steps and their ends, in Nova's words."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from domain.log.record import Event
from domain.server.action import ServerActionFailed
from domain.server.deletion import ServerDeleteRequested
from domain.server.instance_action import InstanceAction
from domain.server.state import aggregate
from projections.instance_actions import TABLE, InstanceActionsView
from projections.memory import MemoryRows
from tests.domain.server.moves import servers as moves
from tests.domain.server.moves import test_evacuation, test_live
from tests.domain.server.servers import (
    BUILD_FAILED,
    BUILT,
    DELETE,
    DELETED,
    FAILED,
    FAULT,
    LATER,
    PLACED,
    REBUILD,
    REQUESTED,
    SERVER_ID,
    STOP,
)
from tests.projections.histories import Log


def _actions(*told: tuple[str, Event]) -> dict[str, InstanceAction]:
    log = Log()
    for request, event in told:
        log.add(aggregate(SERVER_ID), event, request)
    rows = MemoryRows((InstanceActionsView(),))
    rows.apply(log.recorded)
    return {row.request_id: row for row in rows.all(TABLE)}


def _steps(action: InstanceAction) -> list[tuple[str, str | None, str | None]]:
    return [(step.event, step.result, step.host) for step in action.events]


def test_a_creation() -> None:
    action = _actions(("c", REQUESTED), ("c", PLACED), ("c", BUILT))["c"]
    assert (action.action, action.message) == ("create", None)
    assert action.finish_time == action.start_time + timedelta(seconds=2)
    assert _steps(action) == [
        ("conductor_schedule_and_build_instances", "Success", None),
        ("compute__do_build_and_run_instance", "Success", "node1"),
    ]


def test_a_creation_that_is_tried_twice_and_fails() -> None:
    action = _actions(("c", REQUESTED), ("c", PLACED), ("c", BUILD_FAILED), ("c", FAILED))["c"]
    assert action.message == "Error"
    assert _steps(action) == [
        ("conductor_schedule_and_build_instances", "Success", None),
        ("compute__do_build_and_run_instance", "Error", "node1"),
        ("conductor_schedule_and_build_instances", "Error", None),
    ]
    assert (action.events[1].details, action.events[1].admin_details) == (FAULT.message, FAULT.details)


def test_an_action_is_open_until_it_ends() -> None:
    action = _actions(("c", REQUESTED), ("c", PLACED))["c"]
    assert action.finish_time is None
    assert action.events[-1].result is None


def test_a_delete_ends_what_was_under_way() -> None:
    delete = ServerDeleteRequested(deadline=LATER, supersedes="s")
    actions = _actions(("c", REQUESTED), ("c", PLACED), ("c", BUILT), ("s", STOP), ("d", delete), ("d", DELETED))
    assert (actions["s"].message, actions["s"].events[0].details) == ("Error", "Superseded by a later action.")
    assert (actions["d"].action, actions["d"].message) == ("delete", None)


def test_a_failed_action() -> None:
    actions = _actions(
        ("c", REQUESTED), ("c", PLACED), ("c", BUILT), ("s", STOP), ("s", ServerActionFailed(fault=FAULT))
    )
    assert actions["s"].message == "Error"
    assert actions["s"].events[0].details == FAULT.message


def test_each_delete_of_nothing_under_way_is_one_action() -> None:
    assert _actions(("c", REQUESTED), ("d", DELETE))["d"].action == "delete"


MOVE = (*(("m", event) for event in (moves.RESIZE, *moves.ARRIVED)),)
ALIVE = (("c", REQUESTED), ("c", PLACED), ("c", BUILT))
HOSTS: dict[str, tuple[Sequence[tuple[str, Event]], str, list[tuple[str, str | None]]]] = {
    "a stop": ((("s", STOP),), "s", [("compute_stop_instance", "node1")]),
    "a resize": (
        MOVE,
        "m",
        [("compute_prep_resize", None), ("compute_resize_instance", "node1"), ("compute_finish_resize", "node2")],
    ),
    "its confirmation": ((*MOVE, ("c2", moves.CONFIRM)), "c2", [("compute_confirm_resize", "node1")]),
    "its revert": (
        (*MOVE, ("r", moves.REVERT), ("r", moves.CLEARED)),
        "r",
        [("compute_revert_resize", "node2"), ("compute_finish_revert_resize", "node1")],
    ),
    "a stop after that": (
        (*MOVE, ("r", moves.REVERT), ("r", moves.CLEARED), ("r", moves.REVERTED), ("s", STOP)),
        "s",
        [("compute_stop_instance", "node1")],
    ),
    "a resize that comes to nothing": (
        (("m", moves.RESIZE), ("m", moves.CHOSEN), ("m", moves.MOVE_ABANDONED), ("m", moves.CLEARED)),
        "m",
        [
            ("compute_prep_resize", None),
            ("compute_resize_instance", "node1"),
            ("compute_revert_resize", "node2"),
            ("compute_finish_revert_resize", "node1"),
        ],
    ),
    "a live migration": (
        (("l", test_live.ASKED), ("l", moves.CHOSEN), ("l", test_live.READY), ("l", test_live.ARRIVED)),
        "l",
        [
            ("conductor_live_migrate_instance", None),
            ("compute_pre_live_migration", "node2"),
            ("compute_live_migration", "node1"),
            ("compute_post_live_migration_at_destination", "node2"),
        ],
    ),
    "an evacuation": (
        (("e", test_evacuation.EVACUATE), ("e", moves.CHOSEN)),
        "e",
        [("rebuild_server", None), ("compute_rebuild_instance", "node2")],
    ),
    "a rebuild": ((("b", REBUILD),), "b", [("compute_rebuild_instance", "node1")]),
}


@pytest.mark.parametrize("what", HOSTS)
def test_each_step_is_of_the_host_that_does_it(what: str) -> None:
    told, request, steps = HOSTS[what]
    action = _actions(*ALIVE, *told)[request]
    assert [(step.event, step.host) for step in action.events] == steps
