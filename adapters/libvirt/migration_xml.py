"""A running guest's definition as the host that it goes to wants it. Pure.

What the guest can see has to stay as it is, to the last address of a device; what is the host's own comes from the
definition that the other host would give it.
"""

from xml.etree import ElementTree as ET

from adapters.libvirt.domain_xml import INSTANCE_NAMESPACE, INSTANCE_PREFIX
from domain.errors import HostFailed

FAILURE = "The server cannot be defined on the host that it shall move to."
INSTANCE = f"metadata/{{{INSTANCE_NAMESPACE}}}instance"


def for_target(running: str, wanted: str) -> str:
    """``running`` is libvirt's migratable form, ``wanted`` the other host's definition of the same guest.

    Raises HostFailed if the guest has a disk or an interface of which the other host does not know.
    """
    ET.register_namespace(INSTANCE_PREFIX, INSTANCE_NAMESPACE)
    guest, other = ET.fromstring(running), ET.fromstring(wanted)  # noqa: S314 (from libvirtd and from us)
    _instance(guest, other)
    _sources(guest, other, "disk", "target", "dev")
    for disk in guest.iterfind("devices/disk"):
        # Found out anew there: files behind files have other names.
        for child in [*disk.iterfind("backingStore"), *disk.iterfind("mirror")]:
            disk.remove(child)
    _sources(guest, other, "interface", "mac", "address")
    _logs(guest, other)
    _graphics(guest, other)
    for channel in guest.iterfind("devices/channel[@type='unix']"):
        # libvirt chooses the path.
        for source in channel.findall("source"):
            channel.remove(source)
    return ET.tostring(guest, encoding="unicode")


def _instance(guest: ET.Element, other: ET.Element) -> None:
    """Whose it is, and in which epoch."""
    mine, theirs = guest.find(INSTANCE), other.find(INSTANCE)
    if mine is None or theirs is None or guest.findtext("uuid") != other.findtext("uuid"):
        raise HostFailed(FAILURE, "the definitions are not of one guest of ours")
    _replace(mine, theirs)


def _sources(guest: ET.Element, other: ET.Element, kind: str, key: str, name: str) -> None:
    """Take the source of each device from the other's device of the same key."""

    def keyed(root: ET.Element) -> dict[str, ET.Element]:
        devices = root.findall(f"devices/{kind}")
        return {place.get(name, "").lower(): device for device in devices if (place := device.find(key)) is not None}

    theirs = keyed(other)
    for place, device in keyed(guest).items():
        source = device.find("source")
        if source is None:
            continue
        found = theirs[place].find("source") if place in theirs else None
        if found is None:
            raise HostFailed(FAILURE, f"the other host has no {kind} {place}")
        _replace(source, found)


def _logs(guest: ET.Element, other: ET.Element) -> None:
    """Where the serial console is kept; its pseudo-terminal is new."""
    log = other.find("devices/serial/log")
    for port in [*guest.iterfind("devices/serial"), *guest.iterfind("devices/console")]:
        for source in port.findall("source"):
            port.remove(source)
        mine = port.find("log")
        if mine is not None and log is not None:
            _replace(mine, log)


def _graphics(guest: ET.Element, other: ET.Element) -> None:
    """Where screens are: nothing of it is the guest's."""
    for mine in guest.iterfind("devices/graphics"):
        theirs = other.find(f"devices/graphics[@type='{mine.get('type')}']")
        if theirs is not None:
            _replace(mine, theirs)


def _replace(mine: ET.Element, theirs: ET.Element) -> None:
    tail = mine.tail
    mine.clear()
    mine.tag, mine.text, mine.tail = theirs.tag, theirs.text, tail
    mine.attrib.update(theirs.attrib)
    mine.extend(theirs)


def stands_alone(running: str, names: tuple[str, ...]) -> bool:
    """Whether the root disk of a running guest is among these (``vda``), and has no image beneath."""
    root = ET.fromstring(running).find("devices/disk[@device='disk']")  # noqa: S314 (from libvirtd)
    if root is None:
        return False
    target, beneath = root.find("target"), root.find("backingStore")
    return target is not None and target.get("dev") in names and beneath is not None and len(beneath) == 0
