"""Whose servers somebody may change, and what a lock forbids."""

import msgspec
import pytest

from domain.errors import Refused
from domain.server.parts import Lock
from domain.server.state import Server
from handlers.context import Context
from handlers.servers.access import changeable, reachable
from tests.domain.server.servers import SERVER_ID, given

OWNER = Context(request_id="req-1", user_id="u", project_id="p", roles=("member",))
STRANGER = msgspec.structs.replace(OWNER, project_id="q")
ADMIN = msgspec.structs.replace(STRANGER, roles=("admin",))


def server(state: str = "active", lock: Lock | None = None) -> Server:
    found = given(state)
    assert found
    return msgspec.structs.replace(found, lock=lock)


@pytest.mark.parametrize("find", [reachable, changeable])
@pytest.mark.parametrize(
    ("context", "there"),
    [(OWNER, None), (OWNER, given("deleted")), (ADMIN, given("deleted")), (STRANGER, given("active"))],
)
def test_what_is_gone_or_is_another_projects_is_not_there(find: object, context: Context, there: Server | None):
    with pytest.raises(Refused, match="could not be found") as refusal:
        find(context, there, SERVER_ID)  # type: ignore[operator]
    assert refusal.value.status == 404


@pytest.mark.parametrize("find", [reachable, changeable])
@pytest.mark.parametrize("context", [OWNER, ADMIN])
def test_ones_own_is_there_and_to_administrators_all_are(find: object, context: Context):
    assert find(context, server(), SERVER_ID) == server()  # type: ignore[operator]


def test_a_lock_keeps_all_but_administrators_off():
    locked = server(lock=Lock(by_owner=True))
    with pytest.raises(Refused, match="is locked") as refusal:
        changeable(OWNER, locked, SERVER_ID)
    assert refusal.value.status == 409
    assert changeable(ADMIN, locked, SERVER_ID) == locked
    assert reachable(OWNER, locked, SERVER_ID) == locked
