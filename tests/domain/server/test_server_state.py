"""What a server's state says of itself."""

import msgspec
import pytest

from domain.server.steps import Command, Expire, next_step
from tests.domain.server.servers import GIVEN, LATER, NOW, given

UNDER_WAY = {
    *("requested", "spawning", "build failed", "stopping", "starting", "rebooting", "pausing", "unpausing"),
    *("suspending", "resuming", "rebuilding", "rebuilding stopped", "rescuing", "unrescuing", "dumping"),
    *("deleting", "deleting unplaced", "saving", "uploading", "image failed"),
    *(
        "shelving",
        "shelving laid down",
        "shelving saved",
        "offloading",
        "unshelving",
        "returning",
        "returning placed",
    ),
}


@pytest.mark.parametrize("state", [name for name in GIVEN if name != "nothing"])
def test_what_is_unfinished_has_a_next_step_and_nothing_else_has(state: str) -> None:
    server = given(state)
    assert server
    assert server.unfinished == (state in UNDER_WAY) == (next_step(server, NOW) is not None)


def test_only_a_creation_that_was_given_up_never_came() -> None:
    assert {state for state in GIVEN if (server := given(state)) and server.never_came} == {"failed"}


def test_one_that_was_launched_and_has_no_host_is_not_one_that_never_came() -> None:
    server = given("reboot failed")
    assert server
    assert not msgspec.structs.replace(server, host=None).never_came


def test_an_action_without_a_host_is_no_creation() -> None:
    server = given("stopping")
    assert server
    away = msgspec.structs.replace(server, host=None)
    assert not away.is_creating
    assert next_step(away, LATER) == Expire()
    assert next_step(server, NOW) == Command("node1", "stop", with_spec=False)
