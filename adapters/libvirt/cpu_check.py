"""Whether another host's processor has what a running guest was given. Everything here blocks."""

from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import libvirt

from domain.errors import HostFailed

FAILURE = "The processor of the host that the server shall move to lacks what the server uses."
FITS = {libvirt.VIR_CPU_COMPARE_IDENTICAL, libvirt.VIR_CPU_COMPARE_SUPERSET}


class GuestCpu(NamedTuple):
    """What a guest runs on, in libvirt's words."""

    xml: str
    virt_type: str
    architecture: str
    machine: str
    host_xml: str | None = None
    """The processor of its host, if it is shown as it is."""


def cpu_of(conn: Any, running: str) -> GuestCpu:
    """Of a guest that runs on the host of ``conn`` by this definition. Raises HostFailed if that does not tell."""
    root = ET.fromstring(running)  # noqa: S314 (from libvirtd)
    cpu, kind = root.find("cpu"), root.find("os/type")
    if cpu is None or kind is None:
        raise HostFailed(FAILURE, "it is not known what that is")
    shown = cpu.get("mode") in {"host-passthrough", "maximum"}
    host = ET.fromstring(conn.getCapabilities()).find("host/cpu") if shown else None  # noqa: S314
    host_xml = None if host is None else ET.tostring(host, encoding="unicode")
    text = ET.tostring(cpu, encoding="unicode")
    return GuestCpu(text, root.get("type", ""), kind.get("arch", ""), kind.get("machine", ""), host_xml)


def check_cpu(conn: Any, cpu: GuestCpu) -> None:
    """Whether the host of ``conn`` can go on with it. Raises HostFailed, with what is missing, if it cannot."""
    try:
        if cpu.host_xml is not None:
            found = conn.compareCPU(cpu.host_xml, libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE)
        else:
            of_guest = (None, cpu.architecture, cpu.machine, cpu.virt_type, cpu.xml)
            found = conn.compareHypervisorCPU(*of_guest, libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_CPU_INCOMPATIBLE:
            raise
        raise HostFailed(FAILURE, str(error)) from error
    if found not in FITS:
        raise HostFailed(FAILURE, cpu.xml)
