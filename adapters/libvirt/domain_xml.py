"""A guest as libvirt wants it told. Pure: the same guest on the same host always gives the same text.

Format: https://libvirt.org/formatdomain.html.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple
from xml.etree import ElementTree as ET

from adapters.libvirt.hardware import Q35, DriveLetters, Hardware, hardware_of
from domain.guest import GuestSpec, Nic

INSTANCE_NAMESPACE = "urn:lightcurve:instance:1"
INSTANCE_PREFIX = "lightcurve"
NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SpiceMode = Literal["any", "secure"]
"""Whether a SPICE screen's channels may go in the clear; libvirt's ``defaultMode``."""
HOTPLUG_PORTS = 8
"""A q35 machine has no free slot unless it is given some when it is made."""


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """What the host adds to the guest."""

    home: str
    virt_type: str
    cpu: str
    screens_listen: str | None = None
    """The address at which screens are reached by TLS; None: they are on sockets that root alone can open."""
    disk: Path
    ephemeral: Path | None = None
    swap: Path | None = None
    rescue_disk: Path | None = None
    """What the guest starts from instead, if it is being rescued."""
    console_log: Path
    bridges: dict[str, str]
    """The bridge of each network, by the network's id."""
    config_drive: Path | None = None
    config_drive_format: str = "iso9660"
    spice: SpiceMode | None = None
    """None: there is a VNC screen only."""


class Identity(NamedTuple):
    """Whose domain it is, as its metadata element says."""

    home: str
    server_id: str
    epoch: int


def tap_name(port_id: str) -> str:
    """The host's end of a port, named as Neutron does; an interface name has at most 15 characters."""
    return f"tap{port_id[:11]}"


def domain_xml(spec: GuestSpec, host: HostFacts) -> str:
    """The definition of the guest's domain."""
    hardware = hardware_of(spec)
    domain = ET.Element("domain", type=host.virt_type)
    _text(domain, "name", spec.instance_name)
    _text(domain, "uuid", spec.server_id)
    ET.SubElement(domain, "metadata").append(_instance(spec, host.home))
    _text(domain, "memory", str(spec.ram_mb), unit="MiB")
    _text(domain, "vcpu", str(spec.vcpus))
    _firmware(domain, spec, hardware)
    _features(domain, hardware)
    _cpu(domain, host.cpu)
    _clock(domain, hardware)
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart")
    _text(domain, "on_crash", "destroy")
    devices = ET.SubElement(domain, "devices")
    _controllers(devices, hardware)
    _drives(devices, hardware, host)
    for nic in spec.nics:
        _interface(devices, nic, host.bridges[nic.network_id], hardware)
    serial = ET.SubElement(devices, "serial", type="pty")
    ET.SubElement(serial, "log", file=str(host.console_log), append="on")
    _screens(devices, hardware, host)
    if hardware.guest_agent:
        _guest_agent(devices)
    if hardware.watchdog:
        ET.SubElement(devices, "watchdog", model="i6300esb", action=hardware.watchdog)
    rng = ET.SubElement(devices, "rng", model="virtio")
    _text(rng, "backend", "/dev/urandom", model="random")
    balloon = ET.SubElement(devices, "memballoon", model="virtio")
    ET.SubElement(balloon, "stats", period="10")
    ET.indent(domain)
    return ET.tostring(domain, encoding="unicode")


def read_identity(metadata: str) -> Identity | None:
    """Read what ``domain_xml`` wrote into the metadata element; None if it is not of our making.

    libvirt hands out an element that was asked for by its namespace without the namespace.
    """
    try:
        element = ET.fromstring(metadata)  # noqa: S314 (from libvirtd)
        return Identity(element.attrib["home"], element.attrib["server"], int(element.attrib["epoch"]))
    except (ET.ParseError, KeyError, ValueError):
        return None


def _instance(spec: GuestSpec, home: str) -> ET.Element:
    """The element by which ``virsh dumpxml`` shows whose guest it is, and by which we know it again."""
    ET.register_namespace(INSTANCE_PREFIX, INSTANCE_NAMESPACE)

    def tag(name: str) -> str:
        return f"{{{INSTANCE_NAMESPACE}}}{name}"

    facts = {"server": spec.server_id, "epoch": str(spec.epoch), "home": home}
    instance = ET.Element(tag("instance"), facts)
    _text(instance, tag("name"), spec.name)
    ET.SubElement(instance, tag("owner"), project=spec.project_id, user=spec.user_id)
    flavor = {
        "id": spec.flavor_id,
        "vcpus": str(spec.vcpus),
        "ram_mb": str(spec.ram_mb),
        "disk_gb": str(spec.disk_gb),
    }
    _text(instance, tag("flavor"), spec.flavor_name, **flavor)
    if spec.image is not None:
        ET.SubElement(instance, tag("image"), id=spec.image.id)
    for nic in spec.nics:
        facts = {"id": nic.port_id, "network": nic.network_id, "address": nic.ip_address}
        ET.SubElement(instance, tag("port"), facts)
    return instance


def _firmware(domain: ET.Element, spec: GuestSpec, hardware: Hardware) -> None:
    system = ET.SubElement(domain, "os")
    _text(system, "type", "hvm", arch="x86_64", machine=hardware.machine)
    ET.SubElement(system, "boot", dev="hd")
    if hardware.boot_menu:
        ET.SubElement(system, "bootmenu", enable="yes")
    ET.SubElement(system, "smbios", mode="sysinfo")
    sysinfo = ET.SubElement(domain, "sysinfo", type="smbios")
    entries = ET.SubElement(sysinfo, "system")
    # cloud-init looks for its OpenStack data source only on a machine of this name.
    _text(entries, "entry", "OpenStack Foundation", name="manufacturer")
    _text(entries, "entry", "OpenStack Compute", name="product")
    _text(entries, "entry", spec.server_id, name="uuid")
    _text(entries, "entry", "Virtual Machine", name="family")


def _features(domain: ET.Element, hardware: Hardware) -> None:
    features = ET.SubElement(domain, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(features, "apic")
    if hardware.pmu is not None:
        ET.SubElement(features, "pmu", state="on" if hardware.pmu else "off")


def _cpu(domain: ET.Element, model: str) -> None:
    if model in {"host-model", "host-passthrough"}:
        ET.SubElement(domain, "cpu", mode=model, check="partial" if model == "host-model" else "none")
        return
    cpu = ET.SubElement(domain, "cpu", mode="custom", match="exact", check="none")
    _text(cpu, "model", model, fallback="forbid")


def _clock(domain: ET.Element, hardware: Hardware) -> None:
    clock = ET.SubElement(domain, "clock", offset="localtime" if hardware.local_time else "utc")
    ET.SubElement(clock, "timer", name="rtc", tickpolicy="catchup")
    ET.SubElement(clock, "timer", name="pit", tickpolicy="delay")
    ET.SubElement(clock, "timer", name="hpet", present="yes" if hardware.hpet else "no")


def _controllers(devices: ET.Element, hardware: Hardware) -> None:
    if hardware.machine == Q35:
        ET.SubElement(devices, "controller", type="pci", index="0", model="pcie-root")
        for index in range(1, HOTPLUG_PORTS + 1):
            ET.SubElement(devices, "controller", type="pci", index=str(index), model="pcie-root-port")
    ET.SubElement(devices, "controller", type="usb", index="0", model=hardware.usb_model)


def _drives(devices: ET.Element, hardware: Hardware, host: HostFacts) -> None:
    """The one that the guest starts from is the first."""
    letters = DriveLetters()
    iso = host.config_drive is not None and host.config_drive_format == "iso9660"
    disks = [(host.rescue_disk, hardware.rescue_bus), (host.disk, hardware.disk_bus)]
    if not host.rescue_disk:
        disks += [(host.ephemeral, hardware.disk_bus), (host.swap, hardware.disk_bus)]
    present = [(path, bus) for path, bus in disks if path]
    if "scsi" in {bus for _, bus in present} | ({hardware.cdrom_bus} if iso else set()):
        ET.SubElement(devices, "controller", type="scsi", index="0", model=hardware.scsi_model)
    for path, bus in present:
        _disk(devices, path, letters.take(bus), bus)
    if host.config_drive:
        bus = hardware.cdrom_bus if iso else present[0][1]
        # The letter by which it has always been told from disks.
        target = "vdz" if bus == "virtio" else letters.take(bus)
        _config_drive(devices, host.config_drive, target, bus, "cdrom" if iso else "disk")


def _disk(devices: ET.Element, path: Path, target: str, bus: str) -> None:
    disk = ET.SubElement(devices, "disk", type="file", device="disk")
    ET.SubElement(disk, "driver", name="qemu", type="qcow2", cache="writeback", discard="unmap")
    ET.SubElement(disk, "source", file=str(path))
    ET.SubElement(disk, "target", dev=target, bus=bus)


def _config_drive(devices: ET.Element, path: Path, target: str, bus: str, device: str) -> None:
    disk = ET.SubElement(devices, "disk", type="file", device=device)
    ET.SubElement(disk, "driver", name="qemu", type="raw")
    ET.SubElement(disk, "source", file=str(path))
    ET.SubElement(disk, "target", dev=target, bus=bus)
    ET.SubElement(disk, "readonly")


def _interface(devices: ET.Element, nic: Nic, bridge: str, hardware: Hardware) -> None:
    interface = ET.SubElement(devices, "interface", type="bridge")
    ET.SubElement(interface, "mac", address=nic.mac_address)
    ET.SubElement(interface, "source", bridge=bridge)
    ET.SubElement(interface, "target", dev=tap_name(nic.port_id))
    ET.SubElement(interface, "model", type=hardware.vif_model)
    if hardware.vif_queues > 1:
        ET.SubElement(interface, "driver", queues=str(hardware.vif_queues))
    ET.SubElement(interface, "mtu", size=str(nic.mtu))


def _screens(devices: ET.Element, hardware: Hardware, host: HostFacts) -> None:
    """One picture; VNC always shows it, SPICE beside it where the operator wants so."""
    _graphics(devices, "vnc", host.screens_listen, port="-1")
    if host.spice:
        _spice(devices, hardware, host.screens_listen, host.spice)
    video = ET.SubElement(devices, "video")
    # As Nova chooses. Without a driver of its own the guest takes QXL for a VGA, which it also is: it is one where
    # QEMU may have no SPICE.
    model = hardware.video_model or "qxl"
    ET.SubElement(video, "model", type="vga" if model == "qxl" and not host.spice else model)
    ET.SubElement(devices, "input", type="tablet", bus=hardware.tablet_bus)


def _graphics(devices: ET.Element, kind: str, address: str | None, **ports: str) -> None:
    if address is None:
        # libvirt chooses the path, in a directory that belongs to QEMU's user.
        ET.SubElement(ET.SubElement(devices, "graphics", type=kind), "listen", type="socket")
    else:
        graphics = ET.SubElement(devices, "graphics", {"type": kind, **ports, "autoport": "yes"})
        ET.SubElement(graphics, "listen", type="address", address=address)


def _guest_agent(devices: ET.Element) -> None:
    channel = ET.SubElement(devices, "channel", type="unix")
    ET.SubElement(channel, "target", type="virtio", name="org.qemu.guest_agent.0")


def _spice(devices: ET.Element, hardware: Hardware, listen: str | None, mode: SpiceMode) -> None:
    _graphics(devices, "spice", listen)
    devices[-1].set("defaultMode", mode)
    # Where the guest's spice-vdagent listens: the clipboard, and a screen as large as the viewer's window. It has a
    # port of its own, so that the others keep their places, and a guest its names of them, when SPICE is turned on.
    place = HOTPLUG_PORTS + 1
    if hardware.machine == Q35:
        ET.SubElement(devices, "controller", type="pci", index=str(place), model="pcie-root-port")
    carrier = ET.SubElement(devices, "controller", type="virtio-serial", index="0")
    if hardware.machine == Q35:
        ET.SubElement(carrier, "address", type="pci", bus=str(place), slot="0")
    agent = ET.SubElement(devices, "channel", type="spicevmc")
    ET.SubElement(agent, "target", type="virtio", name="com.redhat.spice.0")


def _text(parent: ET.Element, tag: str, text: str, **attributes: str) -> None:
    # XML has no way to write other characters at all, and libvirt refuses the whole document.
    ET.SubElement(parent, tag, attributes).text = NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
