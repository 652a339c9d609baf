from typing import Any

import pytest

from adapters.rest.network import none_here
from domain.guest import Route
from tests.adapters.rest.client import Answer, Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_servers import SERVERS
from tests.adapters.rest.world import BLUE, NETWORK, SUBNET, new_server
from tests.aio import asynchronous

V2 = "/network/v2.0"


@asynchronous
async def test_networks_subnets_ports(cloud: MakeWorld):
    async with cloud() as world:
        amy, eve = await world.client("amy"), await world.client("eve")
        (network,) = (await amy.get(f"{V2}/networks", name="private")).body["networks"]
        assert (network["id"], network["subnets"], network["shared"]) == (NETWORK, [SUBNET], True)
        subnet = (await amy.get(f"{V2}/subnets/{SUBNET}")).body["subnet"]
        assert (subnet["cidr"], subnet["gateway_ip"]) == ("10.0.0.0/24", "10.0.0.1")
        assert subnet["allocation_pools"] == [{"start": "10.0.0.3", "end": "10.0.0.254"}]
        server_id = (await amy.post("/compute/v2.1/servers", new_server())).body["server"]["id"]
        await world.advance()
        (port,) = (await amy.get(f"{V2}/ports", device_id=server_id)).body["ports"]
        assert port["fixed_ips"] == [{"subnet_id": SUBNET, "ip_address": "10.0.0.3"}]
        assert (await amy.get(f"{V2}/ports/{port['id']}")).body["port"] == port
        assert (await amy.get(f"{V2}/ports?fixed_ips=ip_address=10.0.0.3")).body["ports"] == [port]
        assert (await amy.get(f"{V2}/ports?fixed_ips=ip_address=10.0.0.9")).body["ports"] == []
        assert (await amy.get(f"{V2}/ports?device_id={server_id}&device_id={server_id}")).body["ports"] == [port]
        assert (await eve.get(f"{V2}/ports")).body["ports"] == []
        assert (await eve.get(f"{V2}/ports", device_id=server_id)).body["ports"] == []
        assert (await eve.get(f"{V2}/ports/{port['id']}")).status == 404
        assert (await amy.get(f"{V2}/networks?fields=id")).body == {"networks": [{"id": NETWORK}]}


@pytest.mark.parametrize("path", ["networks/private", f"subnets/{NETWORK}", "ports/none", "extensions/magic"])
@asynchronous
async def test_what_is_not_there(cloud: MakeWorld, path):
    async with cloud() as world:
        answer = await (await world.client("amy")).get(f"{V2}/{path}")
        assert answer.status == 404
        assert answer.body["NeutronError"]["type"].endswith("NotFound")


async def network(client: Client, **fields: Any) -> dict[str, Any]:
    answer = await client.post(f"{V2}/networks", {"network": {"name": "net2"} | fields})
    assert answer.status == 201, answer
    return dict(answer.body["network"])


async def subnet(client: Client, network_id: str, cidr: str = "10.1.0.0/24", **fields: Any) -> Answer:
    body = {"network_id": network_id, "cidr": cidr, "ip_version": 4} | fields
    return await client.post(f"{V2}/subnets", {"subnet": body})


@asynchronous
async def test_a_network_and_its_subnet_as_they_are_asked_for(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, eve = await world.client("amy"), await world.client("eve")
        made = await network(amy, description="ours", mtu="1300", admin_state_up="True", shared="false")
        told = {name: made[name] for name in ("name", "description", "mtu", "subnets", "port_security_enabled")}
        assert told == {
            "name": "net2", "description": "ours", "mtu": 1300, "subnets": [], "port_security_enabled": True,
        }  # fmt: skip
        answer = await subnet(
            amy, made["id"], name="sub", gateway_ip="10.1.0.254", dns_nameservers=["10.1.0.250"],
            allocation_pools=[{"start": "10.1.0.100", "end": "10.1.0.110"}],
            host_routes=[{"destination": "10.9.0.0/16", "nexthop": "10.1.0.253"}],
        )  # fmt: skip
        assert answer.status == 201, answer
        document = answer.body["subnet"]
        assert document["network_id"] == made["id"]
        assert (document["gateway_ip"], document["enable_dhcp"], document["cidr"]) == (
            "10.1.0.254", True, "10.1.0.0/24",
        )  # fmt: skip
        assert (await amy.get(f"{V2}/subnets/{document['id']}")).body["subnet"] == document
        assert (await amy.get(f"{V2}/subnets", network_id=made["id"])).body["subnets"] == [document]
        assert (await amy.get(f"{V2}/networks/{made['id']}")).body["network"]["subnets"] == [document["id"]]
        for path in (f"networks/{made['id']}", f"subnets/{document['id']}"):
            assert (await eve.get(f"{V2}/{path}")).status == 404
            assert (await eve.delete(f"{V2}/{path}")).status == 404
        body = new_server(networks=[{"uuid": made["id"]}])
        assert (await eve.post(SERVERS, body)).status == 400
        server_id = (await amy.post(SERVERS, body)).body["server"]["id"]
        await world.advance()
        (port,) = (await amy.get(f"{V2}/ports", device_id=server_id)).body["ports"]
        # The pool's first address is the DHCP server's.
        assert port["fixed_ips"] == [{"subnet_id": document["id"], "ip_address": "10.1.0.101"}]
        (interface,) = (await amy.get(f"{SERVERS}/{server_id}/os-interface")).body["interfaceAttachments"]
        assert interface["fixed_ips"] == port["fixed_ips"]
        (guest,) = [host._guests[server_id] for host in world.hypervisors.values() if server_id in host._guests]
        (nic,) = guest.spec.nics
        assert (nic.gateway_ip, nic.dhcp_ip, nic.dns_nameservers, nic.mtu, nic.host_routes) == (
            "10.1.0.254", "10.1.0.100", ("10.1.0.250",), 1300, (Route("10.9.0.0/16", "10.1.0.253"),),
        )  # fmt: skip
        for path, kind in ((f"networks/{made['id']}", "NetworkInUse"), (f"subnets/{document['id']}", "SubnetInUse")):
            in_use = await amy.delete(f"{V2}/{path}")
            assert (in_use.status, in_use.body["NeutronError"]["type"]) == (409, kind)
        await amy.delete(f"{SERVERS}/{server_id}")
        await world.advance()
        assert (await amy.delete(f"{V2}/subnets/{document['id']}")).status == 204
        assert (await amy.get(f"{V2}/subnets/{document['id']}")).status == 404
        assert (await amy.delete(f"{V2}/networks/{made['id']}")).status == 204
        assert (await amy.get(f"{V2}/networks/{made['id']}")).status == 404


@asynchronous
async def test_a_server_needs_a_subnet(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        made = await network(amy)
        answer = await amy.post(SERVERS, new_server(networks=[{"uuid": made["id"]}]))
        needs = f"Network {made['id']} requires a subnet in order to boot instances on."
        assert answer.fault == ("badRequest", 400, needs)
        # Nor is it among those of which one is meant where none is named.
        assert (await amy.at("2.1").post(SERVERS, new_server(networks=None))).status == 202


@asynchronous
async def test_what_is_changed_of_a_network_and_of_a_subnet(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, root = await world.client("amy"), await world.client("root")
        made = await network(amy)
        path = f"{V2}/networks/{made['id']}"
        changed = (await amy.put(path, {"network": {"name": "net9", "description": "d", "mtu": 0}})).body["network"]
        assert (changed["name"], changed["description"], changed["mtu"]) == ("net9", "d", 1400)
        assert (changed["revision_number"], changed["created_at"]) == (2, made["created_at"])
        assert (await amy.put(path, {"network": {}})).body["network"] == changed
        assert (await amy.put(path, {"network": {"shared": True}})).status == 403
        assert (await root.put(path, {"network": {"shared": True}})).body["network"]["shared"] is True
        document = (await subnet(amy, made["id"])).body["subnet"]
        at = f"{V2}/subnets/{document['id']}"
        wanted = {
            "name": "s", "gateway_ip": None, "dns_nameservers": ["9.9.9.9"],
            "allocation_pools": [{"start": "10.1.0.1", "end": "10.1.0.9"}],
        }  # fmt: skip
        after = (await amy.put(at, {"subnet": wanted})).body["subnet"]
        assert {name: after[name] for name in wanted} == wanted
        off = (await amy.put(at, {"subnet": {"enable_dhcp": "False"}})).body["subnet"]
        assert (off["enable_dhcp"], off["revision_number"]) == (False, 3)
        assert (await amy.put(at, {"subnet": {"enable_dhcp": True}})).body["subnet"]["enable_dhcp"] is True
        assert (await amy.put(at, {"subnet": {"cidr": "10.2.0.0/24"}})).status == 400
        assert (await amy.put(at, {"subnet": {"gateway_ip": "10.1.0.5"}})).status == 409


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"cidr": "10.1.0.1/24"}, 400), ({"cidr": "x"}, 400), ({"cidr": None}, 400), ({"cidr": "10.1.0.0/30"}, 400),
        ({"cidr": "169.254.0.0/16"}, 400), ({"cidr": "0.0.0.0/0"}, 400), ({"cidr": "224.0.0.0/8"}, 400),
        ({"gateway_ip": "10.2.0.1"}, 400), ({"gateway_ip": "x"}, 400), ({"gateway_ip": "10.1.0.255"}, 400),
        ({"allocation_pools": [{"start": "10.1.0.9", "end": "10.1.0.2"}]}, 400),
        ({"allocation_pools": [{"start": "10.1.0.9", "end": "10.2.0.2"}]}, 400),
        ({"allocation_pools": [{"start": "10.1.0.1", "end": "10.1.0.2"}]}, 409),
        ({"allocation_pools": [{"start": "10.1.0.2", "end": "10.1.0.9"}, {"start": "10.1.0.9", "end": "10.1.0.10"}]},
         409),
        ({"allocation_pools": [{"start": "10.1.0.2"}]}, 400),
        ({"dns_nameservers": ["x"]}, 400), ({"dns_nameservers": ["9.9.9.9", "9.9.9.9"]}, 400),
        ({"host_routes": [{"destination": "10.9.0.0", "nexthop": "x"}]}, 400),
        ({"ip_version": 6}, 501), ({"ip_version": 5}, 400), ({"subnetpool_id": "p"}, 501),
        ({"ipv6_ra_mode": "slaac"}, 501), ({"network_id": "nowhere"}, 404), ({"magic": 1}, 400),
        ({"enable_dhcp": "perhaps"}, 400), ({"project_id": "other"}, 403),
    ],
)  # fmt: skip
@asynchronous
async def test_subnets_refused(cloud: MakeWorld, fields: dict[str, Any], status: int) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        made = await network(amy)
        answer = await subnet(amy, **({"network_id": made["id"]} | fields))
        assert answer.status == status, answer
        assert answer.body["NeutronError"]["message"]
        assert (await amy.get(f"{V2}/subnets", network_id=made["id"])).body["subnets"] == []


@asynchronous
async def test_subnets_of_a_network_do_not_overlap_and_fill_one_after_the_other(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        made = await network(amy)
        first = (await subnet(amy, made["id"], "10.1.0.0/29")).body["subnet"]
        assert (await subnet(amy, made["id"], "10.1.0.0/24")).status == 400
        second = (await subnet(amy, made["id"], "10.2.0.0/29", enable_dhcp=False)).body["subnet"]
        found = []
        for _ in range(5):
            server_id = (await amy.post(SERVERS, new_server(networks=[{"uuid": made["id"]}]))).body["server"]["id"]
            await world.advance()
            (port,) = (await amy.get(f"{V2}/ports", device_id=server_id)).body["ports"]
            found.append((port["fixed_ips"][0]["subnet_id"], port["fixed_ips"][0]["ip_address"]))
        assert found == [
            *((first["id"], f"10.1.0.{number}") for number in (3, 4, 5, 6)), (second["id"], "10.2.0.2"),
        ]  # fmt: skip
        taken = new_server(networks=[{"uuid": made["id"], "fixed_ip": "10.2.0.2"}])
        assert (await amy.post(SERVERS, taken)).status == 400
        for address in ("10.2.0.1", "10.1.0.2", "10.2.0.7", "10.3.0.1"):
            body = new_server(networks=[{"uuid": made["id"], "fixed_ip": address}])
            assert (await amy.post(SERVERS, body)).status == 400, address


@asynchronous
async def test_tags(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, rob, eve = [await world.client(name) for name in ("amy", "rob", "eve")]
        made = await network(amy)
        document = (await subnet(amy, made["id"])).body["subnet"]
        for kind, thing in (("networks", made["id"]), ("subnets", document["id"])):
            path = f"{V2}/{kind}/{thing}/tags"
            assert (await amy.put(path, {"tags": ["red", "blue", "red"]})).body == {"tags": ["red", "blue"]}
            assert (await amy.put(f"{path}/green")).status == 201
            assert (await amy.get(f"{path}/green")).status == 204
            assert (await amy.get(f"{path}/black")).status == 404
            assert (await amy.delete(f"{path}/blue")).status == 204
            assert (await amy.delete(f"{path}/blue")).status == 404
            assert (await rob.get(path)).body == {"tags": ["red", "green"]}
            assert (await rob.delete(path)).status == 403
            assert (await eve.get(path)).status == 404
            assert (await amy.get(f"{V2}/{kind}/{thing}")).body[kind[:-1]]["tags"] == ["red", "green"]
            for query, count in (("tags=red,green", 1), ("tags=red,blue", 0), ("tags-any=red,blue", 1),
                                 ("not-tags=red", 0), ("not-tags-any=blue", 1)):  # fmt: skip
                found = (await amy.get(f"{V2}/{kind}?{query}")).body[kind]
                assert sum(one["id"] == thing for one in found) == count, query
            assert (await amy.put(path, {"tags": [str(number) for number in range(51)]})).status == 400
            assert (await amy.delete(path)).status == 204
            assert (await amy.get(path)).body == {"tags": []}
        assert (await amy.get(f"{V2}/ports/x/tags")).status == 404


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"shared": True}, 403), ({"router:external": True}, 501), ({"admin_state_up": False}, 501),
     ({"provider:network_type": "vlan"}, 501), ({"project_id": "other"}, 403), ({"name": "x" * 256}, 400),
     ({"port_security_enabled": False}, 501), ({"dns_domain": "x.org."}, 501), ({"magic": 1}, 400),
     ({"mtu": 67}, 400), ({"mtu": "x"}, 400), ({"shared": "perhaps"}, 400), ({"router:external": "perhaps"}, 400)],
)  # fmt: skip
@asynchronous
async def test_networks_refused(cloud: MakeWorld, fields, status):
    async with cloud() as world:
        answer = await (await world.client("amy")).post(f"{V2}/networks", {"network": {"name": "n"} | fields})
        assert answer.status == status
        assert answer.body["NeutronError"]["message"]


@asynchronous
async def test_a_shared_network_is_not_a_members_to_delete(cloud: MakeWorld):
    async with cloud() as world:
        assert (await (await world.client("amy")).delete(f"{V2}/networks/{NETWORK}")).status == 403


@asynchronous
async def test_which_network_is_meant(cloud: MakeWorld):
    async with cloud() as world:
        amy = await world.client("amy", "2.1")
        await subnet(amy, (await network(amy))["id"])
        answer = await amy.post("/compute/v2.1/servers", new_server(networks=None))
        assert answer.fault == (
            "conflictingRequest",
            409,
            "Multiple possible networks found, use a Network ID to be more specific.",
        )


@asynchronous
async def test_discovery_and_quota(cloud: MakeWorld):
    async with cloud() as world:
        nobody, amy = await world.client(None), await world.client("amy")
        assert (await nobody.get("/network")).body["versions"][0]["id"] == "v2.0"
        assert (await amy.get(f"{V2}/quotas/{BLUE}")).body["quota"]["network"] == 100
        assert (await amy.get(f"{V2}/quotas/other")).status == 403
        assert (await amy.get(f"{V2}/extensions/quotas")).body["extension"]["alias"] == "quotas"


@asynchronous
async def test_what_is_used_of_the_quota(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        made = await network(amy)
        await subnet(amy, made["id"])
        await amy.post(f"{V2}/ports", {"port": {"network_id": made["id"]}})
        await amy.post(SERVERS, new_server())
        await world.advance()
        quota = (await amy.get(f"{V2}/quotas/{BLUE}/details")).body["quota"]
        used = {name: quota[name]["used"] for name in ("network", "subnet", "port", "router")}
        assert used == {"network": 1, "subnet": 1, "port": 1, "router": 0}
        assert quota["port"] == {"limit": 500, "used": 1, "reserved": 0}
        assert (await amy.get(f"{V2}/quotas/other/details")).status == 403


@asynchronous
async def test_of_what_is_not_here_there_is_none(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        for path in none_here.COLLECTIONS:
            assert (await amy.get(f"{V2}/{path}")).body == {path.replace("-", "_"): []}
            assert (await amy.get(f"{V2}/{path}/{NETWORK}")).status == 404
            assert (await amy.post(f"{V2}/{path}", {})).status == 501
            assert (await amy.delete(f"{V2}/{path}/{NETWORK}")).status == 405
        (zone,) = (await amy.get(f"{V2}/availability_zones")).body["availability_zones"]
        assert zone == {"name": "nova", "resource": "network", "state": "available"}
