"""What this host is and has."""

import os
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from adapters.libvirt.commands import PASSAGE, file_failures, make_directory
from adapters.libvirt.settings import LibvirtSettings
from domain.errors import HostFailed
from domain.guest import HostDescription
from domain.image_properties import known_architecture

GIB = 1024**3


def describe(conn: Any, settings: LibvirtSettings) -> HostDescription:
    """The host's resources, as they are used for choosing a host. Raises HostFailed if guests could not be made as
    the settings want them. Blocks."""
    if settings.spice and not _has_spice(conn.getDomainCapabilities(None, "x86_64", "q35", settings.virt_type)):
        raise HostFailed(
            "This QEMU has no SPICE: install its modules (qemu-system-modules-spice where the distribution has it "
            "apart), or set spice = false under [compute]."
        )
    capabilities = conn.getCapabilities()
    _lay_out(settings, _group_of_qemu(capabilities))
    return HostDescription(
        name=settings.host_name,
        hypervisor_type=conn.getType(),
        hypervisor_version=conn.getVersion(),
        vcpus=len(os.sched_getaffinity(0)),
        memory_mb=_memory_mb(),
        disk_gb=shutil.disk_usage(settings.shared_disks_dir or settings.instances_dir).total // GIB,
        cpu_info=_cpu_info(capabilities),
        host_ip=settings.host_ip,
        migration_ip=settings.migration_ip,
        architecture=_architecture(capabilities),
    )


def _lay_out(settings: LibvirtSettings, group: int | None) -> None:
    """The directories of guests and images, for QEMU's group to pass through and nobody else of this machine."""
    with file_failures("The host could not make the directories of its guests."):
        make_directory(settings.state_dir, PASSAGE)
        for directory in filter(None, (settings.instances_dir, settings.images_dir, settings.shared_disks_dir)):
            if group is None:
                make_directory(directory, PASSAGE)
            else:
                make_directory(directory, 0o710, group)


def _group_of_qemu(capabilities: str) -> int | None:
    """The group that guests run under, as libvirt tells it: ``+64055:+107``; None if it does not."""
    for model in ET.fromstring(capabilities).iterfind("host/secmodel[model='dac']"):  # noqa: S314 (from libvirtd)
        for label in model.iterfind("baselabel"):
            found = re.fullmatch(r"\+\d+:\+(\d+)", label.text or "")
            if found:
                return int(found[1])
    return None


def _has_spice(capabilities: str) -> bool:
    offered = {
        (device.tag, value.text)
        for device in ET.fromstring(capabilities).iterfind("devices/*")  # noqa: S314 (from libvirtd)
        for value in device.iterfind("enum/value")
    }
    return {("graphics", "spice"), ("video", "qxl")} <= offered


def _memory_mb() -> int:
    """From the kernel: libvirt adds up NUMA nodes, which do not always know their size."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    raise AssertionError("/proc/meminfo without MemTotal")


def _architecture(capabilities: str) -> str:
    said = ET.fromstring(capabilities).findtext("host/cpu/arch") or os.uname().machine  # noqa: S314 (from libvirtd)
    return known_architecture(said) or said


def _cpu_info(capabilities: str) -> dict[str, object]:
    """In the shape of Nova's ``cpu_info``: arch, model, vendor, topology, features."""
    cpu = ET.fromstring(capabilities).find("host/cpu")  # noqa: S314 (from libvirtd)
    if cpu is None:
        return {}
    topology = cpu.find("topology")
    return {
        "arch": cpu.findtext("arch"),
        "model": cpu.findtext("model"),
        "vendor": cpu.findtext("vendor"),
        "topology": {
            name: int(topology.get(name, "1")) for name in ("sockets", "cores", "threads") if topology is not None
        },
        "features": sorted(feature.get("name", "") for feature in cpu.iter("feature")),
    }
