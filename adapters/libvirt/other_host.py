"""What the other host of a migration has of the guest: its libvirt is asked, as ours reaches it."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar
from xml.etree import ElementTree as ET

from adapters.libvirt.connection import Connection
from adapters.libvirt.domain_xml import INSTANCE_NAMESPACE, Identity, read_identity
from adapters.libvirt.guests import look
from adapters.libvirt.holding import Holding, holding
from adapters.libvirt.live_migration import downtime
from adapters.libvirt.migration_xml import INSTANCE
from domain.errors import HostFailed
from domain.guest import PowerState

T = TypeVar("T")


class There(NamedTuple):
    """What it has."""

    held: Holding
    power_state: PowerState = PowerState.NOSTATE
    downtime_ms: int | None = None
    """How long the guest stood still before it was there."""


async def at(uri: str, ask: Callable[[Any], T]) -> T:
    """Ask that libvirt. Raises Unavailable, HostFailed."""
    connection = Connection(uri)
    try:
        return await connection.call(ask)
    finally:
        await connection.close()


def expected(definition: str) -> Identity:
    """Whose guest it will be there, and in which epoch, by the definition that it gets."""
    element = ET.fromstring(definition).find(INSTANCE)  # noqa: S314 (from us)
    identity = None if element is None else read_identity(ET.tostring(element, encoding="unicode"))
    if identity is None:
        raise HostFailed("The host was not told what the server will be on the other one.")
    return identity


def found(conn: Any, identity: Identity) -> There:
    """What the host of ``conn`` has of a guest in that epoch. Blocks."""
    state = look(conn, identity.home, identity.server_id)
    if state is None or state.epoch != identity.epoch:
        return There(Holding.NOTHING)
    held = holding(conn, identity.home, identity.server_id)
    return There(held, state.power_state, downtime(conn, identity.server_id))


def image_of(definition: str) -> str | None:
    """The image of which the guest is said to be there."""
    element = ET.fromstring(definition).find(f"{INSTANCE}/{{{INSTANCE_NAMESPACE}}}image")  # noqa: S314 (from us)
    return None if element is None else element.get("id")


def disks(definition: str) -> tuple[str, ...]:
    """The names that the disks to which the guest writes have for libvirt, its root disk first."""
    found = ET.fromstring(definition).findall("devices/disk[@device='disk']")  # noqa: S314 (from us)
    written = (disk.find("target") for disk in found if disk.find("readonly") is None)
    return tuple(target.get("dev", "") for target in written if target is not None)
