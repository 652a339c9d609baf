"""The bytes of volumes: made, grown and removed as the log says, whatever died in between.

The log says first what shall be; what is there follows. Whoever makes the bytes looks at what is still to be done,
does it, and says so. A crash leaves either something still to be done, which is done again, or a disk of which no
record tells, which is removed.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, Protocol

from domain.errors import HostFailed, LightcurveError
from domain.log.record import Recorded
from domain.neighbours.volume import snapshots, volumes
from domain.neighbours.volume import state as storage
from domain.neighbours.volume.changes import IMAGE, SNAPSHOT, Source
from domain.neighbours.volume.state import GROW, MAKE, REMOVE, Storage
from handlers.context import Stamp
from handlers.log.registry import Registry
from handlers.ports import EventStore

log = logging.getLogger(__name__)

MAX_AT_ONCE = 4
"""Disks that are made or removed at the same time."""
AGAIN_SECONDS = 5.0
"""After which what could not be done or said is tried again."""


class Disks(Protocol):
    """Where the bytes are. Everything may be done again: what is done already stays as it is. Raises HostFailed, with
    words for the user, for what will not do."""

    def alone(self) -> AbstractAsyncContextManager[None]:
        """Wait until nobody else makes disks here, nor anything that somebody began who is dead. Nobody does while
        the context lasts. Raises HostFailed, as all here does, where no disks can be kept."""
        ...

    async def create(self, disk: str, size_gb: int) -> None:
        """Have an empty disk, all zeros."""
        ...

    async def create_from_image(self, disk: str, image_id: str, disk_format: str, size_gb: int) -> None:
        """Have a disk that begins with what an image holds."""
        ...

    async def copy(self, disk: str, original: str, size_gb: int) -> None:
        """Have a disk that begins with what another one holds now."""
        ...

    async def grow(self, disk: str, size_gb: int) -> None:
        """Have the disk larger; what is added is zeros."""
        ...

    async def remove(self, disk: str) -> None:
        """Have it no longer, nor anything that was begun of it."""
        ...

    async def all(self) -> Sequence[str]:
        """The names of all that there are, also of those that were only begun."""
        ...


def volume_disk(volume_id: str) -> str:
    """The name of a volume's disk."""
    return f"volume-{volume_id}"


def snapshot_disk(snapshot_id: str) -> str:
    """The name of a snapshot's disk."""
    return f"snapshot-{snapshot_id}"


class VolumeBytes:
    """Brings the disks to what the records say. One process at a time does; the others are there when it dies."""

    def __init__(self, registry: Registry, store: EventStore, disks: Disks, stamp: Stamp) -> None:
        """``registry`` holds the storage of all projects, whose log ``store`` is."""
        self._registry = registry
        self._store = store
        self._disks = disks
        self._stamp = stamp
        self._news = asyncio.Event()
        self._changed: set[str] = set()
        """Projects to be looked at."""
        self._busy: dict[str, asyncio.Task[None]] = {}
        """By the id of a volume or snapshot."""
        self._free = asyncio.Semaphore(MAX_AT_ONCE)
        registry.listen(self._hear)

    async def run(self) -> None:
        """Work until cancelled. Where disks cannot be kept now, that is tried again: nobody else suffers from it."""
        await self._registry.ready()
        while True:
            try:
                async with self._disks.alone():
                    await self._work()
            except HostFailed as error:
                log.warning("%s %s", error, error.details)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _work(self) -> None:
        self._changed |= {project_id for project_id, _ in self._registry.states(storage.KIND.name)}
        await self._remove_ownerless()
        try:
            await self._look_at_changes()
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _look_at_changes(self) -> None:
        while True:
            self._news.clear()
            for project_id in [self._changed.pop() for _ in range(len(self._changed))]:
                self._look(project_id)
            await self._news.wait()

    def _hear(self, recorded: Recorded) -> None:
        if recorded.aggregate.kind == storage.KIND.name:
            self._changed.add(recorded.aggregate.id)
            self._news.set()

    def _look(self, project_id: str) -> None:
        known = self._of(project_id)
        for identity in known.open:
            if identity not in self._busy and _is_due(known, identity):
                task = asyncio.create_task(self._bring(project_id, identity))
                self._busy[identity] = task
                task.add_done_callback(partial(self._done, project_id, identity))

    def _done(self, project_id: str, identity: str, task: "asyncio.Task[None]") -> None:
        """What was wanted meanwhile is looked for again."""
        del self._busy[identity]
        if not task.cancelled():
            if error := task.exception():
                log.error("the bytes of %s are not as they should be", identity, exc_info=error)
            self._changed.add(project_id)
            self._news.set()

    def _of(self, project_id: str) -> Storage:
        found: Storage | None = self._registry.of(storage.KIND, project_id)
        return found or Storage()

    async def _bring(self, project_id: str, identity: str) -> None:
        try:
            async with self._free:
                known = self._of(project_id)
                if identity in known.volumes:
                    await self._bring_volume(project_id, known, identity)
                elif identity in known.snapshots:
                    await self._bring_snapshot(project_id, known, identity)
        except LightcurveError as error:
            log.warning("the bytes of %s: %s", identity, error)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _bring_volume(self, project_id: str, known: Storage, volume_id: str) -> None:
        volume, disk = known.volumes[volume_id], volume_disk(volume_id)
        try:
            if volume.work == MAKE:
                await self._make(disk, volume.source, volume.size_gb)
            elif volume.work == GROW:
                await self._disks.grow(disk, volume.wanted_gb)
            else:
                await self._disks.remove(disk)
                await self._say(project_id, volumes.gone, volume_id)
                return
        except HostFailed as error:
            if volume.work == REMOVE:
                raise
            log.warning("volume %s: %s %s", volume_id, error, error.details)
            await self._say(project_id, partial(_failed, volumes.failed, error.message), volume_id)
            return
        await self._say(project_id, volumes.made, volume_id)

    async def _bring_snapshot(self, project_id: str, known: Storage, snapshot_id: str) -> None:
        snapshot, disk = known.snapshots[snapshot_id], snapshot_disk(snapshot_id)
        if snapshot.work == REMOVE:
            await self._disks.remove(disk)
            await self._say(project_id, snapshots.gone, snapshot_id)
            return
        try:
            await self._disks.copy(disk, volume_disk(snapshot.volume_id), snapshot.size_gb)
        except HostFailed as error:
            log.warning("snapshot %s: %s %s", snapshot_id, error, error.details)
            await self._say(project_id, partial(_failed, snapshots.failed, error.message), snapshot_id)
            return
        await self._say(project_id, snapshots.made, snapshot_id)

    async def _make(self, disk: str, source: Source | None, size_gb: int) -> None:
        if source is None:
            await self._disks.create(disk, size_gb)
        elif source.kind == IMAGE:
            await self._disks.create_from_image(disk, source.id, source.disk_format, size_gb)
        else:
            original = snapshot_disk(source.id) if source.kind == SNAPSHOT else volume_disk(source.id)
            await self._disks.copy(disk, original, size_gb)

    async def _say(self, project_id: str, decide: Any, identity: str) -> None:
        at = self._stamp.clock.now()
        await self._registry.submit(
            self._stamp.own_context(), storage.aggregate(project_id), lambda state: decide(state, identity, at)
        )

    async def _remove_ownerless(self) -> None:
        """A disk is begun after its record: what has none now, in the whole of the log, belongs to nobody. What is
        known here may be older than what somebody made who was first, and died."""
        while True:
            try:
                there = set(await self._disks.all())
                if there - _owned(self._registry):
                    fresh = Registry(self._store, self._stamp, [storage.KIND])
                    await fresh.read_once()
                    for disk in there - _owned(fresh):
                        log.warning("%s belongs to nobody, and is removed", disk)
                        await self._disks.remove(disk)
            except LightcurveError as error:
                log.warning("whose the disks are cannot be told yet: %s", error)
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return


def _failed(decide: Any, message: str, state: Storage, identity: str, at: Any) -> Any:
    return decide(state, identity, message, at)


def _is_due(known: Storage, identity: str) -> bool:
    """A volume goes after its snapshots."""
    volume = known.volumes.get(identity)
    return identity in known.open and not (volume and volume.work == REMOVE and known.snapshots_of(identity))


def _owned(registry: Registry) -> set[str]:
    owned: set[str] = set()
    for _, state in registry.states(storage.KIND.name):
        owned |= {*map(volume_disk, state.volumes), *map(snapshot_disk, state.snapshots)}
    return owned
