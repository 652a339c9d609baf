"""Every action without arguments, by what it declares: begins, shows itself, ends, and stands in the history."""

from typing import Any

import pytest

from adapters.rest.compute.servers.actions.simple import SIMPLE
from domain.server.action import Action
from domain.server.state import ACTIVE, PAUSED, RESCUED, STOPPED, SUSPENDED
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.world import new_server
from tests.aio import asynchronous

SERVERS = "/compute/v2.1/servers"
LEADS_TO: dict[str, Any] = {
    PAUSED: {"pause": None},
    STOPPED: {"os-stop": None},
    SUSPENDED: {"suspend": None},
    RESCUED: {"rescue": None},
}
"""What brings an active server into another state."""

each_action = pytest.mark.parametrize(
    ("action", "key", "first"),
    [(action, key, (*more, 1)[0]) for action, key, _rule, *more in SIMPLE],
    ids=[key for _, key, *_ in SIMPLE],
)


@each_action
@asynchronous
async def test_an_action(cloud: MakeWorld, action: Action, key: str, first: int):
    async with cloud() as world:
        amy = await world.client("amy", f"2.{first}")
        path = f"{SERVERS}/{(await amy.post(SERVERS, new_server())).body['server']['id']}"
        await world.advance()
        if ACTIVE not in action.allowed:
            assert (await amy.post(f"{path}/action", LEADS_TO[action.allowed[0]])).status < 300
            await world.advance()
        answer = await amy.post(f"{path}/action", {key: None})
        assert (answer.status, answer.content) == (202, b"")
        server = (await amy.get(path)).body["server"]
        assert server["OS-EXT-STS:task_state"] == action.tasks[0].state
        again = await amy.post(f"{path}/action", {key: None})
        assert again.fault[:2] == ("conflictingRequest", 409)
        assert again.fault[2].startswith(f"Cannot '{action.name}' instance ")
        await world.advance()
        assert (await amy.get(path)).body["server"]["OS-EXT-STS:task_state"] is None
        history = (await amy.get(f"{path}/os-instance-actions")).body["instanceActions"]
        assert (action.name, None) in [(entry["action"], entry["message"]) for entry in history]


@each_action
@asynchronous
async def test_what_came_later_takes_nothing_and_was_not_there_before(
    cloud: MakeWorld, action: Action, key: str, first: int
):
    if first == 1:
        return
    async with cloud() as world:
        amy = await world.client("amy")
        path = f"{SERVERS}/{(await amy.post(SERVERS, new_server())).body['server']['id']}/action"
        await world.advance()
        assert (await amy.post(path, {key: {}})).status == 400
        assert (await amy.at(f"2.{first - 1}").post(path, {key: None})).status == 400
        assert (await amy.post(path, {key: None})).status == 202
