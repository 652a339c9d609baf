"""Images of simulated guests: which disk one is of is all that is in it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING

from adapters.simulated.guest import Guest, Operation, image_bytes, state_of
from adapters.turns import Turns
from domain.errors import HostFailed
from domain.guest import GuestSpec, GuestState
from handlers.ports import ImageFiles

if TYPE_CHECKING:
    from adapters.simulated.hypervisor import SimulatedHypervisor

NOT_SAVED = "Nothing was kept for this image."


class Imaging(ABC):
    """What a simulated host has to do with images of its guests."""

    _turns: Turns
    _files: ImageFiles | None
    _others: Mapping[str, "SimulatedHypervisor"]
    made: dict[str, tuple[str, ...]]
    """The disks of which images were made here, by image."""

    async def snapshot(self, server_id: str, image_id: str) -> GuestState:
        async with self._turns.turn(server_id):
            guest = self._find(server_id)
            if guest.saved != image_id:
                await self._work("snapshot")
                guest.saved, guest.saved_disk = image_id, guest.disk
            return self._turns.tell(state_of(guest))

    async def upload(self, server_id: str, image_id: str) -> GuestState:
        async with self._turns.turn(server_id):
            guest = self._find(server_id)
            if guest.saved != image_id:
                raise HostFailed(NOT_SAVED)
            if guest.saved_disk is not None:
                await self._send(guest, image_id, guest.saved_disk)
            return self._turns.tell(state_of(guest))

    async def _send(self, guest: Guest, image_id: str, disk: tuple[str, ...]) -> None:
        try:
            await self._work("upload")
            if self._files:
                await self._files.upload(image_id, BytesIO(image_bytes(disk)))
        except HostFailed:
            guest.saved = guest.saved_disk = None
            raise
        self.made[image_id] = disk
        guest.saved_disk = None

    def _disk_for(self, spec: GuestSpec, host: str) -> tuple[str, ...]:
        """A new disk: of the image that was made of another one, if it is of that."""
        if spec.disk_image is None:
            return (host,)
        image_id = spec.disk_image.id
        known = (hypervisor.made.get(image_id) for hypervisor in self._others.values())
        return (*next((disk for disk in known if disk is not None), (image_id,)), host)

    @abstractmethod
    def _find(self, server_id: str) -> Guest: ...

    @abstractmethod
    async def _work(self, operation: Operation, at_most: float = float("inf")) -> None: ...
