"""What a guest is made of: what its image asks for, and else what is quickest."""

from dataclasses import dataclass

from domain.guest import GuestSpec
from domain.image_properties import hardware

PC, Q35 = "pc", "q35"
MAX_QUEUES = 16
"""Of a network interface: each is a file and a thread of the host."""
_LETTERS = {"virtio": "vd", "ide": "hd"}


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Devices by libvirt's names."""

    machine: str
    disk_bus: str
    rescue_bus: str
    cdrom_bus: str
    scsi_model: str
    vif_model: str
    vif_queues: int
    """More than one: a queue for each processor."""
    video_model: str | None
    """None: as the screens need it."""
    tablet_bus: str
    usb_model: str
    """``none`` where nothing is on USB."""
    watchdog: str | None
    """What it does to a guest that has forgotten it; None: there is none."""
    guest_agent: bool
    boot_menu: bool
    hpet: bool
    pmu: bool | None
    """Whether the guest can count what its processors do; None: as the CPU model has it."""
    local_time: bool
    """Whether the guest takes the clock of the machine for local time."""


def hardware_of(spec: GuestSpec) -> Hardware:
    """By the image that the guest starts from; of its own, while it is rescued, only the bus of its own disk."""
    starts_from = spec.rescue_image or spec.image
    said = hardware(starts_from.properties) if starts_from else {}
    own = hardware(spec.image.properties) if spec.image else {}
    disk_bus = own.get("hw_disk_bus", "virtio")
    rescue_bus = said.get("hw_rescue_bus", said.get("hw_disk_bus", "virtio"))
    # Kernels made for clouds have no driver for q35's SATA.
    cdrom_bus = said.get("hw_cdrom_bus", "scsi")
    buses = {disk_bus, cdrom_bus, rescue_bus if spec.rescue_image else disk_bus}
    tablet_bus = "usb" if "hw_pointer_model" in said else said.get("hw_input_bus", "virtio")
    vif_model = said.get("hw_vif_model", "virtio")
    many_queues = said.get("hw_vif_multiqueue_enabled") == "true" and vif_model == "virtio"
    watchdog = said.get("hw_watchdog_action", "disabled")
    usb = "usb" in buses | {tablet_bus}
    return Hardware(
        # Only the older machine has IDE.
        machine=PC if "ide" in buses else said.get("hw_machine_type", Q35),
        disk_bus=disk_bus,
        rescue_bus=rescue_bus,
        cdrom_bus=cdrom_bus,
        scsi_model=said.get("hw_scsi_model", "virtio-scsi"),
        vif_model=vif_model,
        vif_queues=min(spec.vcpus, MAX_QUEUES) if many_queues else 1,
        video_model=said.get("hw_video_model"),
        tablet_bus=tablet_bus,
        usb_model=said.get("hw_usb_model", "qemu-xhci" if usb else "none"),
        watchdog=None if watchdog == "disabled" else watchdog,
        guest_agent=said.get("hw_qemu_guest_agent") == "true",
        boot_menu=said.get("hw_boot_menu") == "true",
        hpet=said.get("hw_time_hpet") == "true",
        pmu=said["hw_pmu"] == "true" if "hw_pmu" in said else None,
        local_time=said.get("os_type") == "windows",
    )


class DriveLetters:
    """Gives each drive of a guest a name that no other has."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def take(self, bus: str) -> str:
        """As ``vda``: the next of those on the bus."""
        prefix = _LETTERS.get(bus, "sd")
        number = self._next.get(prefix, 0)
        self._next[prefix] = number + 1
        return f"{prefix}{chr(ord('a') + number)}"
