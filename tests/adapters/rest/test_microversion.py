import pytest

from adapters.rest.kit.microversion import COMPUTE
from domain.errors import LightcurveError
from tests.adapters.rest.conftest import MakeWorld
from tests.aio import asynchronous


@pytest.mark.parametrize(
    ("header", "legacy", "minor"),
    [
        (None, None, 1),
        ("compute 2.1", None, 1),
        ("compute 2.104", None, 104),
        ("compute latest", None, 104),
        (None, "2.53", 53),
        (None, "latest", 104),
        ("volume 3.1", None, 1),
        ("volume 3.1, compute 2.60", None, 60),
        ("compute 2.60", "2.53", 60),
        ("COMPUTE 2.7", None, 7),
    ],
)
def test_accepted(header, legacy, minor):
    assert COMPUTE.negotiate(header, legacy) == minor


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("compute 2.105", 406),
        ("compute 3.1", 406),
        ("compute 2.0", 406),
        ("compute 1.1", 406),
        ("compute two", 400),
        ("compute 2", 400),
        ("compute 2.01", 400),
        ("compute 2.1.1", 400),
        ("compute 2.-1", 400),
        ("compute 2.²", 400),
    ],
)
def test_refused(header, status):
    with pytest.raises(LightcurveError) as refused:
        COMPUTE.negotiate(header, None)
    assert refused.value.status == status


@asynchronous
async def test_answers_say_which_version_was_spoken(cloud: MakeWorld):
    async with cloud() as world:
        client = await world.client("amy", "2.53")
        answer = await client.get("/compute/v2.1/servers")
        assert answer.headers["openstack-api-version"] == "compute 2.53"
        assert answer.headers["x-openstack-nova-api-version"] == "2.53"
        assert "OpenStack-API-Version" in answer.headers["vary"]
        failed = await client.get("/compute/v2.1/servers/none")
        assert failed.headers["openstack-api-version"] == "compute 2.53"


@asynchronous
async def test_an_unknown_version_is_not_acceptable(cloud: MakeWorld):
    async with cloud() as world:
        answer = await (await world.client("amy", "2.999")).get("/compute/v2.1/servers")
        assert answer.status == 406
        name, code, message = answer.fault
        assert (name, code) == ("computeFault", 406)
        assert message == "Version 2.999 is not supported by the API. Minimum is 2.1 and maximum is 2.104."


@asynchronous
async def test_an_operation_outside_its_versions_is_not_there(cloud: MakeWorld):
    async with cloud() as world:
        client = await world.client("root", "2.88")
        answer = await client.get("/compute/v2.1/os-hypervisors/statistics")
        # From 2.88 on the path is that of a hypervisor called "statistics".
        assert answer.status == 404
        assert (await client.at("2.87").get("/compute/v2.1/os-hypervisors/statistics")).status == 200
