"""What an image may say of the guest's hardware."""

import pytest

from domain.errors import Invalid, Refused
from domain.image_properties import FAMILIES, PROPERTIES, Property, architecture, check, hardware, runs_on


@pytest.mark.parametrize(("name", "rule"), PROPERTIES.items())
def test_each_value_is_taken_or_refused_as_its_row_says(name: str, rule: Property) -> None:
    for value in rule.values:
        if rule.here is None or value in rule.here:
            check({name: value})
            assert hardware({name: value}) == {name: value}
        else:
            with pytest.raises(
                Refused, match=f"^Image property {name} '.*' is not supported by this cloud"
            ) as refusal:
                check({name: value})
            assert refusal.value.status == 400
            assert hardware({name: value}) == {}
    for given in rule.here or ():
        assert rule.read(given) == given


@pytest.mark.parametrize("nonsense", ["", "foo", "\N{SNOWMAN}", "virtio ", "ide\n", "\0"])
@pytest.mark.parametrize("name", PROPERTIES)
def test_nonsense_is_refused_in_every_property(name: str, nonsense: str) -> None:
    anything = PROPERTIES[name].read("\N{SNOWMAN}") is not None
    with pytest.raises((Invalid, Refused)) as refusal:
        check({name: nonsense})
    assert refusal.value.status == 400
    assert isinstance(refusal.value, Invalid) is not anything
    assert hardware({name: nonsense}) == {}


def test_a_refusal_names_the_property_and_its_values_and_repeats_little() -> None:
    with pytest.raises(Invalid) as refusal:
        check({"hw_disk_bus": "x" * 65_535})
    assert refusal.value.message == (
        f"Invalid image metadata. Error: hw_disk_bus {'x' * 64!r} is none of: "
        "fdc, ide, lxc, nvme, sata, scsi, uml, usb, virtio, xen."
    )
    with pytest.raises(Refused) as unsupported:
        check({"hw_machine_type": "pc-q35-8.2"})
    assert unsupported.value.message == (
        "Image property hw_machine_type 'pc-q35-8.2' is not supported by this cloud. It gives: pc, q35."
    )


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("hw_vif_model", "VirtualE1000", {"hw_vif_model": "e1000"}),
        ("hw_scsi_model", "paraVirtual", {"hw_scsi_model": "vmpvscsi"}),
        ("hw_qemu_guest_agent", "Yes", {"hw_qemu_guest_agent": "true"}),
        ("hw_boot_menu", "0", {"hw_boot_menu": "false"}),
        ("vm_mode", "hv", {"hw_vm_mode": "hvm"}),
        ("architecture", "AMD64", {"hw_architecture": "x86_64"}),
        ("hypervisor_type", "QEMU", {"img_hv_type": "qemu"}),
        ("os_type", "Windows", {"os_type": "windows"}),
    ],
)
def test_other_spellings_and_older_names(name: str, text: str, read: dict[str, str]) -> None:
    check({name: text})
    assert hardware({name: text}) == read


def test_older_names_are_looked_at_and_newer_ones_count() -> None:
    assert hardware({"hw_vm_mode": "hvm", "vm_mode": "xen"}) == {"hw_vm_mode": "hvm"}
    with pytest.raises(Refused):
        check({"vm_mode": "xen"})
    with pytest.raises(Invalid, match="vm_mode 'none-such'"):
        check({"vm_mode": "none-such"})


@pytest.mark.parametrize("name", [f"{start}0" for start in FAMILIES])
def test_families(name: str) -> None:
    for value in ("1", "required", ""):
        with pytest.raises((Invalid, Refused)):
            check({name: value})


def test_what_says_nothing_of_the_hardware_may_be_anything() -> None:
    said = {"os_distro": "\N{SNOWMAN}", "hw_": "", "hw_disk_type": "thick", "my_hw_disk_bus": "foo", "traits": "x"}
    check(said)
    assert hardware(said) == {}


@pytest.mark.parametrize("name", ["hw_disk_bus", "hw_cdrom_bus", "hw_rescue_bus"])
def test_there_is_no_ide_on_the_newer_machine(name: str) -> None:
    check({name: "ide"})
    check({name: "ide", "hw_machine_type": "pc"})
    with pytest.raises(Refused, match="q35"):
        check({name: "ide", "hw_machine_type": "q35"})


@pytest.mark.parametrize(
    ("properties", "wanted", "hosts"),
    [
        ({}, None, {"x86_64", "aarch64"}),
        ({"hw_architecture": "x86_64"}, "x86_64", {"x86_64"}),
        ({"architecture": "arm64"}, "aarch64", {"aarch64"}),
        ({"hw_architecture": "i386"}, "i686", {"x86_64"}),
        ({"hw_architecture": "x86_64", "architecture": "aarch64"}, "x86_64", {"x86_64"}),
        ({"hw_architecture": "foo"}, None, {"x86_64", "aarch64"}),
    ],
)
def test_architectures(properties: dict[str, str], wanted: str | None, hosts: set[str]) -> None:
    assert architecture(properties) == wanted
    assert {host for host in ("x86_64", "aarch64") if runs_on(wanted, host)} == hosts
