import asyncio
from pathlib import Path

import pytest

from adapters.memory.signs import MemoryLiveness
from adapters.rest.kit.services import StockLimits
from domain.neighbours.volume.changes import VolumeLimits
from tests.adapters.rest.client import Answer, Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_images import BYTES, IMAGES, announce
from tests.adapters.rest.volumes import ROOT, SNAPSHOTS, VOLUMES, act, at, create, shown, snapshot, user
from tests.adapters.rest.world import BLUE, CELL, IMAGE, turns_until, world
from tests.aio import asynchronous

GIB = 1 << 30
NOWHERE = "33333333-0000-4000-8000-000000000000"


@asynchronous
async def test_discovery_and_microversions(cloud: MakeWorld):
    async with cloud() as here:
        nobody = await here.client(None, None)
        (version,) = (await nobody.get("/volume")).body["versions"]
        assert (version["min_version"], version["version"]) == ("3.0", "3.54")
        assert (await nobody.get(f"{ROOT}/")).body["versions"] == [version]
        amy = await user(here, "amy", 27)
        answer = await amy.get(f"{ROOT}/attachments")
        assert answer.headers["openstack-api-version"] == "volume 3.27"
        for minor, status in ((26, 404), (0, 404), (99, 406)):
            assert (await at(amy, minor).get(f"{ROOT}/attachments")).status == status
        assert (await at(amy, 99).get(VOLUMES)).fault[2].endswith("Minimum is 3.0 and maximum is 3.54.")
        silent = await here.client("amy", None)
        assert (await silent.get(VOLUMES)).headers["openstack-api-version"] == "volume 3.0"
        assert (await silent.get(f"{ROOT}/{BLUE}/volumes/detail")).body == {"volumes": []}
        past = await amy.request("GET", VOLUMES, headers={"lightcurve-as-of": "now"})
        assert past.fault == ("badRequest", 400, "This API does not answer for the past.")


@asynchronous
async def test_the_life_of_an_empty_volume(cloud: MakeWorld):
    async with cloud() as here:
        amy = await user(here, "amy")
        answer = await amy.post(VOLUMES, {"volume": {"size": 2, "name": "data", "metadata": {"a": "b"}}})
        volume = answer.body["volume"]
        assert (answer.status, volume["status"], volume["bootable"]) == (202, "creating", "false")
        files = here.services.settings.volumes_dir
        await here.make_volumes()
        volume = await shown(amy, volume["id"])
        assert (volume["status"], volume["volume_type"], volume["metadata"]) == (
            "available",
            "__DEFAULT__",
            {"a": "b"},
        )
        file = files / f"volume-{volume['id']}"
        assert (file.stat().st_size, file.stat().st_blocks * 512 < 1 << 20) == (2 * GIB, True)
        assert (await act(amy, volume["id"], "os-extend", {"new_size": 2})).status == 400
        assert (await act(amy, volume["id"], "os-extend", {"new_size": 3})).status == 202
        assert (await shown(amy, volume["id"]))["status"] == "extending"
        await here.make_volumes()
        volume = await shown(amy, volume["id"])
        assert (volume["status"], volume["size"], file.stat().st_size) == ("available", 3, 3 * GIB)
        changed = await amy.put(f"{VOLUMES}/{volume['id']}", {"volume": {"name": "new", "description": "why"}})
        assert (changed.body["volume"]["name"], changed.body["volume"]["description"]) == ("new", "why")
        assert (await amy.delete(f"{VOLUMES}/{volume['id']}")).status == 202
        assert (await shown(amy, volume["id"]))["status"] == "deleting"
        await here.make_volumes()
        assert (await amy.get(f"{VOLUMES}/{volume['id']}")).fault == (
            "itemNotFound", 404, f"Volume {volume['id']} could not be found.",
        )  # fmt: skip
        assert [path.name for path in files.iterdir()] == [".lock"]


@asynchronous
async def test_what_a_copy_holds(cloud: MakeWorld):
    async with cloud() as here:
        amy = await user(here, "amy")
        image_id = await announce(amy, disk_format="raw", min_disk=1, os_distro="debian")
        data = b"guest" + b"\0" * 65531
        await amy.request("PUT", f"{IMAGES}/{image_id}/file", headers=BYTES, chunks=[data])
        first = await create(amy, imageRef=image_id)
        await here.make_volumes()
        made = await shown(amy, first)
        assert (made["status"], made["bootable"]) == ("available", "true")
        told = made["volume_image_metadata"]
        assert (told["image_id"], told["os_distro"], told["min_disk"]) == (image_id, "debian", "1")
        files = here.services.settings.volumes_dir

        def start(name: str) -> bytes:
            with (files / name).open("rb") as file:
                return file.read(5)

        assert start(f"volume-{first}") == b"guest"
        kept = await snapshot(amy, first, name="before")
        await here.make_volumes()
        with (files / f"volume-{first}").open("r+b") as file:
            file.write(b"later")
        second, third = await create(amy, snapshot_id=kept, size=2), await create(amy, source_volid=first)
        for going in (f"{SNAPSHOTS}/{kept}", f"{VOLUMES}/{first}"):
            assert (await amy.delete(going)).status == 400, "it is being copied"
        await here.make_volumes()
        assert (start(f"volume-{second}"), start(f"volume-{third}")) == (b"guest", b"later")
        assert (files / f"volume-{second}").stat().st_size == 2 * GIB
        copy = await shown(amy, second)
        assert (copy["snapshot_id"], copy["bootable"], copy["size"]) == (kept, "true", 2)
        assert copy["volume_image_metadata"]["image_id"] == image_id
        assert (await amy.delete(f"{VOLUMES}/{first}")).status == 400, "it has a snapshot"
        assert (await amy.request("DELETE", f"{VOLUMES}/{first}", query={"cascade": "true"})).status == 202
        await here.make_volumes()
        left = {path.name for path in files.iterdir()}
        assert left == {".lock", f"volume-{second}", f"volume-{third}"}


@asynchronous
async def test_what_cannot_be_made_is_in_error_and_can_be_deleted(cloud: MakeWorld):
    async with cloud() as here:
        amy = await user(here, "amy")
        image_id = await announce(amy, disk_format="raw")
        await amy.request("PUT", f"{IMAGES}/{image_id}/file", headers=BYTES, chunks=[b"x" * 512])
        volume_id = await create(amy, imageRef=image_id)
        (here.services.settings.images_dir / image_id).unlink()
        await here.make_volumes()
        assert (await shown(amy, volume_id))["status"] == "error"
        assert (await amy.delete(f"{VOLUMES}/{volume_id}")).status == 202
        await here.make_volumes()
        assert (await amy.get(f"{VOLUMES}/{volume_id}")).status == 404


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"size": 0}, 400),
        ({"size": None}, 400),
        ({"size": "1.5"}, 400),
        ({"size": 1 << 30}, 400),
        ({"volume_type": "none"}, 404),
        ({"availability_zone": "mars"}, 400),
        ({"imageRef": NOWHERE}, 400),
        ({"snapshot_id": NOWHERE}, 404),
        ({"source_volid": NOWHERE}, 404),
        ({"source_volid": "x"}, 400),
        ({"imageRef": IMAGE, "source_volid": NOWHERE}, 400),
        ({"backup_id": NOWHERE}, 501),
        ({"group_id": NOWHERE}, 501),
        ({"colour": "red"}, 400),
        ({"metadata": {f"k{number}": "v" for number in range(129)}}, 413),
        ({"name": "x" * 256}, 400),
    ],
)
@asynchronous
async def test_what_is_refused(cloud: MakeWorld, fields: dict[str, object], status: int):
    async with cloud() as here:
        amy = await user(here, "amy")
        answer = await amy.post(VOLUMES, {"volume": {"size": 1} | fields})
        assert answer.status == status, answer
        assert (await amy.get(VOLUMES)).body == {"volumes": []}


@asynchronous
async def test_others_do_not_see_it(cloud: MakeWorld):
    async with cloud() as here:
        amy, eve, rob, root = [await user(here, name) for name in ("amy", "eve", "rob", "root")]
        volume_id = await create(amy)
        assert [each["id"] for each in (await rob.get(VOLUMES)).body["volumes"]] == [volume_id]
        assert (await eve.get(f"{VOLUMES}/{volume_id}")).status == 404
        assert (await eve.get(VOLUMES, all_tenants=1)).body == {"volumes": []}
        assert (await eve.post(SNAPSHOTS, {"snapshot": {"volume_id": volume_id}})).status == 404
        assert (await eve.post(VOLUMES, {"volume": {"source_volid": volume_id}})).status == 404
        assert (await rob.post(VOLUMES, {"volume": {"size": 1}})).status == 403
        assert (await rob.delete(f"{VOLUMES}/{volume_id}")).status == 403
        assert (await root.get(VOLUMES)).body == {"volumes": []}
        (one,) = (await root.get(f"{VOLUMES}/detail", all_tenants=1)).body["volumes"]
        assert (one["id"], one["os-vol-tenant-attr:tenant_id"]) == (volume_id, BLUE)
        assert len((await root.get(VOLUMES, project_id=BLUE)).body["volumes"]) == 1
        assert (await root.delete(f"{VOLUMES}/{volume_id}")).status == 400, "it is being made"
        assert (await act(amy, volume_id, "os-force_delete")).status == 403
        assert (await act(root, volume_id, "os-force_delete")).status == 202
        await here.make_volumes()
        assert (await root.get(VOLUMES, all_tenants=1)).body == {"volumes": []}


@asynchronous
async def test_lists(cloud: MakeWorld):
    async with cloud() as here:
        amy = await user(here, "amy")
        made = []
        for number in range(4):
            made.append(await create(amy, name=f"v{number}", size=4 - number, metadata={"n": str(number % 2)}))
            here.clock.advance(1)

        async def names(**query: object) -> list[str]:
            answer = await amy.get(f"{VOLUMES}/detail", **query)
            assert answer.status == 200, answer
            return [volume["name"] for volume in answer.body["volumes"]]

        assert await names() == ["v3", "v2", "v1", "v0"]
        assert await names(sort="size:asc") == ["v3", "v2", "v1", "v0"]
        assert await names(sort_key="name", sort_dir="asc", limit=2) == ["v0", "v1"]
        assert await names(metadata="{'n': '1'}") == ["v3", "v1"]
        assert await names(name="v2") == ["v2"]
        assert await names(**{"name~": "v"}, limit=1, offset=1) == ["v2"]
        assert await names(status="available") == []
        page = (await amy.get(VOLUMES, limit=2, with_count="true")).body
        assert ([each["name"] for each in page["volumes"]], page["count"]) == (["v3", "v2"], 4)
        (link,) = page["volumes_links"]
        rest = (await amy.get(link["href"].removeprefix("http://cloud.test"))).body
        assert ([each["id"] for each in rest["volumes"]], "volumes_links" in rest) == (made[1::-1], False)
        for query in ({"marker": NOWHERE}, {"colour": "red"}, {"sort": "colour"}, {"metadata": "{"}, {"limit": "-1"}):
            assert (await amy.get(VOLUMES, **query)).status == 400, query
        summary = (await amy.get(f"{VOLUMES}/summary")).body["volume-summary"]
        assert summary == {"total_count": 4, "total_size": 10, "metadata": {"n": ["1", "0"]}}
        assert (await at(amy, 11).get(f"{VOLUMES}/summary")).status == 404


@asynchronous
async def test_actions_and_metadata(cloud: MakeWorld):
    async with cloud() as here:
        amy, root = await user(here, "amy"), await user(here, "root")
        volume_id = await create(amy)
        assert (await act(amy, volume_id, "os-set_bootable", {"bootable": "true"})).status == 200
        assert (await act(amy, volume_id, "os-update_readonly_flag", {"readonly": True})).status == 202
        metadata = {"hw_disk_bus": "scsi"}
        told = await act(amy, volume_id, "os-set_image_metadata", {"metadata": metadata})
        assert told.body == {"metadata": metadata}
        volume = await shown(amy, volume_id)
        assert (volume["bootable"], volume["metadata"]) == ("true", {"readonly": "True"})
        assert volume["volume_image_metadata"] == metadata
        assert (await act(amy, volume_id, "os-unset_image_metadata", {"key": "hw_disk_bus"})).status == 200
        assert (await act(amy, volume_id, "os-unset_image_metadata", {"key": "hw_disk_bus"})).status == 404
        assert (await act(amy, volume_id, "os-reset_status", {"status": "error"})).status == 403
        assert (await act(root, volume_id, "os-reset_status", {"status": "nice"})).status == 400
        assert (await act(root, volume_id, "os-reset_status", {"status": "deleting"})).status == 202
        await here.make_volumes()
        assert (await shown(amy, volume_id))["status"] == "deleting", "a word deletes nothing"
        assert (here.services.settings.volumes_dir / f"volume-{volume_id}").exists()
        assert (await act(amy, volume_id, "os-retype", {"new_type": "x"})).status == 501
        assert (await act(amy, volume_id, "os-nonsense")).status == 400
        of_it = f"{VOLUMES}/{volume_id}/metadata"
        assert (await amy.post(of_it, {"metadata": {"a": "1", "b": "2"}})).status == 200
        await amy.post(of_it, {"metadata": {"b": "2"}})
        assert (await amy.get(of_it)).body == {"metadata": {"a": "1", "b": "2"}}
        assert (await amy.put(f"{of_it}/b", {"meta": {"b": "3"}})).body == {"meta": {"b": "3"}}
        assert (await amy.put(f"{of_it}/b", {"meta": {"c": "3"}})).status == 400
        assert (await amy.delete(f"{of_it}/a")).status == 200
        assert (await amy.delete(f"{of_it}/a")).status == 404
        answer = await amy.get(of_it)
        assert (answer.body, len(answer.headers["etag"])) == ({"metadata": {"b": "3"}}, 32)
        assert (await amy.put(of_it, {"metadata": {"z": "9"}})).body == {"metadata": {"z": "9"}}


@asynchronous
async def test_snapshots(cloud: MakeWorld):
    async with cloud() as here:
        amy, root = await user(here, "amy"), await user(here, "root")
        volume_id = await create(amy)
        assert (await amy.post(SNAPSHOTS, {"snapshot": {"volume_id": volume_id}})).status == 400, "it is being made"
        await here.make_volumes()
        kept = await snapshot(amy, volume_id, name="s", metadata={"a": "b"})
        before = (await amy.get(f"{SNAPSHOTS}/{kept}")).body["snapshot"]
        assert (before["status"], before["os-extended-snapshot-attributes:progress"]) == ("creating", "0%")
        await here.make_volumes()
        (one,) = (await amy.get(f"{SNAPSHOTS}/detail", volume_id=volume_id)).body["snapshots"]
        assert (one["id"], one["status"], one["size"], one["metadata"]) == (kept, "available", 1, {"a": "b"})
        changed = await amy.put(f"{SNAPSHOTS}/{kept}", {"snapshot": {"name": "t"}})
        assert changed.body["snapshot"]["name"] == "t"
        assert (await amy.put(f"{SNAPSHOTS}/{kept}/metadata", {"metadata": {"c": "d"}})).status == 200
        assert (await amy.get(SNAPSHOTS, metadata="{'c': 'd'}")).body["snapshots"][0]["id"] == kept
        assert (await at(amy, 21).get(SNAPSHOTS, metadata="{'c': 'd'}")).status == 400
        reset = {"os-reset_status": {"status": "error"}}
        assert (await amy.post(f"{SNAPSHOTS}/{kept}/action", reset)).status == 403
        assert (await root.post(f"{SNAPSHOTS}/{kept}/action", reset)).status == 202
        assert (await amy.post(VOLUMES, {"volume": {"snapshot_id": kept}})).status == 400
        assert (await amy.delete(f"{SNAPSHOTS}/{kept}")).status == 202
        await here.make_volumes()
        assert (await amy.get(SNAPSHOTS)).body == {"snapshots": []}
        assert (await amy.delete(f"{SNAPSHOTS}/{kept}")).status == 404


@asynchronous
async def test_what_is_not_built_says_so(cloud: MakeWorld):
    async with cloud() as here:
        root = await user(here, "root")
        for method, path in (
            ("GET", "backups"), ("POST", "backups"), ("GET", "backups/detail"), ("GET", "groups/detail"),
            ("POST", "volume-transfers"), ("GET", "consistencygroups"), ("PUT", "os-services/disable"),
            ("GET", "scheduler-stats/get_pools"), ("GET", "messages"),
        ):  # fmt: skip
            answer = await root.request(method, f"{ROOT}/{path}")
            assert answer.fault[:2] == ("notImplemented", 501), path
            assert answer.fault[2].endswith("is not supported by this cloud."), path


@asynchronous
async def test_quotas_are_exact(tmp_path: Path):
    limits = VolumeLimits(volumes=3, snapshots=1, gigabytes=5, per_volume_gigabytes=4)
    async with world(tmp_path, stock_limits=StockLimits(storage=limits)) as here:
        amy = await user(here, "amy")
        answers = await asyncio.gather(*(amy.post(VOLUMES, {"volume": {"size": 1}}) for _ in range(9)))
        assert sorted(answer.status for answer in answers) == [202] * 3 + [413] * 6
        refused = next(answer for answer in answers if answer.status == 413)
        assert refused.fault == ("overLimit", 413, "Maximum number of volumes allowed (3) exceeded")
        await here.make_volumes()
        first = answers[0].body["volume"]["id"]
        asked = [act(amy, first, "os-extend", {"new_size": 3}), snapshot_of(amy, first), snapshot_of(amy, first)]
        growing, *kept = await asyncio.gather(*asked)
        assert (growing.status, [each.status for each in kept]) == (202, [400, 400]), "it is growing"
        await here.make_volumes()
        assert (
            (await snapshot_of(amy, first)).fault[2].endswith("Requested 3G, quota is 5G and 5G has been consumed.")
        )
        assert (await act(amy, first, "os-extend", {"new_size": 5})).status == 413
        usage = (await amy.get(f"{ROOT}/os-quota-sets/{BLUE}", usage="true")).body["quota_set"]
        assert usage["gigabytes"] == {"limit": 5, "in_use": 5, "reserved": 0, "allocated": 0}
        absolute = (await amy.get(f"{ROOT}/limits")).body["limits"]["absolute"]
        assert (absolute["totalVolumesUsed"], absolute["maxTotalVolumes"], absolute["totalGigabytesUsed"]) == (
            3,
            3,
            5,
        )
        await amy.delete(f"{VOLUMES}/{first}")
        await here.make_volumes()
        root = await user(here, "root")
        own = await root.put(f"{ROOT}/os-quota-sets/{BLUE}", {"quota_set": {"volumes": 2, "gigabytes": "-1"}})
        assert (own.body["quota_set"]["volumes"], own.body["quota_set"]["gigabytes"]) == (2, -1)
        assert (await amy.put(f"{ROOT}/os-quota-sets/{BLUE}", {"quota_set": {"volumes": 9}})).status == 403
        assert (await amy.post(VOLUMES, {"volume": {"size": 1}})).status == 413
        assert (await root.delete(f"{ROOT}/os-quota-sets/{BLUE}")).status == 200
        assert (await amy.get(f"{ROOT}/os-quota-sets/{BLUE}")).body["quota_set"]["volumes"] == 3
        assert (await amy.post(VOLUMES, {"volume": {"size": 1}})).status == 202


async def snapshot_of(amy: Client, volume_id: str) -> Answer:
    return await amy.post(SNAPSHOTS, {"snapshot": {"volume_id": volume_id}})


@asynchronous
async def test_surroundings(cloud: MakeWorld):
    async with cloud() as here:
        root, amy = await user(here, "root"), await user(here, "amy")
        await MemoryLiveness(here.broker, CELL).beat("api/api-1", {})
        await turns_until(lambda: here.life.alive("api/api-1"))
        (service,) = (await root.get(f"{ROOT}/os-services")).body["services"]
        assert (service["binary"], service["state"], service["backend_state"]) == ("cinder-volume", "up", "up")
        here.clock.advance(60)
        (service,) = (await at(root, 48).get(f"{ROOT}/os-services")).body["services"]
        assert (service["state"], "backend_state" in service) == ("down", False)
        assert (await amy.get(f"{ROOT}/os-services")).status == 403
        zones = (await amy.get(f"{ROOT}/os-availability-zone")).body["availabilityZoneInfo"]
        assert zones == [{"zoneName": "nova", "zoneState": {"available": True}}]
        assert len((await amy.get(f"{ROOT}/extensions")).body["extensions"]) > 5
        filters = (await amy.get(f"{ROOT}/resource_filters", resource="volume")).body["resource_filters"]
        assert "status" in filters[0]["filters"]
