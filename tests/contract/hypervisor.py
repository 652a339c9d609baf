"""The places where the contract of the Hypervisor port has to hold."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Protocol
from uuid import uuid4

from msgspec.structs import replace

from adapters.simulated import SimulatedHypervisor
from domain.guest import GuestSpec, GuestState, ImageSource, PowerState
from handlers.ports import Hypervisor
from tests.clocks import InstantClock
from tests.real_libvirt import LocalImages, blank_disk, guest_spec, hypervisor, nic, traces, virsh


class Host(Protocol):
    """A host, and what an agent has no hand in."""

    def agent(self) -> Hypervisor:
        """The host in the hands of a new agent, as after a crash of the one before."""
        ...

    def spec(self) -> GuestSpec:
        """A guest that fits."""
        ...

    def broken_spec(self) -> GuestSpec:
        """A guest whose build fails."""
        ...

    def rebuilt_spec(self, spec: GuestSpec) -> GuestSpec:
        """The guest with a fresh disk."""
        ...

    def without_its_image(self, spec: GuestSpec) -> GuestSpec:
        """The guest, of whose image nothing can be had: the next build fails."""
        ...

    def rescue_spec(self, spec: GuestSpec) -> GuestSpec:
        """The guest with a rescue system before it."""
        ...

    def power_off_from_within(self, spec: GuestSpec) -> None:
        """The guest ends by itself."""
        ...

    def disturb(self, spec: GuestSpec) -> None:
        """Something happens to the guest that leaves it as it was."""
        ...

    def sent(self, image_id: str) -> bytes | None:
        """What the image service has of an image."""
        ...

    def image(self, image_id: str) -> ImageSource:
        """An image that was sent, to build of."""
        ...

    def take_nothing(self) -> None:
        """Have the image service refuse what is sent."""
        ...

    def left(self) -> set[str]:
        """What guests left on the host."""
        ...


class SimulatedHost:
    """In memory."""

    def __init__(self) -> None:
        self._images = LocalImages()
        self._hypervisor = SimulatedHypervisor("node1", InstantClock(), Random(1), files=self._images)
        self._hypervisor.behaviour["build"].delay = (0.1, 0.2)

    def agent(self) -> Hypervisor:
        return self._hypervisor

    def spec(self) -> GuestSpec:
        return guest_spec(None)

    def broken_spec(self) -> GuestSpec:
        for operation in ("build", "recreate"):
            self._hypervisor.behaviour[operation].fail_next = 1
        return guest_spec(None)

    def rebuilt_spec(self, spec: GuestSpec) -> GuestSpec:
        return replace(spec, generation=spec.generation + 1)

    def without_its_image(self, spec: GuestSpec) -> GuestSpec:
        self._hypervisor.behaviour["build"].fail_next = 1
        return spec

    def rescue_spec(self, spec: GuestSpec) -> GuestSpec:
        return replace(spec, rescue_image=ImageSource(id="any", disk_format="qcow2", checksum="00"))

    def power_off_from_within(self, spec: GuestSpec) -> None:
        self._hypervisor.happen(spec.server_id, PowerState.SHUTDOWN)

    def disturb(self, spec: GuestSpec) -> None:
        self._hypervisor.happen(spec.server_id, PowerState.RUNNING)

    def sent(self, image_id: str) -> bytes | None:
        return self._images.sent.get(image_id)

    def image(self, image_id: str) -> ImageSource:
        return ImageSource(id=image_id, disk_format="qcow2", checksum="00")

    def take_nothing(self) -> None:
        self._images.full = True

    def left(self) -> set[str]:
        return set(self._hypervisor._guests)


class LibvirtHost:
    """On the real libvirt; its guests have empty disks, and so hang in the firmware."""

    def __init__(self, directory: Path) -> None:
        self._dir = directory
        self._images = LocalImages()
        self._image = self._images.add(blank_disk(directory))
        self._network = str(uuid4())

    def agent(self) -> Hypervisor:
        return hypervisor(self._dir / "state", self._images)

    def spec(self) -> GuestSpec:
        return guest_spec(self._image, nic(self._network))

    def broken_spec(self) -> GuestSpec:
        # Refused at the very last step, when everything else has been made.
        return guest_spec(self._image, nic(self._network, mac_address="not an address"))

    def rebuilt_spec(self, spec: GuestSpec) -> GuestSpec:
        return replace(spec, generation=spec.generation + 1, image=self._images.add(blank_disk(self._dir)))

    def without_its_image(self, spec: GuestSpec) -> GuestSpec:
        missing = replace(self._image, id=str(uuid4()))
        return replace(spec, image=missing)

    def rescue_spec(self, spec: GuestSpec) -> GuestSpec:
        return replace(spec, rescue_image=self._image)

    def power_off_from_within(self, spec: GuestSpec) -> None:
        virsh("destroy", spec.instance_name)

    def disturb(self, spec: GuestSpec) -> None:
        virsh("suspend", spec.instance_name)
        virsh("resume", spec.instance_name)

    def sent(self, image_id: str) -> bytes | None:
        return self._images.sent.get(image_id)

    def image(self, image_id: str) -> ImageSource:
        path = self._dir / f"{image_id}.qcow2"
        path.write_bytes(self._images.sent[image_id])
        return self._images.add(path)

    def take_nothing(self) -> None:
        self._images.full = True

    def left(self) -> set[str]:
        return traces(self._dir / "state", self._network)


@contextlib.asynccontextmanager
async def cleared(host: Host) -> AsyncIterator[Hypervisor]:
    """An agent on the host; afterwards every guest is destroyed, and nothing of any is left."""
    agent = host.agent()
    try:
        yield agent
    finally:
        for guest in await agent.guests():
            await agent.destroy(guest.server_id)
    assert host.left() == set()


def state(spec: GuestSpec, power_state: PowerState) -> GuestState:
    return GuestState(server_id=spec.server_id, epoch=spec.epoch, power_state=power_state)
