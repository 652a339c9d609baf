from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.volumes import TYPES, VOLUMES, at, create, shown, user
from tests.adapters.rest.world import GREEN
from tests.aio import asynchronous


@asynchronous
async def test_the_default_type(cloud: MakeWorld):
    async with cloud() as here:
        amy, root = await user(here, "amy"), await user(here, "root")
        (only,) = (await amy.get(TYPES)).body["volume_types"]
        assert (only["name"], only["is_public"], only["extra_specs"]) == ("__DEFAULT__", True, {})
        assert (await amy.get(f"{TYPES}/default")).body["volume_type"]["id"] == only["id"]
        assert (await root.delete(f"{TYPES}/{only['id']}")).status == 400
        assert (await root.put(f"{TYPES}/{only['id']}", {"volume_type": {"name": "x"}})).status == 400
        assert (await amy.post(TYPES, {"volume_type": {"name": "x"}})).status == 403


@asynchronous
async def test_the_life_of_a_type(cloud: MakeWorld):
    async with cloud() as here:
        amy, root = await user(here, "amy"), await user(here, "root")
        body = {"name": "fast", "extra_specs": {"multiattach": "<is> True"}}
        made = (await root.post(TYPES, {"volume_type": body})).body["volume_type"]
        at_it = f"{TYPES}/{made['id']}"
        assert (await root.post(TYPES, {"volume_type": {"name": "fast"}})).status == 409
        volume_id = await create(amy, volume_type="fast")
        volume = await shown(amy, volume_id)
        assert (volume["volume_type"], volume["multiattach"]) == ("fast", True)
        changed = await root.put(at_it, {"volume_type": {"name": "faster", "description": "d"}})
        assert changed.body["volume_type"]["description"] == "d"
        assert (await shown(amy, volume_id))["volume_type"] == "faster"
        assert (await root.post(f"{at_it}/extra_specs", {"extra_specs": {"a": "b"}})).status == 200
        assert (await root.delete(f"{at_it}/extra_specs/multiattach")).status == 202
        assert (await amy.get(f"{at_it}/extra_specs")).body == {"extra_specs": {"a": "b"}}
        assert (await amy.get(f"{at_it}/extra_specs/a")).body == {"a": "b"}
        assert (await amy.get(f"{at_it}/extra_specs/z")).status == 404
        (found,) = (await amy.get(TYPES, extra_specs="{'a': 'b'}")).body["volume_types"]
        assert found["id"] == made["id"]
        assert (await at(amy, 51).get(TYPES, extra_specs="{'a': 'b'}")).status == 400
        assert (await root.delete(at_it)).fault[2].startswith("Target volume type is still in use.")
        await here.make_volumes()
        await amy.delete(f"{VOLUMES}/{volume_id}")
        await here.make_volumes()
        assert (await root.delete(at_it)).status == 202
        assert (await root.get(at_it)).status == 404


@asynchronous
async def test_a_private_type_is_for_whom_it_is_said(cloud: MakeWorld):
    async with cloud() as here:
        amy, eve, root = [await user(here, name) for name in ("amy", "eve", "root")]
        body = {"name": "mine", "os-volume-type-access:is_public": False}
        at_it = f"{TYPES}/{(await root.post(TYPES, {'volume_type': body})).body['volume_type']['id']}"
        for caller in (amy, eve):
            assert (await caller.get(at_it)).status == 404
            assert (await caller.post(VOLUMES, {"volume": {"size": 1, "volume_type": "mine"}})).status == 404
        access = {"addProjectAccess": {"project": GREEN}}
        assert (await eve.post(f"{at_it}/action", access)).status == 403
        assert (await root.post(f"{at_it}/action", {"addProjectAccess": {"project": "none"}})).status == 400
        assert (await root.post(f"{at_it}/action", access)).status == 202
        assert (await root.post(f"{at_it}/action", access)).status == 409
        (one,) = (await root.get(f"{at_it}/os-volume-type-access")).body["volume_type_access"]
        assert one["project_id"] == GREEN
        assert (await eve.get(at_it)).status == 200
        await create(eve, volume_type="mine")
        assert (await amy.get(at_it)).status == 404
        assert len((await root.get(TYPES, is_public="None")).body["volume_types"]) == 2
        assert len((await root.get(TYPES, is_public="false")).body["volume_types"]) == 1
        assert (await root.post(f"{at_it}/action", {"removeProjectAccess": {"project": GREEN}})).status == 202
        assert (await eve.get(at_it)).status == 404
