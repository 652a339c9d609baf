"""What is asked of something whose history this version cannot read: 503, and all else is served."""

import pytest

from domain.catalogue import keypair
from domain.server.state import aggregate
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_servers import SERVERS, boot
from tests.adapters.rest.world import API, user_id
from tests.aio import asynchronous
from tests.future import append_of_the_future

KEYPAIRS = "/compute/v2.1/os-keypairs"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("action", {"os-stop": None}),
        ("metadata", {"metadata": {"a": "b"}}),
    ],
)
@asynchronous
async def test_a_server_that_is_out_of_order(cloud: MakeWorld, path: str, body: dict[str, object]):
    async with cloud() as world:
        amy = await world.client("amy")
        ill, well = await boot(world, amy), await boot(world, amy)
        await append_of_the_future(world.broker, aggregate(ill))
        answer = await amy.post(f"{SERVERS}/{ill}/{path}", body)
        assert answer.fault[:2] == ("serviceUnavailable", 503)
        assert f"server.{ill}" in answer.fault[2]
        for each in (ill, well):
            assert (await amy.get(f"{SERVERS}/{each}")).body["server"]["status"] == "ACTIVE", "as it was before"


@asynchronous
async def test_keys_that_are_out_of_order_are_those_of_their_user_only(cloud: MakeWorld):
    async with cloud() as world:
        amy, eve = await world.client("amy"), await world.client("eve")
        wanted = {"keypair": {"name": "mine"}}
        old = {"openstack-api-version": "compute 2.91"}
        assert (await amy.post(KEYPAIRS, wanted, headers=old)).status == 201
        await append_of_the_future(world.broker, keypair.aggregate(user_id("amy")), API)
        refused = await amy.post(KEYPAIRS, {"keypair": {"name": "other"}}, headers=old)
        assert refused.fault[:2] == ("serviceUnavailable", 503)
        assert [each["keypair"]["name"] for each in (await amy.get(KEYPAIRS)).body["keypairs"]] == ["mine"]
        assert (await eve.post(KEYPAIRS, wanted, headers=old)).status == 201
