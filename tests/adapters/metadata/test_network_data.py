"""What a guest is told of its interfaces."""

import msgspec

from adapters.metadata.openstack_tree import network_data
from tests.projections.histories import nic


def test_what_dhcp_tells_is_not_told_twice() -> None:
    (plain,) = nic("10.5.0.1")
    served = msgspec.structs.replace(plain, dhcp_ip="10.5.0.2", mtu=1400)
    links = network_data((plain, served))["links"]
    assert [link["mtu"] for link in links] == [plain.mtu, None]
