"""Flavors, keypairs, quotas, services, hypervisors and what else stands around servers."""

import pytest

from handlers.fleet.liveness import DOWN_AFTER
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_servers import boot, shown
from tests.adapters.rest.world import BLUE, GREEN, new_server, turns_until
from tests.aio import asynchronous

V2 = "/compute/v2.1"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEy0jZnm1mPxV9kBV6YkzGsbF4/6AkwhRDayhNMu7dE6 amy@home"


@asynchronous
async def test_discovery(cloud: MakeWorld):
    async with cloud() as world:
        nobody = await world.client(None, None)
        for path in (V2, f"{V2}/"):
            version = (await nobody.get(path)).body["version"]
            assert (version["id"], version["status"]) == ("v2.1", "CURRENT")
            assert (version["version"], version["min_version"]) == ("2.104", "2.1")
        assert [version["id"] for version in (await nobody.get("/compute")).body["versions"]] == ["v2.1"]


@asynchronous
async def test_flavors(cloud: MakeWorld):
    async with cloud() as world:
        root, amy = await world.client("root"), await world.client("amy")
        body = {"name": "big", "ram": 4096, "vcpus": 2, "disk": 10, "os-flavor-access:is_public": False}
        made = (await root.post(f"{V2}/flavors", {"flavor": body})).body["flavor"]
        assert (made["name"], made["ram"], made["swap"], made["extra_specs"]) == ("big", 4096, 0, {})
        at = f"{V2}/flavors/{made['id']}"
        assert (await amy.get(at)).status == 404, "private"
        assert "big" not in (await amy.get(f"{V2}/flavors?is_public=None")).content.decode()
        assert "big" in (await root.get(f"{V2}/flavors?is_public=None")).content.decode()
        assert (await root.post(f"{V2}/flavors", {"flavor": body})).fault[:2] == ("conflictingRequest", 409)
        specs = f"{at}/os-extra_specs"
        assert (await root.post(specs, {"extra_specs": {"a": "1", "b": "2"}})).status == 200
        assert (await root.put(f"{specs}/a", {"a": "3"})).body == {"a": "3"}
        assert (await root.put(f"{specs}/a", {"b": "3"})).status == 400
        assert (await root.delete(f"{specs}/b")).status == 200
        assert (await root.get(specs)).body == {"extra_specs": {"a": "3"}}
        assert (await root.get(f"{specs}/b")).status == 404
        unknown = {"extra_specs": {"hw:bogus": "1"}}
        assert (await root.post(specs, unknown, headers={"openstack-api-version": "compute 2.86"})).status == 400
        assert (await root.post(specs, unknown, headers={"openstack-api-version": "compute 2.85"})).status == 200
        asked = await root.post(f"{V2}/servers", new_server(flavorRef=made["id"]))
        assert asked.fault[:2] == ("badRequest", 400)
        assert "hw:bogus" in asked.fault[2]
        assert (await root.delete(f"{specs}/hw:bogus")).status == 200
        nothing = {f"resources:{name}": "0" for name in ("VCPU", "MEMORY_MB", "DISK_GB")}
        assert (await root.post(specs, {"extra_specs": nothing})).status == 200
        asked = await root.post(f"{V2}/servers", new_server(flavorRef=made["id"]))
        assert asked.fault[:2] == ("badRequest", 400)
        assert "leave no resources to ask for" in asked.fault[2]
        assert (await root.delete(at)).status == 202
        assert (await root.get(at)).fault == ("itemNotFound", 404, f"Flavor {made['id']} could not be found.")


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["m1.tiny", "m1.small"]),
        ("minRam=100", ["m1.small"]),
        ("minDisk=21", []),
        ("limit=1", ["m1.tiny"]),
        ("limit=1&marker=1", ["m1.small"]),
        ("sort_key=name&sort_dir=asc", ["m1.small", "m1.tiny"]),
    ],
)
@asynchronous
async def test_lists_of_flavors(cloud: MakeWorld, query, names):
    async with cloud() as world:
        found = (await (await world.client("amy")).get(f"{V2}/flavors/detail?{query}")).body["flavors"]
        assert [flavor["name"] for flavor in found] == names


@pytest.mark.parametrize("fields", [{"ram": 0}, {"ram": "x"}, {"vcpus": -1}, {"disk": None}, {"color": 1},
                                    {"name": ""}, {"id": "a/b"}, {"rxtx_factor": 1.0}, {"ram": "9" * 12},
                                    {"ram": "9" * 10}, {"ram": "0"}])  # fmt: skip
@asynchronous
async def test_flavors_refused(cloud: MakeWorld, fields):
    async with cloud() as world:
        root = await world.client("root", "2.104")
        body = {"name": "n", "ram": 1, "vcpus": 1, "disk": 1} | fields
        assert (await root.post(f"{V2}/flavors", {"flavor": body})).fault[:2] == ("badRequest", 400)


@asynchronous
async def test_keypairs(cloud: MakeWorld):
    async with cloud() as world:
        amy, eve, root = await world.client("amy"), await world.client("eve"), await world.client("root")
        made = await amy.post(f"{V2}/os-keypairs", {"keypair": {"name": "k1", "public_key": KEY}})
        assert made.status == 201
        assert made.body["keypair"]["fingerprint"] == "cd:17:df:12:23:95:d0:b9:6e:7d:54:0d:f4:27:60:37"
        assert made.body["keypair"]["type"] == "ssh"
        assert "private_key" not in made.body["keypair"]
        again = await amy.post(f"{V2}/os-keypairs", {"keypair": {"name": "k1", "public_key": KEY}})
        assert again.fault == ("conflictingRequest", 409, "Key pair 'k1' already exists.")
        new = (await amy.at("2.10").post(f"{V2}/os-keypairs", {"keypair": {"name": "k2"}})).body["keypair"]
        assert new["private_key"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
        assert new["public_key"].startswith("ssh-ed25519 ")
        assert (await amy.at("2.92").post(f"{V2}/os-keypairs", {"keypair": {"name": "k3"}})).status == 400
        names = [one["keypair"]["name"] for one in (await amy.get(f"{V2}/os-keypairs")).body["keypairs"]]
        assert names == ["k1", "k2"]
        assert (await eve.get(f"{V2}/os-keypairs")).body["keypairs"] == []
        user = made.body["keypair"]["user_id"]
        assert (await eve.get(f"{V2}/os-keypairs?user_id={user}")).status == 403
        assert len((await root.get(f"{V2}/os-keypairs?user_id={user}")).body["keypairs"]) == 2
        body = new_server(key_name="k1")
        server_id = (await amy.post(f"{V2}/servers", body)).body["server"]["id"]
        server = await world.queries.server(server_id)
        assert server is not None
        assert server.public_key == KEY
        assert (await amy.delete(f"{V2}/os-keypairs/k1")).status == 204
        assert (await amy.get(f"{V2}/os-keypairs/k1")).fault == (
            "itemNotFound",
            404,
            "Keypair k1 could not be found.",
        )


@pytest.mark.parametrize("fields", [{"public_key": "x"}, {"public_key": "ssh-rsa AAAA"}, {"name": "a/b"},
                                    {"type": "gpg"}, {"color": 1}])  # fmt: skip
@asynchronous
async def test_keypairs_refused(cloud: MakeWorld, fields):
    async with cloud() as world:
        body = {"keypair": {"name": "k", "public_key": KEY} | fields}
        assert (await (await world.client("amy")).post(f"{V2}/os-keypairs", body)).fault[:2] == ("badRequest", 400)


@asynchronous
async def test_quotas_and_limits(cloud: MakeWorld):
    async with cloud() as world:
        root, amy = await world.client("root"), await world.client("amy")
        at = f"{V2}/os-quota-sets/{BLUE}"
        assert (await amy.get(at)).body["quota_set"]["instances"] == 10
        changed = await root.put(at, {"quota_set": {"instances": 1, "ram": "-1"}})
        assert (changed.body["quota_set"]["instances"], changed.body["quota_set"]["ram"]) == (1, -1)
        assert (await amy.post(f"{V2}/servers", new_server())).status == 202
        assert (await amy.post(f"{V2}/servers", new_server())).fault[:2] == ("forbidden", 403)
        detail = (await amy.get(f"{at}/detail")).body["quota_set"]["instances"]
        assert detail == {"limit": 1, "in_use": 1, "reserved": 0}
        absolute = (await amy.get(f"{V2}/limits")).body["limits"]["absolute"]
        assert (absolute["maxTotalInstances"], absolute["totalInstancesUsed"]) == (1, 1)
        low = await root.put(at, {"quota_set": {"instances": 0}})
        assert low.status == 400
        assert "must be greater than or equal to already used and reserved 1" in low.fault[2]
        assert (await root.put(at, {"quota_set": {"instances": 0, "force": True}})).status == 200
        assert (await root.put(at, {"quota_set": {"key_pairs": 5}})).status == 400
        assert (await root.put(at, {"quota_set": {"floating_ips": 5}})).status == 400
        assert (await root.delete(at)).status == 202
        assert (await amy.get(at)).body["quota_set"]["instances"] == 10
        assert (await amy.get(f"{V2}/os-quota-sets/{GREEN}")).status == 403


@asynchronous
async def test_services(cloud: MakeWorld):
    async with cloud() as world:
        root = await world.client("root")
        await world.stop("node2")
        world.clock.advance(DOWN_AFTER.total_seconds())
        await turns_until(lambda: world.life.host_up("node1") and world.life.alive("conductor/control1"))
        services = (await root.get(f"{V2}/os-services")).body["services"]
        assert [(one["binary"], one["host"], one["state"], one["zone"]) for one in services] == [
            ("nova-compute", "node1", "up", "nova"),
            ("nova-compute", "node2", "down", "nova"),
            ("nova-conductor", "control1", "up", "internal"),
            ("nova-scheduler", "control1", "up", "internal"),
        ]
        for name, chosen in (("nova-compute", services[:2]), ("nova-conductor", services[2:3]), ("nova-cells", [])):
            assert (await root.get(f"{V2}/os-services?binary={name}")).body["services"] == chosen
        assert (await root.get(f"{V2}/os-services?binary=nova-compute&host=node2")).body["services"] == services[1:2]
        at = f"{V2}/os-services/{services[0]['id']}"
        off = await root.put(at, {"status": "disabled", "disabled_reason": "disk"})
        assert (off.body["service"]["status"], off.body["service"]["disabled_reason"]) == ("disabled", "disk")
        assert (await root.put(at, {"status": "enabled"})).body["service"]["disabled_reason"] is None
        old = await root.at("2.52").put(f"{V2}/os-services/disable", {"host": "node2", "binary": "nova-compute"})
        assert old.body == {"service": {"host": "node2", "binary": "nova-compute", "status": "disabled"}}
        missing = await root.at("2.52").put(f"{V2}/os-services/enable", {"host": "no", "binary": "nova-compute"})
        assert missing.status == 404
        conductor = await root.put(f"{V2}/os-services/{services[2]['id']}", {"status": "disabled"})
        assert conductor.status == 400
        for body in ({}, {"disabled_reason": "x"}, {"status": "gone"}, {"status": "enabled", "disabled_reason": "x"}):
            assert (await root.put(at, body)).status == 400
        assert (await root.put(f"{V2}/os-services/1", {"status": "enabled"})).fault[2] == "Invalid uuid 1"


@asynchronous
async def test_a_host_is_forced_down(cloud: MakeWorld) -> None:
    async with cloud() as world:
        root = await world.client("root", "2.100")
        (service,) = (await root.get(f"{V2}/os-services?binary=nova-compute&host=node1")).body["services"]
        at = f"{V2}/os-services/{service['id']}"
        assert (service["state"], service["forced_down"]) == ("up", False)
        down = (await root.put(at, {"forced_down": True})).body["service"]
        assert (down["state"], down["forced_down"], down["status"]) == ("down", True, "enabled")
        hypervisors = (await root.get(f"{V2}/os-hypervisors")).body["hypervisors"]
        assert {each["hypervisor_hostname"]: each["state"] for each in hypervisors} == {
            "node1": "down",
            "node2": "up",
        }
        # No server goes there.
        amy = await world.client("amy")
        server_id = await boot(world, amy)
        host = (await shown(root, server_id))["OS-EXT-SRV-ATTR:host"]
        assert host == "node2"
        old, body = root.at("2.52"), {"host": "node1", "binary": "nova-compute"}
        assert (await old.put(f"{V2}/os-services/force-down", body)).status == 400
        answer = await old.put(f"{V2}/os-services/force-down", body | {"forced_down": False})
        assert answer.body == {"service": body | {"forced_down": False}}
        assert (await root.get(f"{V2}/os-services?host=node1")).body["services"][0]["forced_down"] is False
        missing = await old.put(f"{V2}/os-services/force-down", body | {"host": "no", "forced_down": True})
        assert missing.status == 404
        assert (await root.at("2.10").put(f"{V2}/os-services/force-down", body)).status in (400, 404)
        conductor = (await root.get(f"{V2}/os-services?binary=nova-conductor")).body["services"][0]
        assert (await root.put(f"{V2}/os-services/{conductor['id']}", {"forced_down": True})).status == 400


@asynchronous
async def test_hypervisors(cloud: MakeWorld):
    async with cloud() as world:
        root = await world.client("root")
        found = (await root.get(f"{V2}/os-hypervisors/detail")).body["hypervisors"]
        assert [one["hypervisor_hostname"] for one in found] == ["node1", "node2"]
        assert "vcpus" not in found[0]
        older = (await root.at("2.87").get(f"{V2}/os-hypervisors/detail")).body["hypervisors"][0]
        assert (older["vcpus"], older["memory_mb"], older["running_vms"]) == (8, 16384, 0)
        assert (await root.at("2.52").get(f"{V2}/os-hypervisors/1")).body["hypervisor"]["id"] == 1
        one = (await root.get(f"{V2}/os-hypervisors?hypervisor_hostname_pattern=2")).body["hypervisors"]
        assert [each["hypervisor_hostname"] for each in one] == ["node2"]
        assert (await root.get(f"{V2}/os-hypervisors?hypervisor_hostname_pattern=x")).status == 404
        first = (await root.get(f"{V2}/os-hypervisors?limit=1")).body
        assert len(first["hypervisors"]) == 1
        assert f"marker={first['hypervisors'][0]['id']}" in first["hypervisors_links"][0]["href"]
        sums = (await root.at("2.87").get(f"{V2}/os-hypervisors/statistics")).body["hypervisor_statistics"]
        assert (sums["count"], sums["vcpus"]) == (2, 16)


@asynchronous
async def test_zones_and_parts(cloud: MakeWorld):
    async with cloud() as world:
        root, amy = await world.client("root"), await world.client("amy")
        zones = (await amy.get(f"{V2}/os-availability-zone")).body["availabilityZoneInfo"]
        assert zones == [{"zoneName": "nova", "zoneState": {"available": True}, "hosts": None}]
        detail = (await root.get(f"{V2}/os-availability-zone/detail")).body["availabilityZoneInfo"]
        assert sorted(detail[0]["hosts"]) == ["node1", "node2"]
        server_id = (await amy.post(f"{V2}/servers", new_server(metadata={"a": "b"}, tags=["t"]))).body["server"][
            "id"
        ]
        await world.advance()
        at = f"{V2}/servers/{server_id}"
        assert (await amy.get(f"{at}/metadata")).body == {"metadata": {"a": "b"}}
        assert (await amy.get(f"{at}/metadata/a")).body == {"meta": {"a": "b"}}
        assert (await amy.get(f"{at}/metadata/z")).status == 404
        assert (await amy.get(f"{at}/tags")).body == {"tags": ["t"]}
        assert (await amy.get(f"{at}/tags/t")).status == 204
        assert (await amy.get(f"{at}/ips")).body == {"addresses": {"private": [{"version": 4, "addr": "10.0.0.3"}]}}
        assert (await amy.get(f"{at}/ips/other")).status == 404
        (interface,) = (await amy.get(f"{at}/os-interface")).body["interfaceAttachments"]
        assert interface["fixed_ips"][0]["ip_address"] == "10.0.0.3"
