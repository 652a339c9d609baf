"""Actions, their steps and their ends, in Nova's words."""

from datetime import timedelta

from domain.log.record import Event
from domain.server.action import ServerActionFailed
from domain.server.deletion import ServerDeleteRequested
from domain.server.instance_action import InstanceAction
from domain.server.state import aggregate
from projections.instance_actions import TABLE, InstanceActionsView
from projections.memory import MemoryRows
from tests.domain.server.servers import (
    BUILD_FAILED,
    BUILT,
    DELETE,
    DELETED,
    FAILED,
    FAULT,
    LATER,
    PLACED,
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
