"""A host's part in moving a server that runs: being ready for its guest, and sending it."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

from adapters.libvirt.connection import Connection
from adapters.libvirt.cpu_check import check_cpu, cpu_of
from adapters.libvirt.disks import disk_size, ensure_disk
from adapters.libvirt.domain_xml import domain_xml
from adapters.libvirt.guests import Domain
from adapters.libvirt.handiwork import GONE
from adapters.libvirt.holding import Holding, holding
from adapters.libvirt.imaging import Imaging
from adapters.libvirt.live_migration import LiveMigrations, Migration
from adapters.libvirt.moving import VOID
from adapters.libvirt.settings import LibvirtSettings
from domain.errors import HostFailed, Unavailable
from domain.guest import GuestSpec, GuestState, PowerState
from handlers.messages import Arrival, Peer
from handlers.ports import ImageFiles

NOT_READY = "Nothing is ready for the server on this host."


class LiveMoving(Imaging):
    """What takes a guest from one host to another while it runs."""

    def __init__(self, settings: LibvirtSettings, files: ImageFiles) -> None:
        super().__init__(settings, files)
        self._leaving = LiveMigrations(settings.uri, settings.home)

    async def close(self) -> None:
        """What is leaving goes on."""
        await self._leaving.close()
        await super().close()

    async def prepare(self, spec: GuestSpec) -> GuestState:
        """As in the port: files and networks; libvirt knows the guest when it comes."""
        async with self._turns.turn(spec.server_id):
            known = await asyncio.to_thread(self._instances.load, spec.server_id)
            if known and known.epoch > spec.epoch:
                raise HostFailed(VOID, f"epoch {spec.epoch}, here is {known.epoch}")
            if known and known.epoch < spec.epoch:
                await self._remove(spec.server_id)
            try:
                await self._prepare(spec)
            except Unavailable:
                # It will be tried again, and goes on from here.
                raise
            except Exception:
                await self._undo(spec)
                raise
            return GuestState(server_id=spec.server_id, epoch=spec.epoch, power_state=PowerState.NOSTATE)

    async def _prepare(self, spec: GuestSpec) -> None:
        if spec.image is None:
            raise HostFailed("A server without an image cannot be moved.")
        base = await self._images.ensure(spec.image)
        await asyncio.to_thread(self._instances.save, spec)
        await asyncio.to_thread(self._instances.place, spec, found=True)
        size = disk_size(base, spec.disk_gb, spec.image.min_disk_gb)
        await ensure_disk(self._instances.disk(spec.server_id), base, size)
        for network_id in dict.fromkeys(nic.network_id for nic in spec.nics):
            await self._networks.refresh(network_id)
        await self._ensure_config_drive(spec)
        await self._ensure_further_disks(spec)

    async def arrival(self, server_id: str) -> Arrival:
        """As in the port. What lies over the image comes with the guest, but where the disk was found to be common to
        both hosts."""
        async with self._turns.turn(server_id):
            known = await asyncio.to_thread(self._instances.load, server_id)
            if known is None or not self._instances.disk(server_id).exists():
                raise HostFailed(NOT_READY)
            definition = domain_xml(known, self._facts(known))
            uri = self._settings.migration_uri.format(host=self._settings.host_name)
            found = await asyncio.to_thread(self._instances.has_found, known)
            return Arrival(uri=uri, definition=definition, copied=_disks(definition)[1 if found else 0 :])

    async def leave(self, server_id: str, target: Peer, deadline: datetime | None) -> GuestState:
        """As in the port. A migration that is under way is joined."""
        if target.arrival is None:
            raise HostFailed("The host was not told how the server comes to the other one.")
        async with self._turns.turn(server_id):
            known = await self._known(server_id)
            left = GuestState(server_id=server_id, epoch=known.epoch, power_state=PowerState.RUNNING)
            if await self._find(server_id) is None:
                if await self._is_there(server_id, target.arrival):
                    return left
                raise HostFailed(GONE)
            await self._check_cpu(server_id, target.arrival)
            # It may run without a disk that it will have from its next start on.
            present = _disks(await self._on(server_id, Domain.xml))
            migration = Migration(
                server_id=server_id,
                target_uri=target.arrival.uri,
                wanted=target.arrival.definition,
                copied=tuple(disk for disk in target.arrival.copied if disk in present),
            )
            await self._send(migration, deadline)
            return left

    async def _send(self, migration: Migration, deadline: datetime | None) -> None:
        """Have it there by the deadline, or raise HostFailed."""
        sending = asyncio.create_task(self._leaving.run(migration))
        seconds = max(0.0, (deadline - datetime.now(UTC)).total_seconds()) if deadline else None
        done, _ = await asyncio.wait({sending}, timeout=seconds)
        if not done:
            await self._leaving.abort(migration.server_id)
        await sending

    async def _is_there(self, server_id: str, arrival: Arrival) -> bool:
        def ask(conn: Any) -> bool:
            return holding(conn, self._settings.home, server_id) in {Holding.ON, Holding.OFF}

        return bool(await _at(arrival.uri, ask))

    async def _check_cpu(self, server_id: str, arrival: Arrival) -> None:
        document = await self._on(server_id, Domain.xml)
        cpu = await self._connection.call(lambda conn: cpu_of(conn, document))
        await _at(arrival.uri, lambda conn: check_cpu(conn, cpu))


async def _at(uri: str, ask: Any) -> Any:
    """Ask the libvirtd of another host."""
    connection = Connection(uri)
    try:
        return await connection.call(ask)
    finally:
        await connection.close()


def _disks(definition: str) -> tuple[str, ...]:
    """The names that the disks to which the guest writes have for libvirt, its root disk first."""
    disks = ET.fromstring(definition).findall("devices/disk[@device='disk']")  # noqa: S314 (from us)
    written = (disk.find("target") for disk in disks if disk.find("readonly") is None)
    return tuple(target.get("dev", "") for target in written if target is not None)
