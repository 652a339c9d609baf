"""The definition of a guest."""

import dataclasses
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt
import msgspec
import pytest

from adapters.libvirt.domain_xml import HostFacts, Identity, domain_xml, read_identity
from domain.guest import GuestSpec, ImageSource, Nic

GOLDEN = Path(__file__).parent / "golden_domain.xml"

NIC = Nic(
    port_id="5a3c1f7e-8a31-4b5e-9f0e-2f1f5f2a7c11",
    network_id="net-1",
    network_name="private",
    mac_address="fa:16:3e:00:00:01",
    ip_address="10.0.0.5",
    cidr="10.0.0.0/24",
)
SPEC = GuestSpec(
    server_id="0d7f2c0a-6f8e-4c1d-8a53-0b7d2c6f9e10",
    epoch=3,
    name="web1",
    project_id="a-project",
    user_id="a-user",
    flavor_id="1",
    flavor_name="m1.tiny",
    vcpus=2,
    ram_mb=512,
    disk_gb=1,
    image=ImageSource(id="an-image", disk_format="qcow2", checksum="00"),
    nics=(NIC,),
)
HOST = HostFacts(
    home="/srv/state",
    virt_type="qemu",
    cpu="Nehalem",
    disk=Path("/srv/state/instances/x/disk.qcow2"),
    console_log=Path("/srv/state/instances/x/console.log"),
    bridges={"net-1": "lcbr0123456789", "net-2": "lcbr9876543210"},
)


def test_golden() -> None:
    """The text that running guests have. What changes it changes guests at their next start: look twice."""
    assert domain_xml(SPEC, HOST) + "\n" == GOLDEN.read_text()


def test_it_says_whose_it_is() -> None:
    metadata = domain_xml(SPEC, HOST).split("<metadata>")[1].split("</metadata>")[0]
    metadata = metadata.replace("lightcurve:", "")
    assert read_identity(metadata) == Identity("/srv/state", SPEC.server_id, 3)


@pytest.mark.parametrize("foreign", ["", "<instance/>", '<instance server="a" home="b" epoch="x"/>', "not xml"])
def test_what_others_wrote_is_not_ours(foreign: str) -> None:
    assert read_identity(foreign) is None


@pytest.mark.libvirt
@pytest.mark.usefixtures("libvirtd")
@pytest.mark.parametrize("name", ["</name><evil/>", "&amp; \"'", "nul \x00 escape \x1b", "½ 日本 🌟", " "])
@pytest.mark.parametrize("cpu", ["Nehalem", "host-model", "host-passthrough"])
def test_libvirt_takes_any_name(name: str, cpu: str) -> None:
    """By its schema and by its driver: unknown elements, too, are refused."""
    second = msgspec.structs.replace(NIC, port_id="6b", network_id="net-2", mac_address="fa:16:3e:00:00:02")
    spec = msgspec.structs.replace(SPEC, name=name, flavor_name=name, nics=(NIC, second))
    virt_type = "qemu" if cpu == "Nehalem" else "kvm"
    document = domain_xml(spec, dataclasses.replace(HOST, cpu=cpu, virt_type=virt_type))
    conn = libvirt.open("qemu:///system")
    domain = conn.defineXMLFlags(document, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    domain.undefine()
    with pytest.raises(libvirt.libvirtError):
        conn.defineXMLFlags(document.replace("<devices>", "<devices><evil/>"), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    conn.close()


@pytest.mark.libvirt
@pytest.mark.usefixtures("libvirtd")
def test_spice_comes_beside_everything_else() -> None:
    """A guest's network interface has its name by its place: turning SPICE on must not rename it."""
    drive = dataclasses.replace(HOST, config_drive=Path("/srv/state/instances/x/config-drive.img"))
    for host in (HOST, drive):
        without = _places(domain_xml(SPEC, host))
        for mode, listen in (("any", None), ("secure", "127.0.0.1")):
            spice = dataclasses.replace(host, spice=mode, screens_listen=listen)  # type: ignore[arg-type]
            beside = _places(domain_xml(SPEC, spice))
            assert without.items() <= beside.items()
            assert {device for device, _ in beside.keys() - without.keys()} == {"controller"}


def _places(document: str) -> dict[tuple[str, str], str]:
    """Where libvirt puts the devices of a machine that it has not seen before, by kind and name."""
    conn = libvirt.open("qemu:///system")
    domain = conn.defineXMLFlags(document, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    devices = ET.fromstring(domain.XMLDesc()).iterfind("devices/*")
    domain.undefine()
    conn.close()
    slots = ((device, device.find("address[@type='pci']")) for device in devices)
    return {(device.tag, _name(device)): str(slot.attrib) for device, slot in slots if slot is not None}


def _name(device: ET.Element) -> str:
    return f"{device.get('type')}{device.get('index')}{device.get('model')}"


def disks(spec: GuestSpec, **facts: object) -> list[tuple[str | None, str | None]]:
    """The guest's disks: where they are, and their names in the guest."""
    host = dataclasses.replace(HOST, **facts)
    found = ET.fromstring(domain_xml(spec, host)).iterfind("devices/disk")
    return [(disk.find("source").get("file"), disk.find("target").get("dev")) for disk in found]  # type: ignore[union-attr]


def test_further_disks_come_behind_the_root_disk() -> None:
    further = {"ephemeral": Path("/e"), "swap": Path("/s")}
    root = str(HOST.disk)
    assert disks(SPEC, **further) == [(root, "vda"), ("/e", "vdb"), ("/s", "vdc")]
    assert disks(SPEC, swap=Path("/s")) == [(root, "vda"), ("/s", "vdb")]
    # As in Nova a rescue has its own system and the disk that shall be saved.
    assert disks(SPEC, **further, rescue_disk=Path("/r")) == [("/r", "vda"), (root, "vdb")]
