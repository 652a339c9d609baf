from ipaddress import IPv4Network

import pytest

from adapters.rest.network.networks import POOL
from tests.adapters.rest.conftest import MakeWorld
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


@asynchronous
async def test_a_network_comes_with_its_subnet(cloud: MakeWorld):
    async with cloud() as world:
        amy, eve = await world.client("amy"), await world.client("eve")
        answer = await amy.post(f"{V2}/networks", {"network": {"name": "net2", "admin_state_up": True}})
        assert answer.status == 201
        network = answer.body["network"]
        subnet = (await amy.get(f"{V2}/subnets/{network['subnets'][0]}")).body["subnet"]
        assert IPv4Network(subnet["cidr"]).subnet_of(POOL)
        more = await amy.post(f"{V2}/networks", {"network": {"name": "net3"}})
        other = (await amy.get(f"{V2}/subnets/{more.body['network']['subnets'][0]}")).body["subnet"]
        assert not IPv4Network(other["cidr"]).overlaps(IPv4Network(subnet["cidr"]))
        refused = await amy.post(f"{V2}/subnets", {"subnet": {"network_id": network["id"], "cidr": "10.1.0.0/24"}})
        assert refused.status == 409
        assert (await eve.get(f"{V2}/networks/{network['id']}")).status == 404
        body = new_server(networks=[{"uuid": network["id"]}])
        assert (await eve.post("/compute/v2.1/servers", body)).status == 400
        server_id = (await amy.post("/compute/v2.1/servers", body)).body["server"]["id"]
        await world.advance()
        in_use = await amy.delete(f"{V2}/networks/{network['id']}")
        assert (in_use.status, in_use.body["NeutronError"]["type"]) == (409, "NetworkInUse")
        await amy.delete(f"/compute/v2.1/servers/{server_id}")
        await world.advance()
        assert (await amy.delete(f"{V2}/networks/{network['id']}")).status == 204
        assert (await amy.get(f"{V2}/networks/{network['id']}")).status == 404


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"shared": True}, 403), ({"router:external": True}, 400), ({"admin_state_up": False}, 400),
     ({"provider:network_type": "vlan"}, 400), ({"project_id": "other"}, 403), ({"name": "x" * 256}, 400)],
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
        await amy.post(f"{V2}/networks", {"network": {"name": "net2"}})
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
