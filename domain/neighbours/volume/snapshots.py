"""What may happen to a snapshot."""

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from domain.errors import Invalid, not_found
from domain.neighbours.volume.changes import (
    SnapshotDeletionRequested,
    SnapshotFailed,
    SnapshotGone,
    SnapshotMade,
    SnapshotRequested,
    SnapshotStatusReset,
    SnapshotUpdated,
    VolumeLimits,
)
from domain.neighbours.volume.quotas import check_snapshot
from domain.neighbours.volume.state import AVAILABLE, IN_USE, MAKE, REMOVE, Snapshot, Storage
from domain.neighbours.volume.volumes import existing as existing_volume

STATUSES = ("creating", "available", "deleting", "error", "error_deleting")
"""What an operator may say of a snapshot."""


def existing(storage: Storage, snapshot_id: str) -> Snapshot:
    """The snapshot; raises Refused (404)."""
    snapshot = storage.snapshots.get(snapshot_id)
    if snapshot is None:
        raise not_found("Snapshot", snapshot_id)
    return snapshot


def request(
    storage: Storage, default: VolumeLimits, asked: SnapshotRequested, *, in_use: bool
) -> tuple[SnapshotRequested, ...]:
    """``in_use`` is whether the volume may be at a server. Its size is the volume's. Raises Invalid, and Refused
    (404, 413)."""
    volume = existing_volume(storage, asked.volume_id)
    if volume.status not in ((AVAILABLE, IN_USE) if in_use else (AVAILABLE,)) or volume.work:
        raise Invalid(
            f"Invalid volume: Volume {volume.id} status must be available, but current status is: {volume.status}."
        )
    check_snapshot(storage, default, volume.size_gb)
    return (replace(asked, size_gb=volume.size_gb),)


def update(
    storage: Storage, snapshot_id: str, at: datetime, request_id: str | None, **fields: Any
) -> tuple[SnapshotUpdated, ...]:
    """Change what a user may set; nothing to do if it is so. Raises Refused (404)."""
    snapshot = existing(storage, snapshot_id)
    if replace(snapshot, **fields) == snapshot:
        return ()
    now = {name: getattr(snapshot, name) for name in ("name", "description", "metadata")} | fields
    return (SnapshotUpdated(snapshot_id=snapshot_id, at=at, request_id=request_id, **now),)


def reset(
    storage: Storage, snapshot_id: str, status: str, at: datetime, request_id: str | None
) -> tuple[SnapshotStatusReset, ...]:
    """Say that it is so; nothing happens to its bytes."""
    if existing(storage, snapshot_id).status == status:
        return ()
    return (SnapshotStatusReset(snapshot_id=snapshot_id, status=status, at=at, request_id=request_id),)


def delete(
    storage: Storage, snapshot_id: str, at: datetime, request_id: str | None, *, force: bool = False
) -> tuple[SnapshotDeletionRequested, ...]:
    """``force`` is whatever its status. Nothing to do if it is about to go. Raises Invalid, and Refused (404)."""
    snapshot = existing(storage, snapshot_id)
    if snapshot.work == REMOVE:
        return ()
    if snapshot.status not in ("available", "error") and not force:
        raise Invalid("Invalid snapshot: Snapshot status must be available or error.")
    if storage.is_copied(snapshot_id):
        raise Invalid(f"Invalid snapshot: A volume is being made of snapshot {snapshot_id}.")
    return (SnapshotDeletionRequested(snapshot_id=snapshot_id, at=at, request_id=request_id),)


def made(storage: Storage, snapshot_id: str, at: datetime) -> tuple[SnapshotMade, ...]:
    """Its bytes are there; nothing to do if nobody wants them any more."""
    snapshot = storage.snapshots.get(snapshot_id)
    return (SnapshotMade(snapshot_id=snapshot_id, at=at),) if snapshot and snapshot.work == MAKE else ()


def failed(storage: Storage, snapshot_id: str, message: str, at: datetime) -> tuple[SnapshotFailed, ...]:
    """Its bytes cannot be had; nothing to do if nobody wants them any more."""
    snapshot = storage.snapshots.get(snapshot_id)
    if snapshot is None or snapshot.work != MAKE:
        return ()
    return (SnapshotFailed(snapshot_id=snapshot_id, message=message, at=at),)


def gone(storage: Storage, snapshot_id: str, at: datetime) -> tuple[SnapshotGone, ...]:
    """Its bytes are gone."""
    snapshot = storage.snapshots.get(snapshot_id)
    return (SnapshotGone(snapshot_id=snapshot_id, at=at),) if snapshot and snapshot.work == REMOVE else ()
