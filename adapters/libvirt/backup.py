"""libvirt's backup jobs, https://libvirt.org/formatbackup.html. Everything here blocks."""

from contextlib import suppress
from enum import Enum
from pathlib import Path
from xml.etree import ElementTree as ET

import libvirt

from adapters.libvirt.guests import Domain

AGENT_SECONDS = 10
"""In which a guest's agent has to answer, or its file systems are not frozen."""


class Backup(Enum):
    """How far a job is."""

    UNDER_WAY = "under way"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "nobody knows how"
    """Its guest, or its libvirtd, has ended since."""


def begin(guest: Domain, source: Path, target: Path) -> bool:
    """Begin to write what the guest's disk ``source`` holds now into a qcow2 file that stands alone; False if there
    is no QEMU to do it. A guest that has an agent has its file systems frozen for the moment."""
    if not guest.is_active():
        return False
    frozen = _freeze(guest)
    try:
        guest.handle.backupBegin(_job(guest.xml(), source, target), None, 0)
    finally:
        if frozen:
            with suppress(libvirt.libvirtError):
                guest.handle.fsThaw()
    return True


def ended(guest: Domain) -> Backup:
    """How the job is, or how the last one ended."""
    domain = guest.handle
    if not domain.isActive():
        return Backup.UNKNOWN
    if domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
        return Backup.UNDER_WAY
    told = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED)
    if told.get("operation") != libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP:
        return Backup.UNKNOWN
    return Backup.DONE if told.get("type") == libvirt.VIR_DOMAIN_JOB_COMPLETED else Backup.FAILED


def abort(guest: Domain) -> None:
    """End the job, if one is under way."""
    domain = guest.handle
    if not domain.isActive():
        return
    with suppress(libvirt.libvirtError):
        # There is none.
        domain.backupGetXMLDesc()
        domain.abortJob()


def _freeze(guest: Domain) -> bool:
    """Whether the guest's file systems stand still now: it must have an agent that answers."""
    channel = ET.fromstring(guest.xml()).find(  # noqa: S314 (from libvirtd)
        "devices/channel/target[@name='org.qemu.guest_agent.0'][@state='connected']"
    )
    if channel is None:
        return False
    with suppress(libvirt.libvirtError):
        # It is the tenant's: left to itself libvirt would wait for it for ever.
        guest.handle.agentSetResponseTimeout(AGENT_SECONDS, 0)
        return bool(guest.handle.fsFreeze() >= 0)
    return False


def _job(definition: str, source: Path, target: Path) -> str:
    """A job for that disk, and for no other drive."""
    job = ET.Element("domainbackup", mode="push")
    disks = ET.SubElement(job, "disks")
    for drive in ET.fromstring(definition).findall("devices/disk"):  # noqa: S314 (from libvirtd)
        name, file = drive.find("target"), drive.find("source")
        wanted = file is not None and file.get("file") == str(source)
        disk = ET.SubElement(disks, "disk", name=name.get("dev", "") if name is not None else "")
        disk.set("backup", "yes" if wanted else "no")
        if wanted:
            disk.set("type", "file")
            ET.SubElement(disk, "target", file=str(target))
            ET.SubElement(disk, "driver", type="qcow2")
    return ET.tostring(job, encoding="unicode")
