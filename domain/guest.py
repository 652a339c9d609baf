"""What a hypervisor is told about a guest, and what it says of it."""

from enum import IntEnum
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

MAX_COUNT = 2**31 - 1
"""Of epochs and versions that a host names: what every column can hold."""
Uuid = Annotated[str, Meta(pattern=r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]


class PowerState(IntEnum):
    """Nova's power states, with Nova's numbers."""

    NOSTATE = 0
    RUNNING = 1
    PAUSED = 3
    SHUTDOWN = 4
    CRASHED = 6
    SUSPENDED = 7


def instance_name(server_id: str) -> str:
    """The hypervisor's name for a server's guest; unique, and at most 48 characters."""
    return f"instance-{server_id}"


class ImageSource(msgspec.Struct, frozen=True, kw_only=True):
    """The image a guest's disk starts from. ``checksum`` is the hex digest by ``checksum_algorithm``."""

    id: str
    disk_format: str
    checksum: str
    checksum_algorithm: str = "sha512"
    size: int = 0
    """Bytes of the stored file."""
    min_disk_gb: int = 0
    properties: dict[str, str] = {}


class Route(msgspec.Struct, frozen=True):
    """A way that a guest is told, beside that by its gateway."""

    destination: str
    """As ``10.1.0.0/16``."""
    nexthop: str


class Nic(msgspec.Struct, frozen=True, kw_only=True):
    """One network interface of a guest, already allocated."""

    port_id: str
    network_id: str
    network_name: str
    mac_address: str
    """Lower case, colon separated."""
    ip_address: str
    cidr: str
    """The subnet, as ``10.0.0.0/24``."""
    gateway_ip: str | None = None
    dhcp_ip: str | None = None
    """The address that the host's DHCP server takes in that subnet."""
    dns_nameservers: tuple[str, ...] = ()
    mtu: int = 1400
    fixed: bool = True
    host_routes: tuple[Route, ...] | UnsetType = UNSET


class GuestSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a host needs to build a guest."""

    server_id: str
    epoch: int
    """Counts the server's assignments to hosts; a host refuses a command of an older one."""
    name: str
    project_id: str
    user_id: str
    flavor_id: str
    flavor_name: str
    vcpus: int
    ram_mb: int
    disk_gb: int
    """Root disk; 0 means the size of the image."""
    ephemeral_gb: int = 0
    """A second disk with an empty file system; 0 means none."""
    swap_mb: int = 0
    """A further one for swap; 0 means none."""
    image: ImageSource | None
    nics: tuple[Nic, ...] = ()
    metadata: dict[str, str] = {}
    extra_specs: dict[str, str] = {}
    config_drive: bool = False
    """Whether the guest gets its metadata on a drive, too."""
    generation: int = 0
    """Counts the server's rebuilds: a disk of an older one is replaced when the guest is built."""
    rescue_image: ImageSource | None = None
    """With it the guest starts from a fresh disk of this image, and its own disk is the second."""
    disk_image: ImageSource | None = None
    """With it the guest's disk is made of this image, and stands alone; ``image`` says what its hardware is."""
    powered_on: bool = True
    """Whether building ends with the guest running; rebuilding leaves one off that was off, and one that stands
    still stays so."""

    @property
    def instance_name(self) -> str:
        return instance_name(self.server_id)


class GuestState(msgspec.Struct, frozen=True, kw_only=True):
    """A guest as a host finds it."""

    server_id: Uuid
    epoch: Count
    power_state: PowerState
    downtime_ms: Count | None = None
    """Of one that has just come from another host while it ran: how long it stood still."""


class HostDescription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a host offers."""

    name: str
    hypervisor_type: str
    hypervisor_version: int
    """As Nova writes it: 7002022 is 7.2.22."""
    vcpus: int
    memory_mb: int
    disk_gb: int
    cpu_info: dict[str, object] = {}
    host_ip: str = "127.0.0.1"
    migration_ip: str | None = None
    """At which other hosts reach it, if not at that."""
    architecture: str = "x86_64"
    """Of its processors, by libvirt's name."""
