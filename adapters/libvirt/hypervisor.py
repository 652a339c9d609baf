"""The Hypervisor port on libvirt: what a host does when it is told to."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from adapters.disk_space import spare
from adapters.libvirt import host
from adapters.libvirt.commands import NO_SPACE, file_failures
from adapters.libvirt.console import read_console
from adapters.libvirt.disks import disk_size, ensure_disk, ensure_own_disk
from adapters.libvirt.guests import Domain, list_guests
from adapters.libvirt.handiwork import GONE
from adapters.libvirt.holding import Holding, holding
from adapters.libvirt.live_moving import LiveMoving
from adapters.libvirt.moving import VOID
from adapters.libvirt.screens import graphics_address
from domain.errors import HostFailed, Unavailable
from domain.guest import GuestSpec, GuestState, HostDescription, PowerState
from handlers.messages import ConsoleAddress
from handlers.ports import GuestEvent

_log = logging.getLogger(__name__)


class LibvirtHypervisor(LiveMoving):
    """One host's guests. Uses one event loop; nothing here blocks it.

    Its memory is libvirt and the state directory: a new object on the same settings goes on where another
    was killed. Beside what the port says, every operation raises Unavailable, having done no harm, while libvirtd
    does not answer: the same operation may be tried again.
    """

    async def describe(self) -> HostDescription:
        return await self._connection.call(lambda conn: host.describe(conn, self._settings))

    async def guests(self) -> list[GuestState]:
        """As in the port. Networks that these guests lack are made again at the same time."""
        await self._networks.mend()
        home = self._settings.home

        def listed(conn: Any) -> list[GuestState]:
            """Without those that are on their way here: they stand still until all of them has come."""
            found = list_guests(conn, home)
            still = [guest for guest in found if guest.power_state is PowerState.PAUSED]
            coming = {guest.server_id for guest in still if holding(conn, home, guest.server_id) is Holding.COMING}
            return [guest for guest in found if guest.server_id not in coming]

        return await self._connection.call(listed)

    async def remove_everything(self) -> list[str]:
        """Destroy every guest of ours that libvirt or the state directory knows, then all networks and rules.

        Returns the servers' ids. For a host that is given up: nobody else may use the state directory meanwhile.
        Raises HostFailed, Unavailable; then it can be called again.
        """
        in_libvirt = await self._connection.call(lambda conn: list_guests(conn, self._settings.home))
        on_disk = await asyncio.to_thread(self._instances.all)
        found = sorted({guest.server_id for guest in in_libvirt} | {spec.server_id for spec in on_disk})
        for server_id in found:
            await self.destroy(server_id)
        await self._networks.remove_all()
        return found

    async def build(self, spec: GuestSpec) -> GuestState:
        """Make the guest and start it; see the port.

        Refuses, with HostFailed, an epoch older than the one that is here. What fails leaves nothing behind, unless
        it was to build anew what is here.
        """
        async with self._turns.turn(spec.server_id):
            found = await self._find(spec.server_id)
            known = await asyncio.to_thread(self._instances.load, spec.server_id)
            newest = max(found.epoch if found else 0, known.epoch if known else 0)
            if newest > spec.epoch:
                raise HostFailed(VOID, f"epoch {spec.epoch}, here is {newest}")
            generation = known.generation if known else spec.generation
            if found and found.epoch == spec.epoch and generation == spec.generation:
                state = await self._on(spec.server_id, Domain.state)
                if state.power_state is PowerState.RUNNING:
                    return self._turns.tell(state)
            elif newest and newest < spec.epoch:
                await self._remove(spec.server_id)
            try:
                return self._turns.tell(await self._make(spec))
            except Unavailable:
                # It will be tried again, and goes on from here.
                raise
            except Exception:
                if spec.generation == 0 or spec.disk_image:
                    await self._clean_up(spec.server_id)
                raise

    async def recreate(self, spec: GuestSpec) -> GuestState:
        """As in the port. A disk in common that the dead host's QEMU still has open is locked by it: that fails."""
        async with self._turns.turn(spec.server_id):
            known = await asyncio.to_thread(self._instances.load, spec.server_id)
            if known and known.epoch > spec.epoch:
                raise HostFailed(VOID, f"epoch {spec.epoch}, here is {known.epoch}")
            if known is None or known.epoch < spec.epoch:
                await self._remove(spec.server_id)
            try:
                return self._turns.tell(await self._make(spec, lost=True))
            except Unavailable:
                # It will be tried again, and goes on from here.
                raise
            except Exception:
                await self._clean_up(spec.server_id)
                raise

    async def start(self, spec: GuestSpec) -> GuestState:
        async with self._turns.turn(spec.server_id):
            spec = await self._on_its_disk(spec)
            await asyncio.to_thread(self._instances.save, spec)
            return self._turns.tell(await self._start(spec))

    async def pause(self, server_id: str) -> GuestState:
        async with self._turns.turn(server_id):
            await self._on(server_id, Domain.pause)
            return self._turns.tell(await self._on(server_id, Domain.state))

    async def suspend(self, server_id: str) -> GuestState:
        """Save its memory, by libvirt's managed save, and end its QEMU."""
        async with self._turns.turn(server_id):
            await self._on(server_id, Domain.save)
            return self._turns.tell(await self._on(server_id, Domain.state))

    async def inject_nmi(self, server_id: str) -> GuestState:
        async with self._turns.turn(server_id):
            await self._on(server_id, Domain.inject_nmi)
            return self._turns.tell(await self._on(server_id, Domain.state))

    async def stop(self, server_id: str, timeout: float) -> GuestState:
        async with self._turns.turn(server_id):
            await self._power_off(server_id, timeout)
            return self._turns.tell(await self._on(server_id, Domain.state))

    async def reboot(self, spec: GuestSpec, *, hard: bool, timeout: float) -> GuestState:
        """Power cycle; a soft one gives the guest ``timeout`` seconds to shut down by itself.

        The image of a rescue is at hand, and known to fit, before the guest is powered off.
        """
        async with self._turns.turn(spec.server_id):
            spec = await self._on_its_disk(spec)
            rescue = await self._images.ensure(spec.rescue_image) if spec.rescue_image else None
            size = disk_size(rescue, spec.disk_gb) if rescue else 0
            if await self._find(spec.server_id) is not None:
                await self._power_off(spec.server_id, 0 if hard else timeout)
            await asyncio.to_thread(self._instances.save, spec)
            if rescue:
                await ensure_disk(self._instances.rescue_disk(spec.server_id), rescue, size)
            else:
                await asyncio.to_thread(self._instances.discard_rescue, spec.server_id)
            return self._turns.tell(await self._start(spec))

    async def destroy(self, server_id: str) -> None:
        async with self._turns.turn(server_id):
            await asyncio.to_thread(self._instances.end, server_id)
            await self._remove(server_id)
            self._turns.forget(server_id)

    async def console_log(self, server_id: str, lines: int | None) -> str:
        """The last ``lines`` lines (all, if None) of the guest's serial console, at most 1 MiB."""
        path = self._instances.console_log(server_id)
        if not path.parent.is_dir():
            raise HostFailed(GONE)
        return await asyncio.to_thread(read_console, path, lines)

    async def console(self, server_id: str, protocol: str) -> ConsoleAddress | None:
        """Where the guest's screen or serial port can be reached; None if it has none, or does not run."""
        document = await self._on(server_id, Domain.xml)
        if protocol == "serial":
            return await self._offers.serial(document)
        return graphics_address(document, protocol) or await self._offers.screen(document, protocol)

    async def watch(self) -> AsyncIterator[GuestEvent]:
        """Changes of power state that nobody here asked for; see the port.

        Begins when the first one is asked for, with what changed while nobody watched in guests that this object
        has told of before. One watcher at a time.
        """
        loop = asyncio.get_running_loop()

        def on_change(uuid: str | None) -> None:
            # In libvirt's thread; the loop may have ended before it.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._turns.changed, uuid)

        self._connection.listen(on_change)
        try:
            await self._connection.call(lambda conn: conn.getLibVersion())
            async for state in self._turns.changes(self._look):
                yield GuestEvent(state)
        except Unavailable as error:
            raise HostFailed(error.message) from error
        finally:
            self._connection.unlisten(on_change)

    async def evict_images(self, unused_for: float = 86400.0) -> list[str]:
        """Remove cached images that no guest here has used for so many seconds; returns their ids."""
        used = await asyncio.to_thread(self._instances.images)
        return await asyncio.to_thread(self._images.evict, used, unused_for)

    async def _make(self, spec: GuestSpec, *, lost: bool = False) -> GuestState:
        """Every step finds what an interrupted attempt of the same epoch and generation has done. ``lost``: the disk
        that the server had is taken, if it can be seen here."""
        if spec.image is None:
            raise HostFailed("A server without an image cannot be built here.")
        with file_failures(NO_SPACE):
            if not spare(self._settings.state_dir):
                raise HostFailed(NO_SPACE, "only the reserve of the disk is left")
        image = spec.disk_image or spec.image
        base = await self._images.ensure(image)
        size = disk_size(base, spec.disk_gb, image.min_disk_gb)
        await self._discard_older(spec)
        await asyncio.to_thread(self._instances.save, spec)
        await asyncio.to_thread(self._instances.place, spec, found=lost)
        make = ensure_own_disk if spec.disk_image else ensure_disk
        await make(self._instances.disk(spec.server_id), base, size)
        return await self._start(spec, power=spec.powered_on)

    async def _discard_older(self, spec: GuestSpec) -> None:
        """Remove the disks of an older generation."""
        known = await asyncio.to_thread(self._instances.load, spec.server_id)
        if known is None or known.generation == spec.generation:
            return
        domain = await self._find(spec.server_id)
        if domain is not None:
            await self._connection.call(lambda _: domain.power_off())
        await asyncio.to_thread(self._instances.discard_disks, spec.server_id)
