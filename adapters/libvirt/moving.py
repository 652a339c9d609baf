"""A host's part in moving a server that is off: giving its disk, and having it from another host."""

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from adapters.libvirt.commands import file_failures, run
from adapters.libvirt.disk_copy import DiskOffer, fetch, grow, offered, stands_alone, virtual_size
from adapters.libvirt.disks import GIB, BaseImage, disk_size
from adapters.libvirt.handiwork import GONE, Handiwork
from adapters.libvirt.settings import LibvirtSettings
from domain.errors import HostFailed, Unavailable
from domain.guest import GuestSpec, GuestState, PowerState
from handlers import messages
from handlers.messages import Peer
from handlers.ports import ImageFiles

log = logging.getLogger(__name__)

VOID = "The server was assigned to this host anew; the older assignment is void."
NOT_OFFERED = "The other host does not offer the server's disk."
NOT_GIVEN = "The server has not left this host."
OTHER_IMAGE = "The server still has the disk from before its last rebuild, which failed. Rebuild it, then move it."
COPY = "The server's disk could not be copied."
COPY_SECONDS = 1800.0
"""As long as a move may take. A host that loses its power says no farewell: who fetches would wait for ever."""


class DiskOffers:
    """The disks that other hosts can fetch here, until they are taken back or this process ends."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._open: dict[str, tuple[int, list[DiskOffer], AsyncExitStack]] = {}

    async def of(self, server_id: str, epoch: int, disks: list[Path]) -> list[DiskOffer]:
        """The offers of a server's disks for that assignment: those that are open, for somebody may be fetching them;
        else new ones, in place of those for another assignment. Raises HostFailed."""
        before, offers, _ = self._open.get(server_id, (None, [], None))
        if before == epoch and offers and all([await _answers(offer) for offer in offers]):
            return offers
        await self.end(server_id)
        async with AsyncExitStack() as stack:
            offers = [await stack.enter_async_context(offered(disk, self._address)) for disk in disks]
            self._open[server_id] = epoch, offers, stack.pop_all()
        return offers

    async def end(self, server_id: str) -> None:
        """Offer it no longer; harmless if it is not."""
        if found := self._open.pop(server_id, None):
            try:
                await found[2].aclose()
            except HostFailed as error:
                log.info("the offer of the disk of server %s had ended: %s", server_id, error)

    async def close(self) -> None:
        for server_id in list(self._open):
            await self.end(server_id)


class Moving(Handiwork):
    """What takes a guest from one host to another, or makes it another size."""

    def __init__(self, settings: LibvirtSettings, files: ImageFiles) -> None:
        super().__init__(settings, files)
        self._disk_offers = DiskOffers(settings.migration_ip or settings.host_ip)

    async def close(self) -> None:
        """What was offered is so no longer, until it is asked for again."""
        await self._disk_offers.close()
        await super().close()

    async def give(self, server_id: str, timeout: float) -> GuestState:
        """As in the port: libvirt knows nothing of the guest any more."""
        async with self._turns.turn(server_id):
            known = await self._known(server_id)
            if not await asyncio.to_thread(self._instances.is_given, server_id):
                if await self._find(server_id) is not None:
                    await self._power_off(server_id, timeout)
                await asyncio.to_thread(self._instances.give, server_id)
            await self._undefine(known)
            return GuestState(server_id=server_id, epoch=known.epoch, power_state=PowerState.SHUTDOWN)

    async def offer(self, server_id: str, epoch: int) -> messages.DiskOffer:
        async with self._turns.turn(server_id):
            known = await self._known(server_id)
            if not await asyncio.to_thread(self._instances.is_given, server_id):
                raise HostFailed(NOT_GIVEN)
            disks = [self._instances.disk(server_id)]
            if (second := self._instances.ephemeral(server_id)).exists():
                disks.append(second)
            first, *others = await self._disk_offers.of(server_id, epoch, disks)
            further = messages.DiskOffer(**others[0]._asdict()) if others else None
            image_id = await self._beneath(disks[0], known)
            return messages.DiskOffer(**first._asdict(), ephemeral=further, image_id=image_id)

    async def receive(self, spec: GuestSpec, source: Peer) -> GuestState:
        """As in the port. What fails leaves what was here before."""
        async with self._turns.turn(spec.server_id):
            known = await asyncio.to_thread(self._instances.load, spec.server_id)
            if known and known.epoch > spec.epoch:
                raise HostFailed(VOID, f"epoch {spec.epoch}, here is {known.epoch}")
            try:
                return self._turns.tell(await self._receive(spec, source, known))
            except Unavailable:
                # It will be tried again, and goes on from here.
                raise
            except Exception:
                await self._undo(spec)
                raise

    async def _receive(self, spec: GuestSpec, source: Peer, known: GuestSpec | None) -> GuestState:
        if spec.image is None:
            raise HostFailed("A server without an image cannot be moved.")
        server_id = spec.server_id
        within = source.host == self._settings.host_name
        if within and (known is None or known.epoch < spec.epoch):
            await self._set_aside(server_id, known)
        elif known and known.epoch < spec.epoch:
            await self._remove(server_id)
        base = await self._images.ensure(spec.image)
        size = disk_size(base, spec.disk_gb, spec.image.min_disk_gb)
        await asyncio.to_thread(self._instances.save, spec)
        await asyncio.to_thread(self._instances.place, spec)
        disk = self._instances.disk(server_id)
        if within:
            aside = await asyncio.to_thread(self._instances.aside, server_id)
            check_image(spec, await self._beneath(self._instances.aside_disk(server_id), aside))
            await copy(self._instances.aside_disk(server_id), disk)
            if self._instances.aside_ephemeral(server_id).exists():
                await copy(self._instances.aside_ephemeral(server_id), self._instances.ephemeral(server_id))
        elif source.offer is None:
            raise HostFailed(NOT_OFFERED)
        else:
            check_image(spec, source.offer.image_id)
            await self._fetch(source.offer, disk, base)
            if source.offer.ephemeral:
                await self._fetch(source.offer.ephemeral, self._instances.ephemeral(server_id), None)
        await _at_least(disk, size)
        if (second := self._instances.ephemeral(server_id)).exists():
            await _at_least(second, spec.ephemeral_gb * GIB)
        return await self._start(spec, power=spec.powered_on)

    async def _beneath(self, disk: Path, known: GuestSpec | None) -> str | None:
        """The image over which a guest's disk lies; None if it stands alone."""
        alone = await asyncio.to_thread(stands_alone, disk)
        return None if alone or known is None or known.image is None else known.image.id

    async def _fetch(self, offer: messages.DiskOffer, disk: Path, base: BaseImage | None) -> None:
        try:
            async with asyncio.timeout(COPY_SECONDS):
                await fetch(DiskOffer(offer.host, offer.port, offer.key), disk, base, lambda _: None)
        except TimeoutError:
            raise HostFailed(COPY, "it took too long") from None

    async def _set_aside(self, server_id: str, known: GuestSpec | None) -> None:
        """Set aside what the guest was before: always the disk that was given. What an earlier attempt has left, of a
        guest or of files on their way, is undone first."""
        if known and await asyncio.to_thread(self._instances.aside, server_id):
            await self._undefine(known)
        await asyncio.to_thread(self._instances.put_back, server_id)
        await self._known(server_id)
        await asyncio.to_thread(self._instances.set_aside, server_id)

    async def adopt(self, spec: GuestSpec) -> GuestState:
        async with self._turns.turn(spec.server_id):
            known = await self._known(spec.server_id)
            if known.epoch > spec.epoch:
                raise HostFailed(VOID, f"epoch {spec.epoch}, here is {known.epoch}")
            await self._disk_offers.end(spec.server_id)
            spec = msgspec.structs.replace(spec, image=known.image, generation=known.generation)
            await asyncio.to_thread(self._instances.save, spec)
            await asyncio.to_thread(self._instances.take_back, spec.server_id)
            return self._turns.tell(await self._start(spec, power=spec.powered_on))

    async def _on_its_disk(self, spec: GuestSpec) -> GuestSpec:
        # Who offers a disk has it open: QEMU would not start on it.
        await self._disk_offers.end(spec.server_id)
        return await super()._on_its_disk(spec)

    async def discard(self, server_id: str, epoch: int) -> None:
        async with self._turns.turn(server_id):
            domain = await self._find(server_id)
            if domain is not None and domain.epoch == epoch:
                await self._connection.call(lambda _: domain.remove())
            known = await asyncio.to_thread(self._instances.load, server_id)
            aside = await asyncio.to_thread(self._instances.aside, server_id)
            if known and known.epoch == epoch:
                await self._discard(known, aside)
            elif aside and aside.epoch == epoch:
                await asyncio.to_thread(self._instances.discard_aside, server_id)
            elif known is None or known.epoch < epoch:
                # That assignment was on its way in here, or out again, when something was interrupted.
                await asyncio.to_thread(self._instances.put_back, server_id)
            else:
                await asyncio.to_thread(self._instances.forget, server_id)

    async def _discard(self, known: GuestSpec, aside: GuestSpec | None) -> None:
        if aside is None:
            await self._remove(known.server_id)
            self._turns.forget(known.server_id)
            return
        await self._undefine(known)
        await asyncio.to_thread(self._instances.put_back, known.server_id)

    async def _remove(self, server_id: str) -> None:
        await self._disk_offers.end(server_id)
        await super()._remove(server_id)

    async def _undo(self, spec: GuestSpec) -> None:
        """Remove what a failed move made; that this fails, too, must not hide why the move did."""
        try:
            known = await asyncio.to_thread(self._instances.load, spec.server_id)
            aside = await asyncio.to_thread(self._instances.aside, spec.server_id)
            if known is None or known.epoch == spec.epoch:
                await self._discard(known or spec, aside)
        except (HostFailed, Unavailable) as error:
            log.warning("server %s: cleaning up: %s", spec.server_id, error)

    async def _undefine(self, spec: GuestSpec) -> None:
        """Have libvirt and the networks forget the guest; its files stay."""
        if (domain := await self._find(spec.server_id)) is not None:
            await self._connection.call(lambda _: domain.remove())
        for network_id in dict.fromkeys(nic.network_id for nic in spec.nics):
            await self._networks.refresh(network_id, without=spec.server_id)

    async def _known(self, server_id: str) -> GuestSpec:
        """What is here of a guest that has a disk. Raises HostFailed if there is none."""
        known = await asyncio.to_thread(self._instances.load, server_id)
        if known is None or not self._instances.disk(server_id).exists():
            raise HostFailed(GONE)
        return known


def check_image(spec: GuestSpec, image_id: str | None) -> None:
    """Raise HostFailed if the server's disk lies over another image than the server is said to be of."""
    if image_id is not None and spec.image is not None and image_id != spec.image.id:
        raise HostFailed(OTHER_IMAGE, f"it lies over {image_id}, and not over {spec.image.id}")


async def _at_least(disk: Path, size: int) -> None:
    if await virtual_size(disk) < size:
        await grow(disk, size)


async def _answers(offer: DiskOffer) -> bool:
    try:
        _, writer = await asyncio.open_connection(offer.host, offer.port)
    except OSError:
        return False
    writer.close()
    return True


async def copy(source: Path, disk: Path) -> None:
    """Have the disk here once more, whole or not at all; one that is there is left alone. Raises HostFailed."""
    if await asyncio.to_thread(disk.exists):
        return
    fresh = disk.with_suffix(".coming")
    await run(COPY, "cp", "--reflink=auto", "--sparse=always", "--preserve=mode,ownership", source, fresh)
    with file_failures(COPY):
        await asyncio.to_thread(fresh.replace, disk)
