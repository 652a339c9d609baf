"""What an operator decides about one host's guests."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from adapters.libvirt.config_drive import DriveFormat
from adapters.libvirt.domain_xml import SpiceMode
from adapters.libvirt.metadata_proxy import MetadataUpstream
from domain.errors import Invalid

RUN_ROOT = Path("/run/lightcurve")
"""What a reboot of the machine ends is kept here, so that it is gone when what it describes is gone."""
DEFAULT_CPU = {"qemu": "Nehalem", "kvm": "host-model"}
"""Nehalem is the newest model that QEMU emulates whole; ``host-model`` is Nova's default under KVM."""


@dataclass(frozen=True, kw_only=True)
class LibvirtSettings:
    """One host. Raises Invalid, naming the setting, for a value that cannot work."""

    host_name: str
    state_dir: Path
    """Guests' disks and console logs, and the cached images."""
    shared_dir: Path | None = None
    """A directory that other hosts reach at the same path: root disks and cached images are there instead."""
    uri: str = "qemu:///system"
    virt_type: Literal["kvm", "qemu"] = "qemu"
    cpu_model: str | None = None
    """A model of libvirt's, ``host-model`` or ``host-passthrough``; None chooses by ``virt_type``."""
    console_listen: str = "127.0.0.1"
    """Where screens and serial ports wait for the console proxies."""
    screens_by_tls: bool = False
    """QEMU itself listens there, by TLS; otherwise screens are on sockets of this host, and the agent offers each
    to one caller at a time."""
    console_namespace: Path | None = None
    """Of the network to which ``console_listen`` belongs, if the host is in another."""
    host_ip: str = "127.0.0.1"
    migration_ip: str | None = None
    """At which other hosts reach this one, if not at ``host_ip``."""
    migration_uri: str = "qemu+tcp://{host}/system"
    """Of this host's libvirtd, as those of other hosts reach it; ``{host}`` is its name."""
    migration_mib: int = 0
    """MiB a second that one guest which leaves may send; 0: no limit."""
    max_incoming: int = 2
    """Guests that may come from other hosts at a time while they run."""
    post_copy: bool = True
    """One that is made to end may run on at its target before its memory is there, where that can be done."""
    tunnel_device: str | None = None
    """The interface on the network between hosts; without it guests' networks end at this host."""
    metadata: MetadataUpstream | None = None
    """Without it guests find no metadata service, and no config drive can be made."""
    config_drive_format: DriveFormat = "iso9660"
    image_cache_gb: int = 200
    """What the cached images may take together, in GiB."""
    spice: SpiceMode | None = None
    """Guests get a SPICE screen beside VNC; its channels in the clear as well, or by TLS only."""

    def __post_init__(self) -> None:
        if not self.state_dir.is_absolute() or "," in str(self.state_dir):
            raise Invalid(f"state_dir {str(self.state_dir)!r} must be an absolute path without commas")
        if self.shared_dir and (not self.shared_dir.is_absolute() or "," in str(self.shared_dir)):
            raise Invalid(f"shared_dir {str(self.shared_dir)!r} must be an absolute path without commas")
        if self.virt_type not in DEFAULT_CPU:
            raise Invalid(f"virt_type {self.virt_type!r} must be kvm or qemu")
        if self.cpu_model is not None and not re.fullmatch(r"[A-Za-z0-9_.-]+", self.cpu_model):
            raise Invalid(f"cpu_model {self.cpu_model!r} is no name of a CPU model")

    @property
    def cpu(self) -> str:
        """The CPU model in effect."""
        return self.cpu_model or DEFAULT_CPU[self.virt_type]

    @property
    def home(self) -> str:
        """Tells our guests from those of another installation on the same machine."""
        return str(self.state_dir)

    @property
    def instances_dir(self) -> Path:
        """A directory a guest."""
        return self.state_dir / "instances"

    @property
    def images_dir(self) -> Path:
        """The cached images."""
        return (self.shared_dir or self.state_dir) / "images"

    @property
    def shared_disks_dir(self) -> Path | None:
        """Root disks that hosts have in common, a directory a server; None if they have none."""
        return self.shared_dir / "disks" if self.shared_dir else None

    @property
    def run_dir(self) -> Path:
        """A directory a network of ours, until the machine reboots."""
        return RUN_ROOT / hashlib.sha256(self.home.encode()).hexdigest()[:12]
