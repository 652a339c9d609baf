"""Removes a stack's guests from this machine: for erasing the stack, when nobody is left to be told."""

from pathlib import Path

from adapters.libvirt.hypervisor import LibvirtHypervisor
from adapters.libvirt.settings import LibvirtSettings
from domain.errors import HostFailed, Unavailable
from ops.settings import Settings


class _NoImages:
    async def download(self, image_id: str, target: Path) -> None:
        """Nothing is built any more."""
        raise HostFailed(f"Image {image_id} is not to be had.", str(target))


async def remove_guests(settings: Settings) -> None:
    """Destroy every guest of ours. Where libvirt does not answer there is none running."""
    state_dir = settings.state_dir.absolute() / "compute"
    if not state_dir.exists():
        return
    hypervisor = LibvirtHypervisor(LibvirtSettings(host_name="erased", state_dir=state_dir), _NoImages())
    try:
        for guest in await hypervisor.guests():
            await hypervisor.destroy(guest.server_id)
            print(f"guest {guest.server_id} is removed")
    except (HostFailed, Unavailable) as error:
        print(f"guests could not be looked for: {error}")
    finally:
        await hypervisor.close()
