"""What the tree says of a guest's disks."""

import pytest
from msgspec.structs import replace

from adapters.metadata.ec2_tree import meta_data
from domain.server.state import existing
from tests.domain.server.servers import SERVER_ID, given


@pytest.mark.parametrize(("ephemeral_gb", "swap_mb", "further"), [
    (0, 0, {}), (1, 0, {"ephemeral0": "/dev/vdb"}), (0, 1, {"swap": "/dev/vdb"}),
    (1, 1, {"ephemeral0": "/dev/vdb", "swap": "/dev/vdc"}),
])  # fmt: skip
def test_disks_stand_in_the_order_in_which_the_guest_has_them(
    ephemeral_gb: int, swap_mb: int, further: dict[str, str]
) -> None:
    server = existing(given("active"), SERVER_ID)
    server = replace(server, flavor=replace(server.flavor, ephemeral_gb=ephemeral_gb, swap_mb=swap_mb))
    assert meta_data(server)["block-device-mapping"] == {"ami": "vda", "root": "/dev/vda"} | further
