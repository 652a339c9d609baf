"""The API's process: the REST faces over what this process holds in memory and what the projections answer."""

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from adapters.rest.app import create_app
from adapters.rest.image.files import forget_deleted
from adapters.rest.kit.event_stream import Streams
from adapters.rest.kit.limits import LargeBodies
from adapters.rest.kit.policy import Policy
from adapters.rest.kit.policy_checks import read_overrides
from adapters.rest.kit.services import AuditServices, Bounds, ConsoleServices, Services, StockLimits
from adapters.rest.kit.settings import RestSettings
from adapters.rest.past import PastServices
from adapters.volume_files import VolumeFiles
from domain.catalogue import flavor, keypair, quota, server_group
from domain.fleet import host
from domain.log.kind import Kind
from domain.neighbours import image, network, volume_type
from domain.neighbours.identity import state as people
from domain.neighbours.volume import state as storage
from domain.neighbours.volume.changes import VolumeLimits
from domain.server.fold import KIND as SERVER
from handlers.accepted import Accepted
from handlers.consoles.logs import ConsoleLogs
from handlers.context import current_owner, sees_all
from handlers.fleet.fleet import Fleet
from handlers.fleet.hosts import Hosts
from handlers.fleet.liveness import LifeSigns, keep_beating
from handlers.host.image_tickets import ImageTickets
from handlers.log.disorder import Disorder
from handlers.log.ledger_feed import LedgerFeed
from handlers.log.own_writes import OwnWrites
from handlers.log.registry import Registry
from handlers.metadata import Passwords
from handlers.neighbours import Neighbours
from handlers.neighbours.images import EmbeddedImages
from handlers.neighbours.networks import EmbeddedNetworks
from handlers.neighbours.revocations import Revocations
from handlers.neighbours.volume_bytes import VolumeBytes
from handlers.neighbours.volumes import EmbeddedVolumes
from handlers.past.moments import Moments
from handlers.past.news import News
from handlers.servers.admission import Admission
from handlers.servers.progress import MigrationProgress
from handlers.servers.servers import Servers
from handlers.together import together
from ops.identity import LiveIdentity, identity_settings
from ops.roles import projector
from ops.roles.conductor import image_tickets
from ops.roles.console_grants import consoles
from ops.roles.plane import Plane, open_plane
from ops.roles.serving import serve
from ops.settings import QuotaSettings, Settings
from projections.log_queries import LogQueries
from projections.past import PastQueries

log = logging.getLogger(__name__)

SETTLE_SECONDS = 5.0
"""How long an answer waits for the projection to show what the request has done."""
PROJECTED = (SERVER.name, host.KIND.name)
"""The kinds of which the projections tell the API."""


async def run(settings: Settings, name: str) -> None:
    """Serve until cancelled."""
    async with open_plane(settings, name) as plane:
        own_writes = OwnWrites(partial(projected, plane), current_owner.get, sees_all.get)
        async with LogQueries(settings.database.url, owner=current_owner.get, unread=own_writes.unread) as queries:
            await _serve(plane, queries, own_writes, name)


async def projected(plane: Plane, cell: str, position: int) -> bool:
    """Wait until the read database has a position, but no longer than SETTLE_SECONDS; whether it has."""
    return await plane.positions.reached(projector.NAME, cell, position, SETTLE_SECONDS)


async def _serve(plane: Plane, queries: LogQueries, own_writes: OwnWrites, name: str) -> None:
    settings, stamp, clock = plane.settings, plane.stamp, plane.stamp.clock
    disorder = Disorder()
    neighbours: list[Kind[Any]] = [network.KIND, image.KIND, storage.KIND, volume_type.KIND, people.KIND]
    kinds: list[Kind[Any]] = [flavor.KIND, keypair.KIND, server_group.KIND, quota.KIND, *neighbours]
    registry = Registry(plane.api_store, stamp, kinds, disorder)
    host_registry = Registry(plane.store, stamp, [host.KIND], disorder)
    feed = LedgerFeed(plane.store, stamp, disorder)
    life = LifeSigns(plane.liveness, clock)
    limits = settings.quota.limits
    registry.listen(partial(forget_deleted, rest_settings(settings).images_dir))
    volume_files = VolumeFiles(rest_settings(settings).volumes_dir, rest_settings(settings).images_dir)
    volume_bytes = VolumeBytes(registry, plane.api_store, volume_files, stamp)
    workers = Workers(plane, registry, host_registry, own_writes, name)
    identity = LiveIdentity(settings, registry, plane.api_vault, stamp)
    revocations = Revocations(plane.api_store, stamp, disorder)
    services = Services(
        settings=rest_settings(settings),
        registry=registry,
        neighbours=Neighbours(
            identity.directory,
            EmbeddedImages(registry, stamp, settings.quota.images),
            EmbeddedNetworks(registry),
            EmbeddedVolumes(registry),
        ),
        servers=Servers(plane.cells, registry, stamp, limits, Admission(life)),
        hosts=Hosts(host_registry),
        fleet=Fleet(host_registry),
        queries=queries,
        audit=AuditServices(queries, News(plane.positions, projector.NAME, clock), plane.event_at, Streams()),
        liveness=life,
        ledger=lambda: feed.writer.state,
        progress=MigrationProgress(plane.cells),
        settle=workers.settle,
        consoles=ConsoleServices(
            consoles(plane),
            ConsoleLogs(plane.cells),
            settings.console.public_url.rstrip("/"),
            settings.console.spice_direct_url,
        ),
        policy=policy(settings),
        passwords=Passwords(plane.cells),
        revocations=revocations,
        people=identity.people,
        tickets=image_tickets(settings, clock) or ImageTickets(secrets.token_bytes(32), clock),
        limits=Bounds(limits, _stock_limits(settings.quota), LargeBodies(clock)),
        stamp=stamp,
    )
    past = PastServices(
        services,
        Moments(plane.stores, clock, partial(projected, plane)),
        plane.store,
        plane.api_store,
        lambda moment, stores: PastQueries(queries, moment, stores),
    )
    services = replace(services, past=past)
    async with asyncio.TaskGroup() as group:
        background = [
            group.create_task(registry.run()),
            group.create_task(host_registry.run()),
            group.create_task(feed.run()),
            group.create_task(life.run()),
            group.create_task(revocations.run()),
            group.create_task(
                keep_beating(plane.liveness, clock, f"api/{name}", disorder.facts, plane.refusals.facts)
            ),
            group.create_task(workers.announce()),
            group.create_task(volume_bytes.run()),
            group.create_task(plane.watch()),
        ]
        await together(identity.start(), host_registry.ready(), feed.ready(), revocations.ready())
        background.append(group.create_task(identity.run()))
        await serve(create_app(services, identity.directory), settings.api.listen, settings.api.port, background)


def policy(settings: Settings) -> Policy:
    """The policy that the operator wants. Raises Invalid."""
    file = settings.api.policy_file
    return Policy(read_overrides(file) if file else {})


def _stock_limits(quota: QuotaSettings) -> StockLimits:
    def in_bytes(gigabytes: int) -> int:
        return gigabytes << 30 if gigabytes >= 0 else gigabytes

    return StockLimits(
        networks=quota.networks,
        ports=quota.ports,
        images=quota.images,
        image_bytes=in_bytes(quota.image_gb),
        one_image_bytes=in_bytes(quota.one_image_gb),
        storage=VolumeLimits(
            volumes=quota.volumes,
            snapshots=quota.snapshots,
            gigabytes=quota.volume_gb,
            per_volume_gigabytes=quota.one_volume_gb,
        ),
    )


class Workers:
    """Read-your-writes over all API processes: whichever takes the next request must know of this one's write. Where
    there is no other, it is enough to wait for the read database before it is asked."""

    def __init__(
        self, plane: Plane, registry: Registry, host_registry: Registry, own_writes: OwnWrites, name: str
    ) -> None:
        self._plane = plane
        self._held = {plane.settings.api_cell: registry, plane.settings.cell: host_registry}
        """What each process holds in memory, by cell."""
        self._own_writes = own_writes
        self._name = name
        self._others = [worker for worker in names(plane.settings) if worker != name]
        self._news = asyncio.Event()
        for held in self._held.values():
            held.listen(lambda _: self._news.set())

    async def announce(self) -> None:
        """Tell the other processes, if there are any, how far this one has read, until cancelled."""
        if not self._others:
            return
        for held in self._held.values():
            await held.ready()
        told: dict[str, int] = {}
        while True:
            self._news.clear()
            for cell, held in self._held.items():
                if held.position != told.get(cell):
                    told[cell] = held.position
                    await self._plane.positions.announce(self._name, cell, told[cell])
            await self._news.wait()

    async def settle(self, accepted: Iterable[Accepted]) -> None:
        """Wait until whoever reads knows of what was written, but no longer than SETTLE_SECONDS."""
        newest: dict[tuple[str, str], int] = {}
        about: dict[tuple[str, str], list[str]] = defaultdict(list)
        for cell, aggregate, position in accepted:
            place = cell, aggregate.kind
            newest[place] = max(position, newest.get(place, 0))
            about[place].append(aggregate.id)
        await together(
            *(
                self._until_read(reader, place[0], position, about[place])
                for place, position in newest.items()
                for reader in self._readers(place[1])
                if position
            )
        )

    def _readers(self, kind: str) -> list[str]:
        """Who answers questions about aggregates of a kind."""
        held = any(kind in registry.kinds for registry in self._held.values())
        return (self._others if held else []) + ([projector.NAME] if kind in PROJECTED else [])

    async def _until_read(self, reader: str, cell: str, position: int, about: list[str]) -> None:
        if reader == projector.NAME and not self._others:
            await self._own_writes.wrote(cell, position, about)
        elif not await self._plane.positions.reached(reader, cell, position, SETTLE_SECONDS):
            log.warning("%s has not read position %d of %s in time", reader, position, cell)


def names(settings: Settings) -> list[str]:
    return [f"api-{number}" for number in range(1, settings.api.workers + 1)]


def rest_settings(settings: Settings) -> RestSettings:
    return RestSettings(
        public_url=settings.api.public_url.rstrip("/"),
        identity=identity_settings(settings.identity),
        images_dir=settings.state_dir.absolute() / "images",
        volumes_dir=settings.state_dir.absolute() / "volumes",
        cell=settings.cell,
        api_cell=settings.api_cell,
        region=settings.api.region,
        placement_url=settings.placement.public_url.rstrip("/"),
        resize_confirm_seconds=settings.api.resize_confirm_seconds,
        live_migration_seconds=settings.api.live_migration_seconds,
        live_migration_policy=settings.api.live_migration_policy,
        shelved_offload_seconds=settings.api.shelved_offload_seconds,
    )
