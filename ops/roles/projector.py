"""The projector's process: keeps the read database up to date with the logs."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import psycopg
from psycopg import AsyncConnection

from adapters.mapper import BrokenChain
from adapters.nats.store import NatsEventStore
from domain.log.record import Recorded
from handlers.fleet.liveness import keep_beating
from handlers.ports import EventStore
from ops import notify
from ops.checkpoint import checkpoints
from ops.roles import parked
from ops.roles.archiving import Archiving
from ops.roles.erasing import Erasing
from ops.roles.plane import Plane, open_plane
from ops.roles.troubles import ALL, Troubles
from ops.settings import Settings
from projections.archive import Archive
from projections.builds import (
    Build,
    begin_build,
    builds_in_force,
    built_since,
    honour,
    outdated,
    put_in_force,
    unfinished_builds,
    unhonoured,
)
from projections.console_sessions import ConsoleSessionsView
from projections.event_log import EventLogView
from projections.hosts import HostsView
from projections.instance_actions import InstanceActionsView
from projections.migrations import MigrationsView
from projections.postgres import PostgresRows, Skipped, connect, lock_writer
from projections.servers import ServersView
from projections.table import Projection

log = logging.getLogger(__name__)

PROJECTIONS: tuple[Projection, ...] = (
    ServersView(),
    InstanceActionsView(),
    MigrationsView(),
    HostsView(),
    EventLogView(),
    ConsoleSessionsView(),
)
NAME = "projector"
RETRY_SECONDS = 0.5
GATHER_SECONDS = 0.02
"""Between two batches of what belongs to no cell. No answer waits for it but those about the past, and each batch is
a transaction: of a few creations at once each would have two beside those of its own events."""
PROGRESS_EVENTS = 20_000
REBUILD = "lightcurve_rebuild"
"""Notify this channel in the database with a projection's name, to have it built anew."""


async def run(settings: Settings, name: str) -> None:
    """Work until cancelled; a database that goes away is waited for."""
    troubles = Troubles()
    async with open_plane(settings, name) as plane, asyncio.TaskGroup() as group:
        group.create_task(keep_beating(plane.liveness, plane.stamp.clock, f"projector/{name}", troubles.facts))
        group.create_task(plane.watch())
        for store in plane.stores:
            group.create_task(checkpoints(plane, store).run())
        while True:
            try:
                await _project(plane, troubles)
            except* (psycopg.Error, OSError) as errors:
                log.warning("the read database does not answer: %s", errors.exceptions[0])
                troubles.note(ALL, f"the read database does not answer: {errors.exceptions[0]}")
            await asyncio.sleep(RETRY_SECONDS)


async def _project(plane: Plane, troubles: Troubles) -> None:
    connection = await connect(plane.settings.database.url, "lightcurve-projector")
    async with connection:
        while not await lock_writer(connection):
            log.info("another projector is at work; standing by")
            await asyncio.sleep(RETRY_SECONDS)
        writer = Writer(plane, connection, troubles)
        await writer.run()


class Writer:
    """The one writer of the database, as long as its connection lasts."""

    def __init__(self, plane: Plane, connection: AsyncConnection[Any], troubles: Troubles) -> None:
        self._plane = plane
        self._troubles = troubles
        self._connection = connection
        self._stores = {store.cell: store for store in plane.stores}
        self._lock = asyncio.Lock()
        """One transaction at a time on the connection."""
        self._archive = Archive(connection)
        self._archiving = Archiving(self._archive, plane.positions, self._lock, troubles)

    async def run(self) -> None:
        """Project until the connection ends."""
        builds = await builds_in_force(self._connection, PROJECTIONS)
        unfinished = await unfinished_builds(self._connection, PROJECTIONS, self._recoveries)
        self._unfinished = {build.projection.name: build for build in unfinished}
        self._skipped = await parked.skipped(self._plane.api_store)
        await self._archive.open()
        await self._use(builds)
        pending = await unhonoured(self._connection, self._recoveries)
        for store in self._plane.stores:
            # Since a recovery what was projected before counts for nothing.
            await self._archiving.begin(store, 0 if pending else self._position(store.cell))
        await self._recover(pending)
        await self._pass_over(self._skipped)
        for store in self._plane.stores:
            self._archiving.join(store.cell, self._position(store.cell))
            # What was read before is what others judge by whether the log has lost its end.
            await self._plane.positions.announce(NAME, store.cell, self._rows.position(store.cell))
        wanted: asyncio.Queue[str] = asyncio.Queue()
        old = [projection.name for projection in await outdated(self._connection, self._rows.builds)]
        for name in dict.fromkeys((*self._unfinished, *old)):
            wanted.put_nowait(name)
        notify.ready()
        async with asyncio.TaskGroup() as group:
            for store in self._stores.values():
                group.create_task(self._follow(store))
                group.create_task(self._archiving.care(store, self._position))
                group.create_task(self._archiving.survey_damage(store, self._position))
            group.create_task(self._listen(wanted))
            group.create_task(self._rebuild_wanted(wanted))

    async def _use(self, builds: list[Build]) -> None:
        self._rows = PostgresRows(self._connection, builds, self._skipped, self._archive)
        await self._rows.open()

    def _position(self, cell: str) -> int:
        return self._rows.position(cell)

    @property
    def _recoveries(self) -> list[str]:
        """The last one of each log that was damaged."""
        return [store.soundness.recovery_id for store in self._plane.stores if store.soundness.recovery_id]

    async def _recover(self, pending: list[str]) -> None:
        """Build everything anew if a log goes on after a damage: what is missing now was read before."""
        if not pending:
            return
        log.warning("a log was recovered: all projections are built anew")
        done = await built_since(self._connection, self._recoveries)
        try:
            for projection in PROJECTIONS:
                if projection.name not in done:
                    await self._rebuild(projection)
        except BrokenChain as error:
            log.error("nothing can be built anew: %s", error.message)
            return
        await honour(self._connection, pending)

    async def _follow(self, store: NatsEventStore) -> None:
        # What is wrong was told. Until the operator decides to go on, what is there still answers.
        with suppress(BrokenChain):
            if not self._archiving.breaks_off(store.cell):
                await self._project(store)
        await asyncio.Event().wait()

    async def _project(self, store: NatsEventStore) -> None:
        gather = 0.0 if store is self._plane.store else GATHER_SECONDS
        async with aclosing(store.follow_with_entries(self._position(store.cell))) as batches:  # type: ignore[type-var]
            async for batch, entries in batches:
                if batch:
                    async with self._lock:
                        await self._archiving.hold(store, entries)
                        await Erasing(self._connection, self._rows, store).apply(batch, entries)
                    await self._pass_over(parked.skips_in(batch))
                await self._plane.positions.announce(NAME, store.cell, self._position(store.cell))
                await asyncio.sleep(gather)

    async def _listen(self, wanted: asyncio.Queue[str]) -> None:
        connection = await connect(self._plane.settings.database.url, "lightcurve-projector-listen")
        async with connection:
            for channel in (REBUILD, parked.RETRY):
                await connection.execute(f"LISTEN {channel}")
            async for notice in connection.notifies():
                if notice.channel == REBUILD:
                    wanted.put_nowait(notice.payload)
                else:
                    await self._retry(notice.payload)

    async def _retry(self, retrial: str) -> None:
        async with self._lock:
            await parked.retry(self._rows, self._stores, parked.retrial_decoder.decode(retrial).wants)
            await self._connection.execute("SELECT pg_notify(%s, %s)", (parked.RETRIED, retrial))

    async def _pass_over(self, given_up: Skipped) -> None:
        if given_up:
            self._skipped |= given_up
            async with self._lock:
                await parked.retry(self._rows, self._stores, lambda each: (each.cell, each.position) in given_up)

    async def _rebuild_wanted(self, wanted: asyncio.Queue[str]) -> None:
        while True:
            name = await wanted.get()
            found = [build.projection for build in self._rows.builds if build.projection.name == name]
            if found:
                try:
                    await self._rebuild(found[0])
                except BrokenChain as error:
                    log.error("projection %s is not built anew: %s", name, error.message)
                    self._troubles.note(name, f"it is not built anew: {error.message}")
            else:
                log.error("there is no projection %s to be built anew", name)

    async def _rebuild(self, projection: Projection) -> None:
        """Build beside the build in force, which still answers; change over when it has caught up. A build whose
        process has ended is gone on with where it was."""
        connection = await connect(self._plane.settings.database.url, "lightcurve-rebuild")
        async with connection:
            build = self._unfinished.pop(projection.name, None)
            if build is None:
                async with connection.transaction():
                    build = await begin_build(connection, projection, self._recoveries)
            rows = PostgresRows(connection, [build], self._skipped)
            await rows.open()
            stores = self._stores.values()
            for store in stores:
                await _catch_up(Erasing(connection, rows, store), rows, store, build)
            async with self._lock:
                # Nothing is projected meanwhile, so what is in force stands still.
                for store in stores:
                    end = min(self._rows.position(store.cell), await store.last_position())
                    await _catch_up(Erasing(connection, rows, store), rows, store, build, until=end)
                async with connection.transaction():
                    await put_in_force(connection, build)
                others = [known for known in self._rows.builds if known.projection is not projection]
                await self._use([*others, build])
        log.info("projection %s was built anew", projection.name)


async def _batches(store: EventStore, after: int) -> AsyncIterator[list[Recorded]]:
    async with aclosing(store.follow(after)) as batches:  # type: ignore[type-var]
        async for batch in batches:
            yield batch


async def _catch_up(
    erasing: Erasing, rows: PostgresRows, store: EventStore, build: Build, until: int | None = None
) -> None:
    """Read a log from where the build stands to its end (or to ``until``), showing the progress."""
    end = await store.last_position() if until is None else until
    shown = position = rows.position(store.cell)
    if position >= end:
        return
    async for batch in _batches(store, position):
        if not batch:
            return  # what is missing of the end does not come
        await erasing.apply(batch)
        position = rows.position(store.cell)
        if position - shown >= PROGRESS_EVENTS or position >= end:
            log.info("building %s: %s %d of %d events", build.projection.name, store.cell, position, end)
            shown = position
        if position >= end:
            return
