"""What a project's block storage is: volumes, snapshots and attachments by their ids, the oldest first."""

from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from domain.log.batch import Journal, Undo, apply_all, journaled
from domain.log.kind import Batching, Kind, unfoldable
from domain.log.record import AggregateId, Event, Metadata
from domain.neighbours.volume import changes as happened
from domain.neighbours.volume.changes import Source, StorageChange, StorageChanged, VolumeLimits

MAKE, GROW, REMOVE = "make", "grow", "remove"
"""What is still to be done with the bytes."""
AVAILABLE, IN_USE, RESERVED, ATTACHING, ERROR = "available", "in-use", "reserved", "attaching", "error"
CREATING, EXTENDING, DELETING, ERROR_EXTENDING = "creating", "extending", "deleting", "error_extending"
ATTACHED = "attached"


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """A volume, with Cinder's words."""

    id: str
    project_id: str
    user_id: str | None
    name: str | None
    description: str | None
    size_gb: int
    type_id: str
    availability_zone: str
    metadata: dict[str, str]
    image_metadata: dict[str, str]
    bootable: bool
    multiattach: bool
    source: Source | None
    created_at: datetime
    updated_at: datetime
    readonly: bool = False
    status: str = CREATING
    work: str | None = MAKE
    wanted_gb: int = 0
    """Its size once it has grown; 0: it does not."""
    before: str = AVAILABLE
    """Its status before it began to grow."""
    fault: str | None = None

    @property
    def counted_gb(self) -> int:
        return max(self.size_gb, self.wanted_gb)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What a volume held at one moment."""

    id: str
    volume_id: str
    project_id: str
    user_id: str | None
    name: str | None
    description: str | None
    size_gb: int
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime
    status: str = CREATING
    work: str | None = MAKE
    fault: str | None = None


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """A volume at a server, or on its way there."""

    id: str
    volume_id: str
    instance_id: str | None
    status: str
    """RESERVED, ATTACHING or ATTACHED."""
    attach_mode: str | None = None
    host: str | None = None
    mountpoint: str | None = None
    attached_at: datetime | None = None


class Storage:
    """All of a project."""

    def __init__(self) -> None:
        self.limits: VolumeLimits | None = None
        self.volumes: dict[str, Volume] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.attachments: dict[str, Attachment] = {}
        self.gigabytes = 0
        """Of volumes and snapshots together."""
        self.open: dict[str, None] = {}
        """The ids of volumes and snapshots with whose bytes something is still to be done."""
        self._snapshots_of: dict[str, dict[str, None]] = {}
        self._attachments_of: dict[str, dict[str, None]] = {}
        self._of_type: dict[str, int] = {}

    def snapshots_of(self, volume_id: str) -> list[Snapshot]:
        return [self.snapshots[identity] for identity in self._snapshots_of.get(volume_id, ())]

    def attachments_of(self, volume_id: str) -> list[Attachment]:
        return [self.attachments[identity] for identity in self._attachments_of.get(volume_id, ())]

    def has_of_type(self, type_id: str) -> bool:
        """Whether there is a volume of that type."""
        return self._of_type.get(type_id, 0) > 0

    def is_copied(self, identity: str) -> bool:
        """Whether something that is being made is a copy of this volume or snapshot."""
        for other in self.open:
            volume, snapshot = self.volumes.get(other), self.snapshots.get(other)
            if volume and volume.work == MAKE and volume.source and volume.source.id == identity:
                return True
            if snapshot and snapshot.work == MAKE and snapshot.volume_id == identity:
                return True
        return False

    def apply(self, change: StorageChange) -> Undo:
        return journaled(partial(self._make, change))

    def _make(self, change: StorageChange, journal: Journal) -> None:
        match change:
            case happened.VolumeRequested():
                journal.put(self.volumes, change.volume_id, _new_volume(change))
                self._count(journal, self._of_type, change.type_id, 1)
                self._weigh(journal, change.size_gb)
                journal.put(self.open, change.volume_id, None)
            case happened.SnapshotRequested():
                journal.put(self.snapshots, change.snapshot_id, _new_snapshot(change))
                _index(journal, self._snapshots_of, change.volume_id, change.snapshot_id)
                self._weigh(journal, change.size_gb)
                journal.put(self.open, change.snapshot_id, None)
            case happened.VolumeGone():
                self._forget_volume(journal, change.volume_id)
            case happened.SnapshotGone():
                gone = journal.drop(self.snapshots, change.snapshot_id)
                _unindex(journal, self._snapshots_of, gone.volume_id, gone.id)
                self._weigh(journal, -gone.size_gb)
                journal.drop(self.open, gone.id)
            case happened.StorageLimitsSet():
                journal.assign(self, "limits", change.limits)
            case _ if hasattr(change, "attachment_id"):
                self._attach(journal, change)
            case _ if hasattr(change, "snapshot_id"):
                snapshot = self.snapshots[change.snapshot_id]
                self._keep(journal, self.snapshots, snapshot, _changed_snapshot(change), change.at)
            case _ if hasattr(change, "volume_id"):
                volume = self.volumes[change.volume_id]
                after = self._keep(journal, self.volumes, volume, _changed_volume(volume, change), change.at)
                self._weigh(journal, after.counted_gb - volume.counted_gb)
            case _:
                raise TypeError(f"{type(change).__name__} cannot be folded here.")

    def _keep(
        self, journal: Journal, things: dict[str, Any], before: Any, fields: dict[str, Any], at: datetime
    ) -> Any:
        after = replace(before, updated_at=at, **fields)
        journal.put(things, before.id, after)
        if after.work and before.id not in self.open:
            journal.put(self.open, before.id, None)
        if not after.work and before.id in self.open:
            journal.drop(self.open, before.id)
        return after

    def _forget_volume(self, journal: Journal, volume_id: str) -> None:
        gone = journal.drop(self.volumes, volume_id)
        for attachment in self.attachments_of(volume_id):
            journal.drop(self.attachments, attachment.id)
        if volume_id in self._attachments_of:
            journal.drop(self._attachments_of, volume_id)
        self._count(journal, self._of_type, gone.type_id, -1)
        self._weigh(journal, -gone.counted_gb)
        journal.drop(self.open, volume_id)

    def _attach(self, journal: Journal, change: Any) -> None:
        match change:
            case happened.AttachmentReserved():
                made = Attachment(
                    id=change.attachment_id, volume_id=change.volume_id, instance_id=change.instance_id,
                    status=RESERVED, attach_mode=change.attach_mode,
                )  # fmt: skip
                journal.put(self.attachments, made.id, made)
                _index(journal, self._attachments_of, made.volume_id, made.id)
                volume_id = made.volume_id
            case happened.AttachmentDeleted():
                gone = journal.drop(self.attachments, change.attachment_id)
                _unindex(journal, self._attachments_of, gone.volume_id, gone.id)
                volume_id = gone.volume_id
            case happened.AttachmentConnected():
                volume_id = self._update_attachment(
                    journal, change, status=ATTACHING, host=change.host, mountpoint=change.mountpoint,
                    attach_mode=change.attach_mode,
                )  # fmt: skip
            case _:
                volume_id = self._update_attachment(journal, change, status=ATTACHED, attached_at=change.at)
        volume = self.volumes[volume_id]
        self._keep(journal, self.volumes, volume, {"status": self._attach_status(volume)}, change.at)

    def _update_attachment(self, journal: Journal, change: Any, **fields: Any) -> str:
        after = replace(self.attachments[change.attachment_id], **fields)
        journal.put(self.attachments, after.id, after)
        return after.volume_id

    def _attach_status(self, volume: Volume) -> str:
        """What its attachments make of its status, where that is one of theirs."""
        if volume.status not in (AVAILABLE, IN_USE, RESERVED, ATTACHING):
            return volume.status
        statuses = {attachment.status for attachment in self.attachments_of(volume.id)}
        for found, status in ((ATTACHED, IN_USE), (ATTACHING, ATTACHING), (RESERVED, RESERVED)):
            if found in statuses:
                return status
        return AVAILABLE

    def _weigh(self, journal: Journal, more: int) -> None:
        if more:
            journal.assign(self, "gigabytes", self.gigabytes + more)

    def _count(self, journal: Journal, counts: dict[str, int], key: str, more: int) -> None:
        journal.put(counts, key, counts.get(key, 0) + more)


def _index(journal: Journal, index: dict[str, dict[str, None]], key: str, identity: str) -> None:
    if key not in index:
        journal.put(index, key, {})
    journal.put(index[key], identity, None)


def _unindex(journal: Journal, index: dict[str, dict[str, None]], key: str, identity: str) -> None:
    journal.drop(index[key], identity)
    if not index[key]:
        journal.drop(index, key)


def _new_volume(asked: happened.VolumeRequested) -> Volume:
    return Volume(
        id=asked.volume_id, project_id=asked.project_id, user_id=asked.user_id, name=asked.name,
        description=asked.description, size_gb=asked.size_gb, type_id=asked.type_id,
        availability_zone=asked.availability_zone, metadata=asked.metadata, image_metadata=asked.image_metadata,
        bootable=asked.bootable, multiattach=asked.multiattach, source=asked.source, created_at=asked.at,
        updated_at=asked.at,
    )  # fmt: skip


def _new_snapshot(asked: happened.SnapshotRequested) -> Snapshot:
    return Snapshot(
        id=asked.snapshot_id, volume_id=asked.volume_id, project_id=asked.project_id, user_id=asked.user_id,
        name=asked.name, description=asked.description, size_gb=asked.size_gb, metadata=asked.metadata,
        created_at=asked.at, updated_at=asked.at,
    )  # fmt: skip


def _changed_volume(volume: Volume, change: StorageChange) -> dict[str, Any]:
    match change:
        case happened.VolumeMade():
            return {"status": AVAILABLE if volume.status == CREATING else volume.status, "work": None}
        case happened.VolumeFailed():
            status = ERROR_EXTENDING if volume.work == GROW else ERROR
            return {"status": status, "work": None, "wanted_gb": 0, "fault": change.message}
        case happened.VolumeUpdated():
            return {
                "name": change.name, "description": change.description, "metadata": change.metadata,
                "image_metadata": change.image_metadata, "bootable": change.bootable, "readonly": change.readonly,
            }  # fmt: skip
        case happened.VolumeExtensionRequested():
            return {"status": EXTENDING, "work": GROW, "wanted_gb": change.size_gb, "before": volume.status}
        case happened.VolumeExtended():
            status = volume.before if volume.status == EXTENDING else volume.status
            return {"status": status, "work": None, "size_gb": volume.wanted_gb, "wanted_gb": 0}
        case happened.VolumeStatusReset():
            return {"status": change.status}
        case happened.VolumeDeletionRequested():
            return {"status": DELETING, "work": REMOVE}
    raise TypeError(f"{type(change).__name__} cannot be folded here.")


def _changed_snapshot(change: StorageChange) -> dict[str, Any]:
    match change:
        case happened.SnapshotMade():
            return {"status": AVAILABLE, "work": None}
        case happened.SnapshotFailed():
            return {"status": ERROR, "work": None, "fault": change.message}
        case happened.SnapshotUpdated():
            return {"name": change.name, "description": change.description, "metadata": change.metadata}
        case happened.SnapshotStatusReset():
            return {"status": change.status}
        case happened.SnapshotDeletionRequested():
            return {"status": DELETING, "work": REMOVE}
    raise TypeError(f"{type(change).__name__} cannot be folded here.")


def aggregate(project_id: str) -> AggregateId:
    return AggregateId("storage", project_id)


def evolve(state: Storage | None, event: Event, _meta: Metadata) -> Storage:
    """Fold one event, in place."""
    state = state or Storage()
    if not isinstance(event, StorageChanged):
        raise unfoldable(event)
    apply_all(state, event.changes)
    return state


KIND = Kind(
    "storage", (StorageChanged,), evolve,
    batching=Batching(lambda changes: StorageChanged(changes=changes), Storage),
)  # fmt: skip
