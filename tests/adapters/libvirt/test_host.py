"""What a host finds out about itself."""

from pathlib import Path

import pytest

from adapters.libvirt.host import describe
from adapters.libvirt.settings import LibvirtSettings
from domain.errors import HostFailed

OFFERS = "<enum name='type'><value>vnc</value><value>{0}</value></enum>"
CAPABILITIES = (
    "<domainCapabilities><devices><graphics>{0}</graphics><video>{1}</video></devices></domainCapabilities>"
)


class Libvirt:
    """A libvirtd whose QEMU offers some kinds of screens and video devices."""

    def __init__(self, graphics: str, video: str) -> None:
        self._capabilities = CAPABILITIES.format(OFFERS.format(graphics), OFFERS.format(video))

    def getDomainCapabilities(self, *_: object) -> str:  # noqa: N802
        return self._capabilities

    def getCapabilities(self) -> str:  # noqa: N802
        return "<capabilities><host/></capabilities>"

    def getType(self) -> str:  # noqa: N802
        return "QEMU"

    def getVersion(self) -> int:  # noqa: N802
        return 7002022


@pytest.mark.parametrize(("graphics", "video"), [("dbus", "qxl"), ("spice", "virtio")])
def test_a_qemu_without_spice(tmp_path: Path, graphics: str, video: str) -> None:
    conn = Libvirt(graphics, video)
    with pytest.raises(HostFailed, match="qemu-system-modules-spice"):
        describe(conn, LibvirtSettings(host_name="node1", state_dir=tmp_path, spice="any"))
    assert describe(conn, LibvirtSettings(host_name="node1", state_dir=tmp_path)).name == "node1"


def test_a_qemu_with_spice(tmp_path: Path) -> None:
    settings = LibvirtSettings(host_name="node1", state_dir=tmp_path, spice="any")
    assert describe(Libvirt("spice", "qxl"), settings).name == "node1"
