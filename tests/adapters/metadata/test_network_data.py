"""What a guest is told of its interfaces."""

import msgspec

from adapters.metadata.openstack_tree import network_data
from domain.guest import Route
from tests.projections.histories import nic


def test_what_dhcp_tells_is_not_told_twice() -> None:
    (plain,) = nic("10.5.0.1")
    served = msgspec.structs.replace(plain, dhcp_ip="10.5.0.2", mtu=1400)
    links = network_data((plain, served))["links"]
    assert [link["mtu"] for link in links] == [plain.mtu, None]


def test_where_nobody_tells_by_dhcp_the_ways_are_told_here() -> None:
    (plain,) = nic("10.5.0.1")
    routed = msgspec.structs.replace(
        plain, gateway_ip="10.5.0.254", host_routes=(Route("10.9.0.0/16", "10.5.0.253"),)
    )
    (network,) = network_data((routed,))["networks"]
    assert network["routes"] == [
        {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.5.0.254"},
        {"network": "10.9.0.0", "netmask": "255.255.0.0", "gateway": "10.5.0.253"},
    ]
