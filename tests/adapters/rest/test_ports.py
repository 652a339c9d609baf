"""Ports of a project's own: they are made, given to servers, and outlive these."""

from typing import Any

import pytest

from tests.adapters.rest.client import Answer, Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_networks import V2, network, subnet
from tests.adapters.rest.test_servers import SERVERS, shown
from tests.adapters.rest.world import BLUE, NETWORK, SUBNET, new_server
from tests.aio import asynchronous

PORTS = f"{V2}/ports"
NOWHERE = "00000000-0000-4000-8000-00000000dead"


async def asked(client: Client, **fields: Any) -> Answer:
    return await client.post(PORTS, {"port": {"network_id": NETWORK} | fields})


async def port(client: Client, **fields: Any) -> dict[str, Any]:
    answer = await asked(client, **fields)
    assert answer.status == 201, answer
    return dict(answer.body["port"])


def with_port(*port_ids: str, **more: Any) -> dict[str, Any]:
    return new_server(networks=[{"port": port_id} for port_id in port_ids], **more)


@asynchronous
async def test_a_port_is_made_changed_given_and_had_again(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy, eve, root = [await world.client(name) for name in ("amy", "eve", "root")]
        made = await port(
            amy, name="p", description="d", mac_address="FA:16:3E:00:00:01",
            fixed_ips=[{"subnet_id": SUBNET, "ip_address": "10.0.0.77"}],
        )  # fmt: skip
        told = {
            name: made[name] for name in ("name", "description", "mac_address", "status", "device_id", "project_id")
        }
        assert told == {
            "name": "p", "description": "d", "mac_address": "fa:16:3e:00:00:01", "status": "DOWN", "device_id": "",
            "project_id": BLUE,
        }  # fmt: skip
        assert made["fixed_ips"] == [{"subnet_id": SUBNET, "ip_address": "10.0.0.77"}]
        path = f"{PORTS}/{made['id']}"
        changed = (await amy.put(path, {"port": {"name": "q", "device_owner": "us", "device_id": "mine"}})).body[
            "port"
        ]
        assert changed == made | {"name": "q", "device_owner": "us", "device_id": "mine"}
        assert (await amy.get(PORTS, device_id="mine")).body["ports"] == [changed]
        assert (await amy.put(path, {"port": {"device_id": "", "device_owner": ""}})).status == 200
        assert (await amy.get(PORTS, device_id="mine")).body["ports"] == []
        for client, status in ((eve, 404), (await world.client("rob"), 403)):
            assert (await client.put(path, {"port": {"name": "x"}})).status == status
            assert (await client.delete(path)).status == status
        assert (await eve.post(SERVERS, with_port(made["id"]))).status == 400
        server_id = (await amy.post(SERVERS, with_port(made["id"]))).body["server"]["id"]
        await world.advance()
        assert (await shown(amy, server_id))["status"] == "ACTIVE"
        (interface,) = (await amy.get(f"{SERVERS}/{server_id}/os-interface")).body["interfaceAttachments"]
        assert (interface["port_id"], interface["mac_addr"]) == (made["id"], "fa:16:3e:00:00:01")
        assert interface["fixed_ips"] == made["fixed_ips"]
        (held,) = (await amy.get(PORTS, device_id=server_id)).body["ports"]
        assert (held["id"], held["status"], held["device_owner"]) == (made["id"], "ACTIVE", "compute:nova")
        assert (await amy.delete(path)).body["NeutronError"]["type"] == "PortInUse"
        refused = await amy.post(SERVERS, with_port(made["id"]))
        assert refused.fault == ("conflictingRequest", 409, f"Port {made['id']} is still in use.")
        assert (await amy.delete(f"{SERVERS}/{server_id}")).status == 204
        await world.advance()
        free = (await root.get(path)).body["port"]
        assert (free["status"], free["device_id"], free["fixed_ips"]) == ("DOWN", "", made["fixed_ips"])
        again = (await amy.post(SERVERS, with_port(made["id"]))).body["server"]["id"]
        await world.advance()
        assert (await shown(amy, again))["status"] == "ACTIVE"
        await amy.delete(f"{SERVERS}/{again}")
        await world.advance()
        assert (await amy.delete(path)).status == 204
        assert (await amy.get(path)).status == 404


@asynchronous
async def test_of_two_servers_that_ask_at_once_one_gets_it(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        made = await port(amy)
        ids = [(await amy.post(SERVERS, with_port(made["id"]))).body["server"]["id"] for _ in range(2)]
        await world.advance()
        servers = [await shown(amy, server_id) for server_id in ids]
        assert sorted(server["status"] for server in servers) == ["ACTIVE", "ERROR"]
        (failed,) = [server for server in servers if server["status"] == "ERROR"]
        assert failed["fault"]["message"] == f"Port {made['id']} is still in use."
        assert (await amy.delete(f"{SERVERS}/{failed['id']}")).status == 204
        await world.advance()
        (held,) = (await amy.get(PORTS)).body["ports"]
        assert held["device_id"] in ids
        assert held["device_id"] != failed["id"]


@asynchronous
async def test_servers_with_several_interfaces(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        first, second = await port(amy), await port(amy)
        body = new_server(networks=[{"port": second["id"]}, {"uuid": NETWORK}, {"port": first["id"]}])
        server_id = (await amy.post(SERVERS, body)).body["server"]["id"]
        await world.advance()
        found = (await amy.get(f"{SERVERS}/{server_id}/os-interface")).body["interfaceAttachments"]
        assert [each["port_id"] for each in found][::2] == [second["id"], first["id"]]
        assert (await amy.delete(f"{SERVERS}/{server_id}")).status == 204
        await world.advance()
        assert {each["id"] for each in (await amy.get(PORTS)).body["ports"]} == {first["id"], second["id"]}
        addressed = new_server(networks=[{"port": first["id"], "fixed_ip": "10.0.0.9"}])
        for bad in (with_port(first["id"], first["id"]), with_port(first["id"], min_count=2), with_port(NOWHERE),
                    with_port("x"), addressed):  # fmt: skip
            assert (await amy.post(SERVERS, bad)).status == 400, bad


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"network_id": NOWHERE}, 404), ({"mac_address": "x"}, 400), ({"mac_address": "ff:ff:ff:ff:ff:ff"}, 400),
        ({"fixed_ips": [{"ip_address": "10.0.0.1"}]}, 400), ({"fixed_ips": [{"ip_address": "10.9.0.9"}]}, 400),
        ({"fixed_ips": [{"subnet_id": NOWHERE}]}, 404), ({"fixed_ips": [{"ip_address": "x"}]}, 400),
        ({"fixed_ips": []}, 501), ({"fixed_ips": [{"ip_address": "10.0.0.8"}, {"ip_address": "10.0.0.9"}]}, 501),
        ({"binding:vnic_type": "direct"}, 501), ({"port_security_enabled": False}, 501),
        ({"security_groups": [NOWHERE]}, 501), ({"allowed_address_pairs": [{"ip_address": "10.0.0.9"}]}, 501),
        ({"magic": 1}, 400), ({"project_id": "other"}, 403), ({"name": "x" * 256}, 400),
    ],
)  # fmt: skip
@asynchronous
async def test_ports_refused(cloud: MakeWorld, fields: dict[str, Any], status: int) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        answer = await asked(amy, **fields)
        assert answer.status == status, answer
        assert answer.body["NeutronError"]["message"]
        assert (await amy.get(PORTS)).body["ports"] == []


@asynchronous
async def test_what_is_taken_and_what_is_another_subnets(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        made = await port(amy)
        assert (await asked(amy, mac_address=made["mac_address"])).body["NeutronError"]["type"] == "MacAddressInUse"
        assert (await asked(amy, fixed_ips=[{"ip_address": made["fixed_ips"][0]["ip_address"]}])).status == 400
        own = await network(amy)
        first, second = [
            (await subnet(amy, own["id"], cidr)).body["subnet"] for cidr in ("10.1.0.0/29", "10.2.0.0/29")
        ]
        wanted = [{"subnet_id": second["id"]}]
        assert (await port(amy, network_id=own["id"], fixed_ips=wanted))["fixed_ips"][0]["ip_address"] == "10.2.0.3"
        for bad in ([{"subnet_id": second["id"], "ip_address": "10.1.0.4"}], [{"subnet_id": SUBNET}]):
            assert (await asked(amy, network_id=own["id"], fixed_ips=bad)).status == 400
        assert (await amy.delete(f"{V2}/subnets/{second['id']}")).body["NeutronError"]["type"] == "SubnetInUse"
        assert (await amy.delete(f"{V2}/networks/{own['id']}")).body["NeutronError"]["type"] == "NetworkInUse"
        assert (await amy.delete(f"{V2}/subnets/{first['id']}")).status == 204


@asynchronous
async def test_a_servers_own_port_is_the_servers_alone(cloud: MakeWorld) -> None:
    async with cloud() as world:
        amy = await world.client("amy")
        server_id = (await amy.post(SERVERS, new_server())).body["server"]["id"]
        await world.advance()
        (held,) = (await amy.get(PORTS, device_id=server_id)).body["ports"]
        for answer in (await amy.put(f"{PORTS}/{held['id']}", {"port": {"name": "x"}}),
                       await amy.delete(f"{PORTS}/{held['id']}")):  # fmt: skip
            assert answer.status == 409
