"""What happens to a project's block storage."""

from datetime import datetime

import msgspec

from domain.log.batch import Change
from domain.log.record import Event

IMAGE, SNAPSHOT, VOLUME = "image", "snapshot", "volume"


class Source(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a volume is a copy of."""

    kind: str
    """IMAGE, SNAPSHOT or VOLUME."""
    id: str
    disk_format: str = "raw"


class VolumeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a project may have at the most; -1: no limit. Snapshots count for their gigabytes, too."""

    volumes: int = 10
    snapshots: int = 10
    gigabytes: int = 1000
    per_volume_gigabytes: int = -1


class StorageChange(Change, frozen=True, kw_only=True):
    """One part of what happens."""

    at: datetime


class VolumeRequested(StorageChange, tag="volume_requested", frozen=True, kw_only=True):
    """A volume counts from now on; its bytes are still to be made."""

    volume_id: str
    project_id: str
    user_id: str | None
    name: str | None
    size_gb: int
    type_id: str
    availability_zone: str
    description: str | None = None
    metadata: dict[str, str] = {}
    image_metadata: dict[str, str] = {}
    bootable: bool = False
    multiattach: bool = False
    source: Source | None = None


class VolumeMade(StorageChange, tag="volume_made", frozen=True, kw_only=True):
    """Its bytes are there."""

    volume_id: str


class VolumeFailed(StorageChange, tag="volume_failed", frozen=True, kw_only=True):
    """Its bytes could not be made, or not be made more."""

    volume_id: str
    message: str


class VolumeUpdated(StorageChange, tag="volume_updated", frozen=True, kw_only=True):
    """What a user may set is now this."""

    volume_id: str
    name: str | None
    description: str | None
    metadata: dict[str, str]
    image_metadata: dict[str, str]
    bootable: bool
    readonly: bool


class VolumeExtensionRequested(StorageChange, tag="volume_extension_requested", frozen=True, kw_only=True):
    """It counts for its new size; its bytes are still to grow."""

    volume_id: str
    size_gb: int


class VolumeExtended(StorageChange, tag="volume_extended", frozen=True, kw_only=True):
    """It has its new size."""

    volume_id: str


class VolumeStatusReset(StorageChange, tag="volume_status_reset", frozen=True, kw_only=True):
    """An operator says how it is, whatever it is."""

    volume_id: str
    status: str


class VolumeDeletionRequested(StorageChange, tag="volume_deletion_requested", frozen=True, kw_only=True):
    """Nobody uses it any more; its bytes are still there."""

    volume_id: str


class VolumeGone(StorageChange, tag="volume_gone", frozen=True, kw_only=True):
    """Its bytes are gone, and it counts no longer."""

    volume_id: str


class SnapshotRequested(StorageChange, tag="snapshot_requested", frozen=True, kw_only=True):
    """A snapshot counts from now on; what the volume held is still to be copied."""

    snapshot_id: str
    volume_id: str
    project_id: str
    user_id: str | None
    name: str | None
    size_gb: int
    description: str | None = None
    metadata: dict[str, str] = {}


class SnapshotMade(StorageChange, tag="snapshot_made", frozen=True, kw_only=True):
    """Its bytes are there, and will never change."""

    snapshot_id: str


class SnapshotFailed(StorageChange, tag="snapshot_failed", frozen=True, kw_only=True):
    """Its bytes could not be made."""

    snapshot_id: str
    message: str


class SnapshotUpdated(StorageChange, tag="snapshot_updated", frozen=True, kw_only=True):
    """What a user may set is now this."""

    snapshot_id: str
    name: str | None
    description: str | None
    metadata: dict[str, str]


class SnapshotStatusReset(StorageChange, tag="snapshot_status_reset", frozen=True, kw_only=True):
    """An operator says how it is, whatever it is."""

    snapshot_id: str
    status: str


class SnapshotDeletionRequested(StorageChange, tag="snapshot_deletion_requested", frozen=True, kw_only=True):
    """Nobody uses it any more; its bytes are still there."""

    snapshot_id: str


class SnapshotGone(StorageChange, tag="snapshot_gone", frozen=True, kw_only=True):
    """Its bytes are gone, and it counts no longer."""

    snapshot_id: str


class AttachmentReserved(StorageChange, tag="attachment_reserved", frozen=True, kw_only=True):
    """A volume is kept for a server, which need not be one that is known here."""

    attachment_id: str
    volume_id: str
    instance_id: str | None
    attach_mode: str | None = None
    """``rw`` or ``ro``, where it was said."""


class AttachmentConnected(StorageChange, tag="attachment_connected", frozen=True, kw_only=True):
    """A host said who it is, and was told where the bytes are."""

    attachment_id: str
    host: str | None
    mountpoint: str | None
    attach_mode: str


class AttachmentCompleted(StorageChange, tag="attachment_completed", frozen=True, kw_only=True):
    """The server has it."""

    attachment_id: str


class AttachmentDeleted(StorageChange, tag="attachment_deleted", frozen=True, kw_only=True):
    """The server has it no longer."""

    attachment_id: str


class StorageLimitsSet(StorageChange, tag="limits_set", frozen=True, kw_only=True):
    """The operator gave the project limits of its own; None goes back to the default."""

    limits: VolumeLimits | None


OfVolume = (
    VolumeRequested | VolumeMade | VolumeFailed | VolumeUpdated | VolumeExtensionRequested | VolumeExtended
    | VolumeStatusReset | VolumeDeletionRequested | VolumeGone
)  # fmt: skip
OfSnapshot = (
    SnapshotRequested | SnapshotMade | SnapshotFailed | SnapshotUpdated | SnapshotStatusReset
    | SnapshotDeletionRequested | SnapshotGone
)  # fmt: skip
OfAttachment = AttachmentReserved | AttachmentConnected | AttachmentCompleted | AttachmentDeleted
Changed = OfVolume | OfSnapshot | OfAttachment | StorageLimitsSet


class StorageChanged(Event, tag="storage.changed", frozen=True, kw_only=True):
    """Everything that one writer changed at once, in order."""

    changes: tuple[Changed, ...]
