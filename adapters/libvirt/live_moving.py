"""A host's part in moving a server that runs: being ready for its guest, and sending it."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from adapters.libvirt import other_host, post_copy
from adapters.libvirt.cpu_check import check_cpu, cpu_of
from adapters.libvirt.disks import disk_size, ensure_disk
from adapters.libvirt.domain_xml import domain_xml
from adapters.libvirt.guests import Domain
from adapters.libvirt.handiwork import GONE
from adapters.libvirt.holding import Holding, Keeper, holding, keeper
from adapters.libvirt.imaging import Imaging
from adapters.libvirt.line import Line
from adapters.libvirt.live_migration import ABORTED, LiveMigrations, Migration, Report
from adapters.libvirt.moving import OTHER_IMAGE, VOID
from adapters.libvirt.settings import LibvirtSettings
from adapters.libvirt.steering import Steering
from domain.errors import HostFailed, InLine, Unavailable
from domain.guest import GuestSpec, GuestState, PowerState
from domain.server.moves.orders import KEEP_TRYING, Orders
from handlers.messages import Arrival, Peer, Progress
from handlers.ports import ImageFiles

LEAVES = (Holding.ON, Holding.LEAVING)
NOT_READY = "Nothing is ready for the server on this host."


class LiveMoving(Imaging):
    """What takes a guest from one host to another while it runs."""

    def __init__(self, settings: LibvirtSettings, files: ImageFiles) -> None:
        super().__init__(settings, files)
        self._leaving = LiveMigrations(settings.uri, settings.home)
        self._line = Line(settings.max_incoming)
        self._admission = asyncio.Lock()

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
            await self._wait_in_line(spec)
            try:
                await self._prepare(spec)
            except Unavailable:
                # It will be tried again, and goes on from here.
                raise
            except Exception:
                await self._undo(spec)
                raise
            return GuestState(server_id=spec.server_id, epoch=spec.epoch, power_state=PowerState.NOSTATE)

    async def _wait_in_line(self, spec: GuestSpec) -> None:
        """Raise InLine while others come first. Who comes is written down, for an agent that is started anew."""
        async with self._admission:
            coming = await self._coming()
            if not self._line.admits(spec.server_id, coming, asyncio.get_running_loop().time()):
                raise InLine("Others come to the host first.")
            await asyncio.to_thread(self._instances.save, spec)
            await asyncio.to_thread(self._instances.expect, spec.server_id)

    async def discard(self, server_id: str, epoch: int) -> None:
        self._line.leave(server_id)
        await super().discard(server_id, epoch)

    async def _coming(self) -> set[str]:
        """The guests that are expected here and have not come."""
        coming = set()
        for server_id in await asyncio.to_thread(self._instances.expected):
            if await self._held(server_id) in {Holding.NOTHING, Holding.COMING}:
                coming.add(server_id)
            else:
                await asyncio.to_thread(self._instances.stop_expecting, server_id)
        return coming

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
            return Arrival(
                uri=uri,
                definition=definition,
                copied=other_host.disks(definition)[1 if found else 0 :],
                post_copy=self._settings.post_copy and await self._connection.call(post_copy.is_possible),
            )

    async def leave(self, server_id: str, target: Peer, orders: Callable[[], Orders]) -> GuestState:
        """As in the port. A migration that is under way is joined."""
        if target.arrival is None:
            raise HostFailed("The host was not told how the server comes to the other one.")
        arrival = target.arrival
        async with self._turns.turn(server_id):
            known = await self._known(server_id)
            here = await self._held(server_id)
            report: Report | None = None
            failure = HostFailed(GONE)
            if here in LEAVES:
                try:
                    report = await self._send(server_id, arrival, orders, joins=here is Holding.LEAVING)
                except HostFailed as error:
                    if await self._held(server_id) is Holding.ON:
                        raise
                    # It does not run here any more: what failed may have been the asking only.
                    failure = error
            identity = other_host.expected(arrival.definition)
            there = await other_host.at(arrival.uri, lambda conn: other_host.found(conn, identity))
            # One that was joined may have ended on its way: only who began a migration hears how it went.
            if report is None and keeper(await self._held(server_id), there.held) is not Keeper.TARGET:
                raise failure
            return GuestState(
                server_id=server_id,
                epoch=known.epoch,
                power_state=there.power_state,
                downtime_ms=report.downtime_ms if report else there.downtime_ms,
            )

    async def progress(self, server_id: str) -> Progress | None:
        found = await self._leaving.progress(server_id)
        if found is None:
            return None
        return Progress(
            memory_total=found.memory_total,
            memory_processed=found.memory_processed,
            memory_remaining=found.memory_remaining,
            disk_total=found.disk_total,
            disk_processed=found.disk_processed,
            disk_remaining=found.disk_remaining,
        )

    async def _held(self, server_id: str) -> Holding:
        self._instances.directory(server_id)
        return await self._connection.call(lambda conn: holding(conn, self._settings.home, server_id))

    async def _send(
        self, server_id: str, arrival: Arrival, orders: Callable[[], Orders], *, joins: bool
    ) -> Report | None:
        """Have it there, or raise HostFailed: by itself, or because that is wanted meanwhile."""
        if not joins:
            if orders().due(datetime.now(UTC)):
                raise HostFailed(ABORTED)
            await self._check_cpu(server_id, arrival)
            await self._check_image(server_id, arrival)
        # It may run without a disk that it will have from its next start on.
        present = other_host.disks(await self._on(server_id, Domain.xml))
        migration = Migration(
            server_id=server_id,
            target_uri=arrival.uri,
            wanted=arrival.definition,
            copied=tuple(disk for disk in arrival.copied if disk in present),
            bandwidth=self._settings.migration_mib,
            post_copy=arrival.post_copy,
            slows_down=orders().policy == KEEP_TRYING,
        )
        steering = Steering(self._leaving, migration, orders)
        return await steering.run()

    async def _check_image(self, server_id: str, arrival: Arrival) -> None:
        known = await self._known(server_id)
        beneath = await self._beneath(self._instances.disk(server_id), known)
        if beneath not in (None, other_host.image_of(arrival.definition)):
            raise HostFailed(OTHER_IMAGE, f"it lies over {beneath}")

    async def _check_cpu(self, server_id: str, arrival: Arrival) -> None:
        document = await self._on(server_id, Domain.xml)
        cpu = await self._connection.call(lambda conn: cpu_of(conn, document))
        await other_host.at(arrival.uri, lambda conn: check_cpu(conn, cpu))
