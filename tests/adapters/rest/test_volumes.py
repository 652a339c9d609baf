"""Volumes, in a cloud that has none: whoever names one is told that it is not there."""

import pytest

from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.world import new_server
from tests.aio import asynchronous

SERVERS = "/compute/v2.1/servers"
NOWHERE = "99999999-0000-4000-8000-000000000000"
WANTED = {"volumeAttachment": {"volumeId": NOWHERE}}
NOT_FOUND = f"Volume {NOWHERE} could not be found."


@asynchronous
async def test_nothing_is_attached(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = (await amy.post(SERVERS, new_server())).body["server"]["id"]
        at = f"{SERVERS}/{server_id}/os-volume_attachments"
        not_attached = f"Instance {server_id} is not attached to volume {NOWHERE}"
        assert (await amy.get(at)).body == {"volumeAttachments": []}
        assert (await amy.get(f"{at}/{NOWHERE}")).fault == ("itemNotFound", 404, not_attached)
        assert (await amy.delete(f"{at}/{NOWHERE}")).fault == ("itemNotFound", 404, NOT_FOUND)
        assert (await amy.post(at, WANTED)).fault == ("itemNotFound", 404, NOT_FOUND)


@pytest.mark.parametrize(
    "asked",
    [{"volumeId": "x"}, {"volumeId": f"{NOWHERE}\n"}, {}, {"volumeId": NOWHERE, "delete_on_termination": "x"}],
)
@asynchronous
async def test_what_is_asked_wrongly(cloud: MakeWorld, asked: dict[str, object]):
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = (await amy.post(SERVERS, new_server())).body["server"]["id"]
        at = f"{SERVERS}/{server_id}/os-volume_attachments"
        assert (await amy.post(at, {"volumeAttachment": asked})).status == 400


@pytest.mark.parametrize(
    "disks",
    [
        {"block_device_mapping_v2": [{"source_type": "volume", "uuid": NOWHERE, "boot_index": 0}]},
        {"block_device_mapping": [{"device_name": "vda", "volume_id": NOWHERE}]},
    ],
)
@asynchronous
async def test_a_server_on_a_volume_that_is_not_there(cloud: MakeWorld, disks: dict[str, object]):
    async with cloud() as world:
        amy = await world.client("amy")
        answer = await amy.post(SERVERS, new_server(**disks))
        said = f"Block Device Mapping is Invalid: failed to get volume {NOWHERE}."
        assert answer.fault == ("badRequest", 400, said)
        assert (await amy.get(SERVERS)).body == {"servers": []}
