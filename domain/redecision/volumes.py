"""The rules of a project's block storage. The limits of a project that was given none of its own are believed."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from domain.catalogue.quota import Limits
from domain.log.batch import Change
from domain.neighbours.volume import attachments, quotas, snapshots, volumes
from domain.neighbours.volume import changes as happened
from domain.neighbours.volume.changes import StorageChange, VolumeLimits
from domain.neighbours.volume.quotas import UNLIMITED
from domain.neighbours.volume.state import Storage

BELIEVED = VolumeLimits(volumes=UNLIMITED, snapshots=UNLIMITED, gigabytes=UNLIMITED, per_volume_gigabytes=UNLIMITED)


def decide(state: Storage, change: StorageChange, _limits: Limits) -> Iterable[Change]:
    at = change.at
    match change:
        case happened.StorageLimitsSet():
            return quotas.set_limits(state, BELIEVED, change.limits, at, None)
        case happened.SnapshotRequested() | happened.SnapshotUpdated() | happened.SnapshotDeletionRequested():
            return _snapshot(state, change)
        case happened.SnapshotMade():
            return snapshots.made(state, change.snapshot_id, at)
        case happened.SnapshotFailed():
            return snapshots.failed(state, change.snapshot_id, change.message, at)
        case happened.SnapshotStatusReset():
            return snapshots.reset(state, change.snapshot_id, change.status, at, None)
        case happened.SnapshotGone():
            return snapshots.gone(state, change.snapshot_id, at)
        case happened.AttachmentReserved():
            return attachments.reserve(state, change)
        case happened.AttachmentConnected():
            return attachments.connect(state, change)
        case happened.AttachmentCompleted():
            return attachments.complete(state, change.attachment_id, at, None)
        case happened.AttachmentDeleted():
            return attachments.delete(state, change.attachment_id, at, None)
        case _:
            return _volume(state, change, at)


def _volume(state: Storage, change: Any, at: datetime) -> Iterable[Change]:
    match change:
        case happened.VolumeRequested():
            return volumes.request(state, BELIEVED, change)
        case happened.VolumeMade() | happened.VolumeExtended():
            return volumes.made(state, change.volume_id, at)
        case happened.VolumeFailed():
            return volumes.failed(state, change.volume_id, change.message, at)
        case happened.VolumeUpdated():
            return volumes.update(
                state, change.volume_id, at, None, name=change.name, description=change.description,
                metadata=change.metadata, image_metadata=change.image_metadata, bootable=change.bootable,
                readonly=change.readonly,
            )  # fmt: skip
        case happened.VolumeExtensionRequested():
            return volumes.extend(state, BELIEVED, change.volume_id, change.size_gb, at, None, in_use=True)
        case happened.VolumeStatusReset():
            return volumes.reset(state, change.volume_id, change.status, at, None)
        case happened.VolumeDeletionRequested():
            return volumes.delete(state, change.volume_id, at, None, cascade=True, force=True)
        case happened.VolumeGone():
            return volumes.gone(state, change.volume_id, at)
    return ()


def _snapshot(state: Storage, change: Any) -> Iterable[Change]:
    match change:
        case happened.SnapshotRequested():
            return snapshots.request(state, BELIEVED, change, in_use=True)
        case happened.SnapshotUpdated():
            return snapshots.update(
                state, change.snapshot_id, change.at, None, name=change.name, description=change.description,
                metadata=change.metadata,
            )  # fmt: skip
        case _:
            return snapshots.delete(state, change.snapshot_id, change.at, None, force=True)
