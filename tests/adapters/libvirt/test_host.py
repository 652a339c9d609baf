"""What a host finds out about itself."""

import os
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

    security = ""
    processor = "<arch>x86_64</arch>"

    def getDomainCapabilities(self, *_: object) -> str:  # noqa: N802
        return self._capabilities

    def getCapabilities(self) -> str:  # noqa: N802
        return f"<capabilities><host><cpu>{self.processor}</cpu>{self.security}</host></capabilities>"

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


@pytest.mark.parametrize(
    ("said", "architecture"),
    [("<arch>x86_64</arch>", "x86_64"), ("<arch>arm64</arch>", "aarch64"), ("<arch>new</arch>", "new")],
)
def test_the_architecture(tmp_path: Path, said: str, architecture: str) -> None:
    conn = Libvirt("vnc", "vga")
    conn.processor = said
    description = describe(conn, LibvirtSettings(host_name="node1", state_dir=tmp_path))
    assert description.architecture == architecture


SECURITY = "<secmodel><model>selinux</model><baselabel type='kvm'>system_u</baselabel></secmodel>"
AS_NOBODY = SECURITY + "<secmodel><model>dac</model><baselabel type='kvm'>+65534:+65534</baselabel></secmodel>"


@pytest.mark.parametrize(("security", "mode", "group"), [(AS_NOBODY, 0o710, 65534), (SECURITY, 0o711, None)])
def test_only_the_group_of_qemu_gets_to_guests_and_images(
    tmp_path: Path, security: str, mode: int, group: int | None
) -> None:
    conn = Libvirt("vnc", "vga")
    conn.security = security
    settings = LibvirtSettings(host_name="node1", state_dir=tmp_path / "state")
    before = os.umask(0o077)
    try:
        for _ in range(2):
            describe(conn, settings)
            assert settings.state_dir.stat().st_mode & 0o777 == 0o711
            for directory in (settings.instances_dir, settings.images_dir):
                found = directory.stat()
                assert found.st_mode & 0o777 == mode
                assert found.st_gid == (group if group is not None else tmp_path.stat().st_gid)
                directory.chmod(0o755)
    finally:
        os.umask(before)
