"""What an image's properties say of the guest's hardware: Nova's names and values, and which of them are given here.

https://docs.openstack.org/glance/latest/admin/useful-image-properties.html. A property that is not in the table says
nothing of the hardware, and may be anything.

Some are looked at and have no effect, since the guest is the same without: the size of a picture's memory
(``hw_video_ram``), the bus of a drive that no guest has (``hw_floppy_bus``), what only makes virtio quicker
(``hw_virtio_packed_ring``), and where the hypervisor finds devices of its host, of which none are handed on
(``hw_pci_numa_affinity_policy``).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from domain.errors import Invalid, LightcurveError, Refused

X86_64 = "x86_64"
MAX_BYTES = 1 << 16
"""Of all properties of an image, names and values: they go into each of its servers, and from there into every row,
command and listing."""
MAX_SHOWN = 64
"""Characters of a value that a refusal repeats."""

_ARCHITECTURES = (
    "aarch64 alpha armv6 armv7 armv7b cris i686 ia64 lm32 loongarch64 m68k microblaze microblazeel mips mips64 "
    "mips64el mipsel openrisc parisc parisc64 ppc ppc64 ppc64le ppcemb ppcle riscv64 s390 s390x sh4 sh4eb sparc "
    "sparc64 unicore32 x86_64 xtensa xtensaeb"
)
"""Of processors, by libvirt's names."""
_OTHER_NAMES = dict.fromkeys(("i386", "i486", "i586", "x86_32", "x86_32p"), "i686")
_OTHER_NAMES |= {"amd64": X86_64, "arm64": "aarch64"}
_RUNS = {X86_64: ("i686",)}
"""What processors run beside programs of their own kind."""
_TRUTH = dict.fromkeys(("1", "t", "on", "y", "yes"), "true") | dict.fromkeys(("0", "f", "off", "n", "no"), "false")
_BUSES = "fdc ide lxc nvme sata scsi uml usb virtio xen"
_DISK_BUSES = "ide sata scsi usb virtio"


@dataclass(frozen=True, kw_only=True)
class Property:
    """The values of a property."""

    values: tuple[str, ...]
    here: frozenset[str] | None = None
    """Those that this cloud gives; None: all."""
    pattern: str | None = None
    """What is a value, too, beside those that have a name."""
    meaning: str = ""
    """That of the pattern, in words."""
    spellings: Mapping[str, str] = field(default_factory=dict)
    any_case: bool = False

    def read(self, text: str) -> str | None:
        """The value, spelled in the one way; None if it is none."""
        word = text.lower() if self.any_case else text
        word = self.spellings.get(word, word)
        named = word in self.values or (self.pattern is not None and re.fullmatch(self.pattern, word))
        return word if named else None

    def gives(self, value: str) -> bool:
        """Whether this cloud gives it."""
        return self.here is None or value in self.here


def _words(values: str, here: str | None = None, *, any_case: bool = False, **spellings: str) -> Property:
    """Words between blanks."""
    given = None if here is None else frozenset(here.split())
    return Property(values=tuple(values.split()), here=given, any_case=any_case, spellings=spellings)


def _flag(here: str | None = None) -> Property:
    """As oslo reads truth; but what is neither is refused, and not taken for false."""
    return _words("true false", here, any_case=True, **_TRUTH)


def _number(here: str | None = None) -> Property:
    """A natural number; ``here`` are those that this cloud gives, if not all."""
    return _pattern("[0-9]{1,9}", "a number", here)


def _pattern(pattern: str, meaning: str, here: str | None, named: str = "") -> Property:
    """Words between blanks, and what has a pattern."""
    given = None if here is None else frozenset(here.split())
    return Property(values=tuple(named.split()), pattern=pattern, meaning=meaning, here=given)


_ANYTHING = r"[\s\S]*"
_ARCHITECTURE = _words(_ARCHITECTURES, any_case=True, **_OTHER_NAMES)
_TOPOLOGY = _number("0")
"""Zero leaves the choice to the hypervisor. Here each processor is a socket of its own."""
_VERSIONED_MACHINE = r"(pc-(i440fx|q35)|pseries|s390-ccw-virtio|virt)-[a-z0-9.-]{1,32}"

PROPERTIES: dict[str, Property] = {
    # Obeyed: the architecture by the scheduler, the config drive when a server is created, the others by its host.
    "hw_architecture": _ARCHITECTURE,
    "hw_boot_menu": _flag(),
    "hw_cdrom_bus": _words(_BUSES, "ide sata scsi usb"),
    "hw_disk_bus": _words(_BUSES, _DISK_BUSES),
    "hw_input_bus": _words("usb virtio"),
    # Of those with a version each host's QEMU has others.
    "hw_machine_type": _pattern(
        _VERSIONED_MACHINE, "one with a version", "pc q35", "isapc microvm none pc pseries q35 s390-ccw-virtio virt"
    ),
    "hw_pmu": _flag(),
    "hw_pointer_model": _words("usbtablet"),
    "hw_qemu_guest_agent": _flag(),
    "hw_rescue_bus": _words(_BUSES, _DISK_BUSES),
    "hw_rescue_device": _words("cdrom disk floppy fs lun", "disk"),
    "hw_rng_model": _words("virtio"),
    "hw_scsi_model": _words(
        "buslogic ibmvscsi lsilogic lsisas1068 lsisas1078 virtio-scsi vmpvscsi",
        "lsilogic lsisas1068 lsisas1078 virtio-scsi vmpvscsi",
        any_case=True,
        lsilogicsas="lsisas1068",
        paravirtual="vmpvscsi",
    ),
    "hw_time_hpet": _flag(),
    "hw_usb_model": _words("nec-xhci qemu-xhci"),
    "hw_video_model": _words(
        "bochs cirrus gop none qxl vga virtio vmvga xen", "bochs cirrus none qxl vga virtio vmvga"
    ),
    "hw_vif_model": _words(
        "e1000 e1000e igb lan9118 ne2k_pci netfront pcnet rtl8139 spapr-vlan sriov virtio vmxnet vmxnet3",
        "e1000 e1000e ne2k_pci pcnet rtl8139 virtio vmxnet3",
        any_case=True,
        virtuale1000="e1000",
        virtuale1000e="e1000e",
        virtualpcnet32="pcnet",
        virtualsriovethernetcard="sriov",
        virtualvmxnet="vmxnet",
        virtualvmxnet3="vmxnet3",
    ),
    "hw_vif_multiqueue_enabled": _flag(),
    "hw_watchdog_action": _words("disabled none pause poweroff reset"),
    "img_config_drive": _words("mandatory optional"),
    "os_type": _words("linux windows", any_case=True),
    # What is given here, every guest has; nothing else can be had.
    "hw_cpu_cores": _TOPOLOGY,
    "hw_cpu_max_cores": _TOPOLOGY,
    "hw_cpu_max_sockets": _TOPOLOGY,
    "hw_cpu_max_threads": _TOPOLOGY,
    "hw_cpu_policy": _words("dedicated mixed shared", "shared"),
    "hw_cpu_realtime_mask": _pattern(_ANYTHING, "a list of processors", ""),
    "hw_cpu_sockets": _TOPOLOGY,
    "hw_cpu_thread_policy": _words("isolate prefer require", "prefer"),
    "hw_cpu_threads": _TOPOLOGY,
    "hw_emulation_architecture": _words(_ARCHITECTURES, X86_64, any_case=True, **_OTHER_NAMES),
    "hw_emulator_threads_policy": _words("isolate share", "share"),
    "hw_ephemeral_encryption": _flag("false"),
    "hw_firmware_stateless": _flag("false"),
    "hw_firmware_type": _words("bios uefi", "bios"),
    "hw_hide_hypervisor_id": _flag("false"),
    "hw_locked_memory": _flag("false"),
    "hw_maxphysaddr_bits": _number(""),
    "hw_maxphysaddr_mode": _words("emulate passthrough", ""),
    "hw_mem_encryption": _flag("false"),
    "hw_mem_page_size": _pattern("[0-9]{1,9}([KMGT]i?[Bb]?)?", "a size", "any small", "any large small"),
    "hw_numa_nodes": _number("1"),
    "hw_redirected_usb_ports": _number("0"),
    "hw_serial_port_count": _number("1"),
    "hw_sound_model": _words("ac97 es1370 ich6 ich9 pcspk sb16 usb virtio", ""),
    "hw_tpm_model": _words("tpm-crb tpm-tis", ""),
    "hw_tpm_version": _words("1.2 2.0", ""),
    "hw_viommu_model": _words("auto intel none smmuv3 virtio", "none"),
    "hw_vm_mode": _words("exe hvm uml xen", "hvm", any_case=True, baremetal="hvm", hv="hvm", pv="xen"),
    "img_hv_requested_version": _pattern(_ANYTHING, "versions of a hypervisor", ""),
    "img_hv_type": _words(
        "baremetal bhyve docker fake hyperv ironic kqemu kvm lxc lxd openvz parallels phyp prsm qemu test uml vbox "
        "vmware vz xen zvm",
        "kvm qemu",
        any_case=True,
        xapi="xen",
    ),
    "os_secure_boot": _words("disabled optional required", "disabled optional"),
    # Without effect; see above.
    "hw_floppy_bus": _words(_BUSES),
    "hw_pci_numa_affinity_policy": _words("legacy preferred required socket"),
    "hw_video_ram": _number(),
    "hw_virtio_packed_ring": _flag(),
}
FAMILIES = {
    "hw_numa_cpus.": _pattern(_ANYTHING, "a list of processors", ""),
    "hw_numa_mem.": _number(""),
    "trait:": _words("required", ""),
}
"""Properties of which there are many, by how their names begin."""
OLD_NAMES = {
    "architecture": "hw_architecture",
    "hypervisor_type": "img_hv_type",
    "hypervisor_version_requires": "img_hv_requested_version",
    "vm_mode": "hw_vm_mode",
}
"""Where an image has both names, the newer one counts."""


def size(properties: Mapping[str, str]) -> int:
    """The bytes of all properties."""
    return sum(len(part.encode()) for item in properties.items() for part in item)


def check(properties: Mapping[str, str]) -> None:
    """Raise Invalid for a value that a property does not have, and Refused (400) for hardware that is not given
    here: the guest would be another than was asked for."""
    for name, text in properties.items():
        if found := _find(name):
            value = found.read(text)
            if value is None:
                raise _invalid(name, text, found)
            if not found.gives(value):
                raise _not_given(f"Image property {name} {text[:MAX_SHOWN]!r}", found)
    read = hardware(properties)
    on_ide = [name for name in ("hw_disk_bus", "hw_cdrom_bus", "hw_rescue_bus") if read.get(name) == "ide"]
    if on_ide and read.get("hw_machine_type") == "q35":
        raise _not_given(f"Image property {on_ide[0]} 'ide' on the machine type q35, which has no IDE,")


def hardware(properties: Mapping[str, str]) -> dict[str, str]:
    """What the image asks for and is given, by the newer names. What ``check`` refuses is left out: older events may
    say anything, and no host fails for it."""
    newer = {OLD_NAMES[name]: text for name, text in properties.items() if name in OLD_NAMES}
    return dict(_given({**newer, **properties}))


def architecture(properties: Mapping[str, str]) -> str | None:
    """The processor that the image is made for, if it says so."""
    text = properties.get("hw_architecture", properties.get("architecture"))
    return None if text is None else known_architecture(text)


def known_architecture(name: str) -> str | None:
    """The architecture of that name, by libvirt's; None if there is none."""
    return _ARCHITECTURE.read(name)


def runs_on(wanted: str | None, host: str) -> bool:
    """Whether a host of an architecture runs what is made for ``wanted``; None is made for any."""
    return wanted in (None, host) or wanted in _RUNS.get(host, ())


def _given(properties: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, text in properties.items():
        found = PROPERTIES.get(name)
        value = found.read(text) if found else None
        if found and value is not None and found.gives(value):
            yield name, value


def _find(name: str) -> Property | None:
    found = PROPERTIES.get(OLD_NAMES.get(name, name))
    return found or next((family for start, family in FAMILIES.items() if name.startswith(start)), None)


def _invalid(name: str, text: str, found: Property) -> LightcurveError:
    possible = ", ".join((*found.values, *((found.meaning,) if found.meaning else ())))
    return Invalid(f"Invalid image metadata. Error: {name} {text[:MAX_SHOWN]!r} is none of: {possible}.")


def _not_given(what: str, found: Property | None = None) -> LightcurveError:
    instead = f" It gives: {', '.join(sorted(found.here))}." if found and found.here else ""
    return Refused("image.not_supported", f"{what} is not supported by this cloud.{instead}", status=400)
