"""What an operator's policy file makes of who may call what."""

import logging

import pytest

from adapters.rest.app import create_faces
from adapters.rest.kit.policy import Policy
from domain.errors import Invalid
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.world import BLUE, new_server, user_id
from tests.aio import asynchronous

SERVERS = "/compute/v2.1/servers"


@asynchronous
async def test_a_rule_that_the_operator_changed(cloud: MakeWorld) -> None:
    async with cloud(policy=Policy({"os_compute_api:servers:create": "role:builder or role:admin"})) as world:
        amy, root = await world.client("amy"), await world.client("root")
        refused = await amy.post(SERVERS, new_server())
        assert refused.status == 403
        assert "Policy doesn't allow os_compute_api:servers:create to be performed." in refused.content.decode()
        assert (await root.post(SERVERS, new_server())).status == 202
        assert (await amy.get(SERVERS)).status == 200


@asynchronous
async def test_a_rule_of_which_others_are_made(cloud: MakeWorld) -> None:
    async with cloud(policy=Policy({"project_reader_or_admin": "role:admin"})) as world:
        assert (await (await world.client("amy")).get(SERVERS)).status == 403
        assert (await (await world.client("amy")).post(SERVERS, new_server())).status == 202


@asynchronous
async def test_what_is_asked_of_an_operation_has_rules_too(cloud: MakeWorld) -> None:
    overrides = {
        "os_compute_api:servers:detail:get_all_tenants": "role:reader",
        "os_compute_api:os-quota-sets:show": "role:reader",
        "os_compute_api:os-keypairs:index": "role:reader",
    }
    async with cloud(policy=Policy(overrides)) as world:
        eve, rob = await world.client("eve"), await world.client("rob")
        assert (await eve.post(SERVERS, new_server())).status == 202
        assert len((await rob.get(f"{SERVERS}?all_tenants=1")).body["servers"]) == 1
        assert (await eve.get(f"/compute/v2.1/os-quota-sets/{BLUE}")).status == 200
        assert (await eve.get(f"/compute/v2.1/os-keypairs?user_id={user_id('amy')}")).status == 200
    async with cloud() as world:
        eve = await world.client("eve")
        assert (await eve.get(f"{SERVERS}?all_tenants=1")).status == 403
        assert (await eve.get(f"/compute/v2.1/os-quota-sets/{BLUE}")).status == 403
        assert (await eve.get(f"/compute/v2.1/os-keypairs?user_id={user_id('amy')}")).status == 403


@asynchronous
async def test_who_may_end_the_lock_of_somebody_else(cloud: MakeWorld) -> None:
    async with cloud(policy=Policy({"os_compute_api:os-lock-server:unlock:unlock_override": "role:member"})) as world:
        amy, root = await world.client("amy"), await world.client("root")
        action = f"{SERVERS}/{(await amy.post(SERVERS, new_server())).body['server']['id']}/action"
        assert (await root.post(action, {"lock": None})).status == 202
        assert (await amy.post(action, {"unlock": None})).status == 202


@asynchronous
async def test_a_rule_that_nobody_asks_for_is_told_of(cloud: MakeWorld, caplog: pytest.LogCaptureFixture) -> None:
    overrides = {"os_compute_api:servers:crate": "!", "mine": "role:mine", "get_image": "rule:mine"}
    with caplog.at_level(logging.WARNING):
        async with cloud(policy=Policy(overrides)) as world:
            create_faces(world.services)
    told = {record.getMessage() for record in caplog.records}
    assert told == {"the policy file has a rule that nobody asks for: os_compute_api:servers:crate"}


def test_a_check_that_is_none() -> None:
    with pytest.raises(Invalid, match="role member"):
        Policy({"os_compute_api:servers:create": "role member"})
