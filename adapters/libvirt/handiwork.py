"""What every operation on a host's guests is made of: its tools, and the steps that several have in common."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from adapters.libvirt.config_drive import ensure_config_drive
from adapters.libvirt.connection import Connection
from adapters.libvirt.disks import GIB
from adapters.libvirt.domain_xml import HostFacts, domain_xml
from adapters.libvirt.further_disks import ensure_ephemeral, ensure_swap
from adapters.libvirt.guests import Domain, define_domain, find_domain, look
from adapters.libvirt.images import ImageCache
from adapters.libvirt.instances import Instances
from adapters.libvirt.metadata_proxy import MetadataProxies
from adapters.libvirt.network import Networks
from adapters.libvirt.screens import Offers
from adapters.libvirt.settings import LibvirtSettings
from adapters.libvirt.shared_disks import SharedDisks
from adapters.turns import Turns
from domain.errors import HostFailed, Unavailable
from domain.guest import GuestSpec, GuestState
from handlers.ports import ImageFiles

T = TypeVar("T")

POLL_INTERVAL = 0.2
"""Seconds between two looks at a guest that was asked to shut down."""
BUTTON_INTERVAL = 5.0
"""Seconds after which its power button is pressed again: a guest that is still booting has not heard it."""
GONE = "The server is not on the host where it should be."

_log = logging.getLogger(__name__)


class Handiwork:
    """One host's guests, from within."""

    def __init__(self, settings: LibvirtSettings, files: ImageFiles) -> None:
        self._settings = settings
        self._connection = Connection(settings.uri)
        shared = settings.shared_disks_dir
        self._instances = Instances(
            settings.instances_dir, SharedDisks(shared, settings.host_name) if shared else None
        )
        self._images = ImageCache(
            settings.images_dir,
            files,
            used=self._instances.images,
            max_bytes=settings.image_cache_gb * GIB,
            host=settings.host_name if shared else "",
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

    async def _on_its_disk(self, spec: GuestSpec) -> GuestSpec:
        """What is now told of a guest that must be here, with what its disk is: that only a build changes."""
        known = await asyncio.to_thread(self._instances.load, spec.server_id)
        if known is None or known.epoch > spec.epoch or not self._instances.disk(spec.server_id).exists():
            raise HostFailed(GONE)
        # It may have been given for a move of which nothing came: whoever is told to start it has it again.
        await asyncio.to_thread(self._instances.take_back, spec.server_id)
        return msgspec.structs.replace(spec, image=known.image, generation=known.generation)

    async def _start(self, spec: GuestSpec, *, power: bool = True) -> GuestState:
        """Networks, a definition that is up to date, and power if it is wanted."""
        for network_id in dict.fromkeys(nic.network_id for nic in spec.nics):
            await self._networks.refresh(network_id)
        await self._ensure_config_drive(spec)
        await self._ensure_further_disks(spec)
        xml = domain_xml(spec, self._facts(spec))

        def define_and_start(conn: Any) -> GuestState:
            domain = find_domain(conn, self._settings.home, spec.server_id)
            if domain is None or not domain.is_active():
                domain = define_domain(conn, self._settings.home, xml)
            if power:
                domain.start()
            return domain.state()

        return await self._connection.call(define_and_start)

    async def _ensure_further_disks(self, spec: GuestSpec) -> None:
        if spec.ephemeral_gb:
            await ensure_ephemeral(self._instances.ephemeral(spec.server_id), spec)
        if spec.swap_mb:
            await ensure_swap(self._instances.swap(spec.server_id), spec)

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
            ephemeral=self._instances.ephemeral(spec.server_id) if spec.ephemeral_gb else None,
            swap=self._instances.swap(spec.server_id) if spec.swap_mb else None,
            rescue_disk=self._instances.rescue_disk(spec.server_id) if spec.rescue_image else None,
            console_log=self._instances.console_log(spec.server_id),
            config_drive=self._instances.config_drive(spec) if spec.config_drive else None,
            config_drive_format=self._settings.config_drive_format,
            bridges={nic.network_id: self._networks.bridge(nic.network_id) for nic in spec.nics},
        )
