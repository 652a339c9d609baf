"""The Hypervisor port on libvirt: what a host does when it is told to."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import msgspec

from adapters.disk_space import spare
from adapters.libvirt import host
from adapters.libvirt.commands import NO_SPACE, file_failures
from adapters.libvirt.config_drive import ensure_config_drive
from adapters.libvirt.connection import Connection
from adapters.libvirt.console import read_console
from adapters.libvirt.disks import GIB, disk_size, ensure_disk
from adapters.libvirt.domain_xml import HostFacts, domain_xml
from adapters.libvirt.guests import Domain, define_domain, find_domain, list_guests, look
from adapters.libvirt.images import ImageCache
from adapters.libvirt.instances import Instances
from adapters.libvirt.metadata_proxy import MetadataProxies
from adapters.libvirt.network import Networks
from adapters.libvirt.screens import Offers, graphics_address
from adapters.libvirt.settings import LibvirtSettings
from adapters.turns import Turns
from domain.errors import HostFailed, Unavailable
from domain.guest import GuestSpec, GuestState, HostDescription, PowerState
from handlers.messages import ConsoleAddress
from handlers.ports import GuestEvent, ImageFiles

T = TypeVar("T")

POLL_INTERVAL = 0.2
"""Seconds between two looks at a guest that was asked to shut down."""
BUTTON_INTERVAL = 5.0
"""Seconds after which its power button is pressed again: a guest that is still booting has not heard it."""
GONE = "The server is not on the host where it should be."

_log = logging.getLogger(__name__)


class LibvirtHypervisor:
    """One host's guests. Uses one event loop; nothing here blocks it.

    Its memory is libvirt and the state directory: a new object on the same settings goes on where another
    was killed. Beside what the port says, every operation raises Unavailable, having done no harm, while libvirtd
    does not answer: the same operation may be tried again.
    """

    def __init__(self, settings: LibvirtSettings, files: ImageFiles) -> None:
        self._settings = settings
        self._connection = Connection(settings.uri)
        self._instances = Instances(settings.instances_dir)
        self._images = ImageCache(
            settings.images_dir, files, used=self._used_images, max_bytes=settings.image_cache_gb * GIB
        )
        self._images.sweep()
        self._metadata = MetadataProxies(settings.metadata) if settings.metadata else None
        self._networks = Networks(
            settings.home, settings.run_dir, self._instances.all, self._metadata, settings.tunnel_device
        )
        self._offers = Offers(settings.console_listen, settings.console_namespace)
        self._turns = Turns()

    async def close(self) -> None:
        """Let go of libvirtd. Guests and networks live on."""
        if self._metadata:
            await self._metadata.close()
        await self._connection.close()

    async def describe(self) -> HostDescription:
        return await self._connection.call(lambda conn: host.describe(conn, self._settings))

    async def guests(self) -> list[GuestState]:
        """As in the port. Networks that these guests lack are made again at the same time."""
        await self._networks.mend()
        return await self._connection.call(lambda conn: list_guests(conn, self._settings.home))

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
                raise HostFailed(
                    "The server was assigned to this host anew; the older assignment is void.",
                    f"epoch {spec.epoch}, here is {newest}",
                )
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
                if spec.generation == 0:
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
            await self._power_off(spec.server_id, 0 if hard else timeout)
            await asyncio.to_thread(self._instances.save, spec)
            if rescue:
                await ensure_disk(self._instances.rescue_disk(spec.server_id), rescue, size)
            else:
                await asyncio.to_thread(self._instances.discard_rescue, spec.server_id)
            return self._turns.tell(await self._start(spec))

    async def destroy(self, server_id: str) -> None:
        async with self._turns.turn(server_id):
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
        used = await asyncio.to_thread(self._used_images)
        return await asyncio.to_thread(self._images.evict, used, unused_for)

    def _used_images(self) -> set[str]:
        """What guests here are made of. Blocks."""
        guests = self._instances.all()
        return {image.id for spec in guests for image in (spec.image, spec.rescue_image) if image}

    async def _make(self, spec: GuestSpec) -> GuestState:
        """Every step finds what an interrupted attempt of the same epoch and generation has done."""
        if spec.image is None:
            raise HostFailed("A server without an image cannot be built here.")
        with file_failures(NO_SPACE):
            if not spare(self._settings.state_dir):
                raise HostFailed(NO_SPACE, "only the reserve of the disk is left")
        base = await self._images.ensure(spec.image)
        size = disk_size(base, spec.disk_gb, spec.image.min_disk_gb)
        await self._discard_older(spec)
        await asyncio.to_thread(self._instances.save, spec)
        await ensure_disk(self._instances.disk(spec.server_id), base, size)
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

    async def _on_its_disk(self, spec: GuestSpec) -> GuestSpec:
        """What is now told of a guest that must be here, with what its disk is: that only a build changes."""
        known = await asyncio.to_thread(self._instances.load, spec.server_id)
        if known is None or known.epoch != spec.epoch or not self._instances.disk(spec.server_id).exists():
            raise HostFailed(GONE)
        return msgspec.structs.replace(spec, image=known.image, generation=known.generation)

    async def _start(self, spec: GuestSpec, *, power: bool = True) -> GuestState:
        """Networks, a definition that is up to date, and power if it is wanted."""
        for network_id in dict.fromkeys(nic.network_id for nic in spec.nics):
            await self._networks.refresh(network_id)
        await self._ensure_config_drive(spec)
        xml = domain_xml(spec, self._facts(spec))

        def define_and_start(conn: Any) -> GuestState:
            domain = find_domain(conn, self._settings.home, spec.server_id)
            if domain is None or not domain.is_active():
                domain = define_domain(conn, self._settings.home, xml)
            if power:
                domain.start()
            return domain.state()

        return await self._connection.call(define_and_start)

    async def _ensure_config_drive(self, spec: GuestSpec) -> None:
        if spec.config_drive:
            if self._settings.metadata is None:
                raise HostFailed("This host has no metadata service to make a config drive from.")
            path = self._instances.config_drive(spec)
            form = self._settings.config_drive_format
            await ensure_config_drive(path, spec.server_id, self._settings.metadata, form)

    async def _power_off(self, server_id: str, timeout: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pressed = float("-inf")
        while loop.time() < deadline and await self._on(server_id, Domain.can_hear):
            if loop.time() - pressed >= BUTTON_INTERVAL:
                pressed = loop.time()
                await self._on(server_id, Domain.press_power_button)
            await asyncio.sleep(min(POLL_INTERVAL, max(0.0, deadline - loop.time())))
        await self._on(server_id, Domain.power_off)

    async def _remove(self, server_id: str) -> None:
        """In the order in which an interruption leaves enough to go on."""
        spec = await asyncio.to_thread(self._instances.load, server_id)
        domain = await self._find(server_id)
        if domain is not None:
            await self._connection.call(lambda _: domain.remove())
        for network_id in dict.fromkeys(nic.network_id for nic in spec.nics) if spec else ():
            await self._networks.refresh(network_id, without=server_id)
        await asyncio.to_thread(self._instances.remove, server_id)

    async def _clean_up(self, server_id: str) -> None:
        """Remove what a failed build made; that this fails, too, must not hide why the build did."""
        try:
            await self._remove(server_id)
        except (HostFailed, Unavailable) as error:
            _log.warning("server %s: cleaning up: %s", server_id, error)

    async def _find(self, server_id: str) -> Domain | None:
        self._instances.directory(server_id)
        return await self._connection.call(lambda conn: find_domain(conn, self._settings.home, server_id))

    async def _on(self, server_id: str, do: Callable[[Domain], T]) -> T:
        """Do something to a guest that must be there."""

        def work(conn: Any) -> T:
            domain = find_domain(conn, self._settings.home, server_id)
            if domain is None:
                raise HostFailed(GONE)
            return do(domain)

        self._instances.directory(server_id)
        return await self._connection.call(work)

    async def _look(self, server_id: str) -> GuestState | None:
        return await self._connection.call(lambda conn: look(conn, self._settings.home, server_id))

    def _facts(self, spec: GuestSpec) -> HostFacts:
        return HostFacts(
            home=self._settings.home,
            virt_type=self._settings.virt_type,
            cpu=self._settings.cpu,
            screens_listen=self._settings.console_listen if self._settings.screens_by_tls else None,
            spice=self._settings.spice,
            disk=self._instances.disk(spec.server_id),
            rescue_disk=self._instances.rescue_disk(spec.server_id) if spec.rescue_image else None,
            console_log=self._instances.console_log(spec.server_id),
            config_drive=self._instances.config_drive(spec) if spec.config_drive else None,
            config_drive_format=self._settings.config_drive_format,
            bridges={nic.network_id: self._networks.bridge(nic.network_id) for nic in spec.nics},
        )
