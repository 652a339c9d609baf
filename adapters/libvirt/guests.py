"""Domains: what can be asked of libvirt about a guest, and done to it. Everything here blocks."""

from pathlib import Path
from typing import Any

import libvirt

from adapters.libvirt.domain_xml import INSTANCE_NAMESPACE, Identity, read_identity
from domain.errors import HostFailed
from domain.guest import GuestState, PowerState

QEMU_LOGS = Path("/var/log/libvirt/qemu")
"""Where a privileged libvirtd has QEMU's own words, a file a domain; virtlogd bounds each."""
POWER_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: PowerState.NOSTATE,
    libvirt.VIR_DOMAIN_RUNNING: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PowerState.PAUSED,
    # On its way to SHUTOFF, but still there.
    libvirt.VIR_DOMAIN_SHUTDOWN: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_SHUTOFF: PowerState.SHUTDOWN,
    libvirt.VIR_DOMAIN_CRASHED: PowerState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: PowerState.SUSPENDED,
}
"""As Nova's libvirt driver has it."""

UNDEFINE_ALL = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)


class Domain:
    """A domain of ours."""

    def __init__(self, domain: Any, identity: Identity) -> None:
        self._domain = domain
        self.epoch = identity.epoch
        self.server_id = identity.server_id

    @property
    def handle(self) -> Any:
        """libvirt's own, for what is not here."""
        return self._domain

    def state(self) -> GuestState:
        power_state = POWER_STATES.get(self._domain.state()[0], PowerState.NOSTATE)
        return GuestState(server_id=self.server_id, epoch=self.epoch, power_state=power_state)

    def xml(self) -> str:
        """Its definition as it runs now."""
        return str(self._domain.XMLDesc())

    def is_active(self) -> bool:
        """Whether there is a QEMU."""
        return bool(self._domain.isActive())

    def start(self) -> None:
        """Have it running: from off, from paused or from sleep."""
        state = self._domain.state()[0]
        if state == libvirt.VIR_DOMAIN_PAUSED:
            self._domain.resume()
        elif state == libvirt.VIR_DOMAIN_PMSUSPENDED:
            self._domain.pMWakeup()
        elif not self._domain.isActive():
            self._domain.create()

    def pause(self) -> None:
        """Stop its processors; harmless if they stand."""
        if self._domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
            self._domain.suspend()

    def save(self) -> None:
        """Have libvirt keep its memory on disk, and go on with that at the next start; harmless if it has done so."""
        if not self._domain.hasManagedSaveImage():
            self._domain.managedSave()

    def inject_nmi(self) -> None:
        """Interrupt its processors in a way that cannot be masked."""
        self._domain.injectNMI()

    def press_power_button(self) -> None:
        """Ask the guest to power off; it may not listen. Harmless if it has just done so."""
        try:
            self._domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)
        except libvirt.libvirtError:
            if self._domain.isActive():
                raise

    def can_hear(self) -> bool:
        """Whether its processors run, so that it could notice a button."""
        return bool(self._domain.state()[0] in {libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED})

    def power_off(self) -> None:
        """Pull the plug, and forget memory that was kept."""
        try:
            self._domain.destroy()
        except libvirt.libvirtError:
            if self._domain.isActive():
                raise
        if self._domain.isPersistent() and self._domain.hasManagedSaveImage():
            self._domain.managedSaveRemove()

    def remove(self) -> None:
        """Pull the plug and forget it, with all that libvirt keeps for it, and what its QEMU said."""
        name = self._domain.name()
        try:
            self.power_off()
            if self._domain.isPersistent():
                self._domain.undefineFlags(UNDEFINE_ALL)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
        # libvirt keeps these for ever: one for each guest that ever was.
        for log in QEMU_LOGS.glob(f"{name}.log*"):
            log.unlink(missing_ok=True)


def find_domain(conn: Any, home: str, server_id: str) -> Domain | None:
    """The server's domain. Raises HostFailed if its name is taken by one that is not of our making."""
    try:
        domain = conn.lookupByUUIDString(server_id)
        identity = _identity(domain)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise
    if identity is None or identity.home != home:
        raise HostFailed("The host has another guest of this id.", f"{server_id} {identity}")
    return Domain(domain, identity)


def look(conn: Any, home: str, server_id: str) -> GuestState | None:
    """How the server's domain is now; None if it is gone, or is not of our making."""
    try:
        domain = conn.lookupByUUIDString(server_id)
        identity = _identity(domain)
        return Domain(domain, identity).state() if identity is not None and identity.home == home else None
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def list_guests(conn: Any, home: str) -> list[GuestState]:
    """Every domain of ours, however it is."""
    found = []
    for domain in conn.listAllDomains():
        try:
            identity = _identity(domain)
            if identity is not None and identity.home == home:
                found.append(Domain(domain, identity).state())
        except libvirt.libvirtError as error:
            # It went away between two questions.
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
    return found


def define_domain(conn: Any, home: str, xml: str) -> Domain:
    """Make the domain known to libvirt, or bring its definition up to date."""
    domain = conn.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
    identity = _identity(domain)
    assert identity is not None and identity.home == home  # noqa: PT018 (one fact: it is what we wrote)
    return Domain(domain, identity)


def _identity(domain: Any) -> Identity | None:
    try:
        return read_identity(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, INSTANCE_NAMESPACE))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
            return None
        raise
