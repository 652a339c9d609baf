"""What an image asks of the guest's hardware, in the guest's definition, at libvirt's and inside of a guest."""

import dataclasses
import os
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree as ET

import libvirt
import msgspec
import pytest

from adapters.libvirt.domain_xml import HostFacts, domain_xml
from domain.guest import GuestSpec, ImageSource
from domain.image_properties import PROPERTIES, check
from tests.adapters.libvirt.test_domain_xml import GOLDEN, HOST, SPEC
from tests.adapters.libvirt.test_life import boot_lines, console, prompt
from tests.aio import asynchronous
from tests.real_libvirt import LocalImages, blank_disk, guest_spec, hypervisor, nic, tiny_disk
from tests.waiting import until

DRIVE = dataclasses.replace(HOST, config_drive=Path("/srv/state/instances/x/config-drive.img"))
RESCUE = dataclasses.replace(DRIVE, rescue_disk=Path("/srv/state/instances/x/rescue.qcow2"))


def spec_of(rescue: dict[str, str] | None = None, /, **properties: str) -> GuestSpec:
    image = ImageSource(id="an-image", disk_format="qcow2", checksum="00", properties=properties)
    return msgspec.structs.replace(
        SPEC, image=image, rescue_image=None if rescue is None else _with(image, properties=rescue)
    )


def _with(image: ImageSource, **changes: Any) -> ImageSource:
    return msgspec.structs.replace(image, **changes)


def document(host: HostFacts, rescue: dict[str, str] | None = None, /, **properties: str) -> ET.Element:
    return ET.fromstring(domain_xml(spec_of(rescue, **properties), host))


def drives(domain: ET.Element) -> list[tuple[str | None, str | None]]:
    return [(target.get("dev"), target.get("bus")) for target in domain.iterfind("devices/disk/target")]


@pytest.mark.parametrize(
    ("properties", "machine", "expected"),
    [
        ({}, "q35", [("vda", "virtio"), ("sda", "scsi")]),
        ({"hw_disk_bus": "scsi"}, "q35", [("sda", "scsi"), ("sdb", "scsi")]),
        ({"hw_disk_bus": "sata", "hw_cdrom_bus": "sata"}, "q35", [("sda", "sata"), ("sdb", "sata")]),
        ({"hw_disk_bus": "usb"}, "q35", [("sda", "usb"), ("sdb", "scsi")]),
        ({"hw_disk_bus": "ide", "hw_cdrom_bus": "ide"}, "pc", [("hda", "ide"), ("hdb", "ide")]),
        ({"hw_cdrom_bus": "ide"}, "pc", [("vda", "virtio"), ("hda", "ide")]),
        ({"hw_machine_type": "pc"}, "pc", [("vda", "virtio"), ("sda", "scsi")]),
    ],
)
def test_the_buses_of_drives(properties: dict[str, str], machine: str, expected: list[tuple[str, str]]) -> None:
    domain = document(DRIVE, **properties)
    assert drives(domain) == expected
    kind = domain.find("os/type")
    assert kind is not None
    assert kind.get("machine") == machine
    usb = domain.find("devices/controller[@type='usb']")
    assert usb is not None
    assert usb.get("model") == ("qemu-xhci" if "usb" in properties.values() else "none")


def test_a_config_drive_that_is_a_disk_is_on_the_bus_of_disks() -> None:
    vfat = dataclasses.replace(DRIVE, config_drive_format="vfat")
    assert drives(document(vfat)) == [("vda", "virtio"), ("vdz", "virtio")]
    assert drives(document(vfat, hw_disk_bus="ide")) == [("hda", "ide"), ("hdb", "ide")]


def test_a_rescue_has_the_hardware_of_what_it_starts_from_and_the_disk_its_own_bus() -> None:
    own = {"hw_disk_bus": "sata", "hw_vif_model": "e1000"}
    assert drives(document(RESCUE, {}, **own)) == [("vda", "virtio"), ("sda", "sata"), ("sdb", "scsi")]
    assert drives(document(RESCUE, {"hw_disk_bus": "sata"}, **own))[:2] == [("sda", "sata"), ("sdb", "sata")]
    assert drives(document(RESCUE, {"hw_rescue_bus": "usb"}, **own))[:2] == [("sda", "usb"), ("sdb", "sata")]
    (model,) = document(RESCUE, {}, **own).iterfind("devices/interface/model")
    assert model.get("type") == "virtio"
    # Even if its image wants a machine on which the own disk would not be found.
    domain = document(RESCUE, {"hw_machine_type": "q35"}, hw_disk_bus="ide")
    assert domain.find("os/type[@machine='pc']") is not None


@pytest.mark.parametrize(
    ("name", "value", "place", "attribute"),
    [
        ("hw_boot_menu", "yes", "os/bootmenu", "enable"),
        ("hw_input_bus", "usb", "devices/input", "bus"),
        ("hw_time_hpet", "yes", "clock/timer[@name='hpet']", "present"),
        ("hw_usb_model", "nec-xhci", "devices/controller[@type='usb']", "model"),
        ("hw_video_model", "cirrus", "devices/video/model", "type"),
        ("hw_vif_model", "e1000", "devices/interface/model", "type"),
        ("hw_watchdog_action", "reset", "devices/watchdog", "action"),
    ],
)
def test_what_is_asked_for_stands_in_the_definition(name: str, value: str, place: str, attribute: str) -> None:
    assert [found.get(attribute) for found in document(HOST, **{name: value}).iterfind(place)] == [value]
    without = [found.get(attribute) for found in document(HOST).iterfind(place)]
    assert without != [value]


def test_the_other_things_that_an_image_asks_for() -> None:
    asked = {
        "hw_pointer_model": "usbtablet", "hw_qemu_guest_agent": "yes", "hw_pmu": "no", "os_type": "Windows",
        "hw_disk_bus": "scsi", "hw_scsi_model": "lsilogic", "hw_vif_multiqueue_enabled": "true",
    }  # fmt: skip
    domain = document(HOST, **asked)
    for place in (
        "devices/input[@bus='usb']",
        "devices/channel/target[@name='org.qemu.guest_agent.0']",
        "features/pmu[@state='off']",
        "clock[@offset='localtime']",
        "devices/controller[@model='lsilogic']",
        "devices/interface/driver[@queues='2']",
    ):
        assert domain.find(place) is not None, place
        assert document(HOST).find(place) is None, place


def test_a_qxl_is_a_vga_where_there_is_no_spice() -> None:
    for spice, model in ((None, "vga"), ("any", "qxl")):
        host = dataclasses.replace(HOST, spice=spice)  # type: ignore[arg-type]
        (found,) = document(host, hw_video_model="qxl").iterfind("devices/video/model")
        assert found.get("type") == model


def test_what_no_door_lets_in_today_changes_nothing() -> None:
    """Servers from before may have it in their image."""
    nonsense = dict.fromkeys(PROPERTIES, "\N{SNOWMAN}") | {"hw_disk_bus": "xen", "hw_machine_type": "pc-q35-99.0"}
    assert domain_xml(spec_of(**nonsense), HOST) + "\n" == GOLDEN.read_text()


def combinations(machine: str) -> Iterator[dict[str, str]]:
    """Every value that is given here of every property, in as few guests as there are values of one."""
    known = {name: each.values if each.here is None else sorted(each.here) for name, each in PROPERTIES.items()}
    values = {name: each for name, each in known.items() if each} | {"hw_architecture": ["x86_64"]}
    turning = {name: cycle(each) for name, each in values.items()}
    for _ in range(max(map(len, values.values()))):
        properties = {name: next(each) for name, each in turning.items()} | {"hw_machine_type": machine}
        if machine == "q35":
            properties = {name: "sata" if value == "ide" else value for name, value in properties.items()}
        check(properties)
        yield properties


@pytest.mark.libvirt
@pytest.mark.usefixtures("libvirtd")
@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_libvirt_starts_whatever_is_given(tmp_path: Path, machine: str) -> None:
    """With the processors standing still: it is QEMU that would refuse a device."""
    screens: Iterator[Any] = cycle(["any", None])
    conn = libvirt.open("qemu:///system")
    for path in (disk := tmp_path / "disk.qcow2", drive := tmp_path / "drive.img"):
        blank_disk(tmp_path).rename(path)
        path.chmod(0o666)
    tmp_path.chmod(0o755)
    for properties in combinations(machine):
        host = dataclasses.replace(
            DRIVE, disk=disk, config_drive=drive, console_log=tmp_path / "console.log", spice=next(screens)
        )
        spec = msgspec.structs.replace(spec_of(**properties), server_id=str(uuid4()))
        # There is no bridge here.
        text = domain_xml(spec, host).replace('type="bridge"', 'type="ethernet"')
        text = text.replace('<source bridge="lcbr0123456789" />', "")
        domain = conn.createXML(text, libvirt.VIR_DOMAIN_START_PAUSED | libvirt.VIR_DOMAIN_START_VALIDATE)
        domain.destroy()
    conn.close()


@pytest.mark.libvirt
@pytest.mark.usefixtures("libvirtd")
@asynchronous
async def test_a_guest_finds_the_hardware_that_its_image_asks_for(tmp_path: Path) -> None:
    """Its kernel has drivers for neither the network card nor the disk, but its firmware starts it from the disk."""
    images = LocalImages()
    agent = hypervisor(tmp_path, images)
    image = _with(images.add(tiny_disk()), properties={"hw_disk_bus": "ide", "hw_vif_model": "e1000"})
    spec = guest_spec(image, nic(str(uuid4()), 7))
    try:
        await agent.build(spec)
        await boot_lines(agent, spec, 1)
        await prompt(agent, spec)
        with console(spec) as terminal:
            os.write(terminal, b"grep -h PCI_ID /sys/bus/pci/devices/*/uevent\n")

            async def told() -> bool:
                said = await agent.console_log(spec.server_id, None)
                # The card, and the chip of the older machine that has IDE.
                return {"PCI_ID=8086:100E", "PCI_ID=8086:7010"} <= set(said.split())

            await until(told)
    finally:
        await agent.destroy(spec.server_id)
