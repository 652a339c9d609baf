"""What may happen to a volume."""

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from domain.errors import Invalid, not_found
from domain.neighbours.volume.changes import (
    SNAPSHOT,
    VOLUME,
    SnapshotDeletionRequested,
    VolumeDeletionRequested,
    VolumeExtended,
    VolumeExtensionRequested,
    VolumeFailed,
    VolumeGone,
    VolumeLimits,
    VolumeMade,
    VolumeRequested,
    VolumeStatusReset,
    VolumeUpdated,
)
from domain.neighbours.volume.quotas import check_growth, check_volume
from domain.neighbours.volume.state import AVAILABLE, GROW, IN_USE, MAKE, REMOVE, Storage, Volume

STATUSES = (
    "creating", "available", "deleting", "error", "error_deleting", "error_extending", "error_restoring",
    "error_managing", "managing", "attaching", "detaching", "in-use", "maintenance", "reserved", "awaiting-transfer",
    "downloading", "retyping", "extending",
)  # fmt: skip
"""What an operator may say of a volume."""
DELETABLE = ("available", "error", "error_restoring", "error_extending", "error_managing")


def existing(storage: Storage, volume_id: str) -> Volume:
    """The volume; raises Refused (404)."""
    volume = storage.volumes.get(volume_id)
    if volume is None:
        raise not_found("Volume", volume_id)
    return volume


def request(storage: Storage, default: VolumeLimits, asked: VolumeRequested) -> tuple[VolumeRequested, ...]:
    """Raises Refused: 404 for a source that is not there, 413 for what is too much; Invalid for a source that is not
    ready, or larger than the volume."""
    source = asked.source
    if source and source.kind == SNAPSHOT:
        snapshot = storage.snapshots.get(source.id)
        if snapshot is None:
            raise not_found("Snapshot", source.id)
        if snapshot.status != AVAILABLE or snapshot.work:
            raise Invalid(f"Invalid snapshot: Originating snapshot status must be one of '{AVAILABLE}' values")
        _check_size("snapshot", asked.size_gb, snapshot.size_gb)
    if source and source.kind == VOLUME:
        original = existing(storage, source.id)
        if original.status not in (AVAILABLE, IN_USE) or original.work:
            raise Invalid(
                "Invalid volume: Unable to create a volume from an originating source volume when its status is not "
                f"one of '{AVAILABLE}', '{IN_USE}' values"
            )
        _check_size("source volume", asked.size_gb, original.size_gb)
    check_volume(storage, default, asked.size_gb)
    return (asked,)


def _check_size(what: str, size_gb: int, least_gb: int) -> None:
    if size_gb < least_gb:
        raise Invalid(
            f"Invalid input received: Volume size '{size_gb}'GB cannot be smaller than the {what} size {least_gb}GB. "
            f"They must be >= original {what} size."
        )


def update(storage: Storage, volume_id: str, at: datetime, request_id: str | None, **fields: Any) -> tuple[
    VolumeUpdated, ...
]:  # fmt: skip
    """Change what a user may set; nothing to do if it is so. Raises Refused (404)."""
    volume = existing(storage, volume_id)
    if replace(volume, **fields) == volume:
        return ()
    names = ("name", "description", "metadata", "image_metadata", "bootable", "readonly")
    now = {name: getattr(volume, name) for name in names} | fields
    return (VolumeUpdated(volume_id=volume_id, at=at, request_id=request_id, **now),)


def extend(
    storage: Storage, default: VolumeLimits, volume_id: str, size_gb: int, at: datetime, request_id: str | None,
    *, in_use: bool,
) -> tuple[VolumeExtensionRequested, ...]:  # fmt: skip
    """``in_use`` is whether one that a server has may grow, too. Raises Invalid, and Refused (404, 413)."""
    volume = existing(storage, volume_id)
    allowed = (AVAILABLE, IN_USE) if in_use else (AVAILABLE,)
    if volume.status not in allowed or volume.work:
        raise Invalid(
            f"Invalid volume: Volume {volume_id} status must be '{' or '.join(allowed)}' to extend, currently "
            f"{volume.status}."
        )
    if size_gb <= volume.size_gb:
        raise Invalid(
            "Invalid input received: New size for extend must be greater than current size. (current: "
            f"{volume.size_gb}, extended: {size_gb})."
        )
    if storage.is_copied(volume_id):
        raise Invalid(f"Invalid volume: Volume {volume_id} is being copied.")
    check_growth(storage, default, size_gb, size_gb - volume.size_gb)
    return (VolumeExtensionRequested(volume_id=volume_id, size_gb=size_gb, at=at, request_id=request_id),)


def reset(
    storage: Storage, volume_id: str, status: str, at: datetime, request_id: str | None
) -> tuple[VolumeStatusReset, ...]:
    """Say that it is so; nothing happens to its bytes."""
    if existing(storage, volume_id).status == status:
        return ()
    return (VolumeStatusReset(volume_id=volume_id, status=status, at=at, request_id=request_id),)


def delete(
    storage: Storage, volume_id: str, at: datetime, request_id: str | None, *, cascade: bool = False,
    force: bool = False,
) -> tuple[VolumeDeletionRequested | SnapshotDeletionRequested, ...]:  # fmt: skip
    """``cascade`` is with its snapshots, ``force`` whatever its status. Nothing to do if it is about to go. Raises
    Invalid, and Refused (404)."""
    volume = existing(storage, volume_id)
    if volume.work == REMOVE:
        return ()
    snapshots = storage.snapshots_of(volume_id)
    attached = bool(storage.attachments_of(volume_id)) and not force
    if (volume.status not in DELETABLE and not force) or attached or (snapshots and not cascade):
        raise Invalid(
            f"Invalid volume: Volume status must be {' or '.join(DELETABLE)} and must not be migrating, attached, "
            "belong to a group, have snapshots, awaiting a transfer, or be disassociated from snapshots after volume "
            "transfer."
        )
    if any(storage.is_copied(identity) for identity in (volume_id, *(each.id for each in snapshots))):
        raise Invalid(f"Invalid volume: Volume {volume_id} or a snapshot of it is being copied.")
    going = tuple(
        SnapshotDeletionRequested(snapshot_id=each.id, at=at, request_id=request_id)
        for each in snapshots
        if each.work != REMOVE
    )
    return (*going, VolumeDeletionRequested(volume_id=volume_id, at=at, request_id=request_id))


def made(storage: Storage, volume_id: str, at: datetime) -> tuple[VolumeMade | VolumeExtended, ...]:
    """Its bytes are as was wanted; nothing to do if nothing was wanted any more."""
    volume = storage.volumes.get(volume_id)
    if volume and volume.work == MAKE:
        return (VolumeMade(volume_id=volume_id, at=at),)
    if volume and volume.work == GROW:
        return (VolumeExtended(volume_id=volume_id, at=at),)
    return ()


def failed(storage: Storage, volume_id: str, message: str, at: datetime) -> tuple[VolumeFailed, ...]:
    """Its bytes cannot be had; nothing to do if nobody wants them any more."""
    volume = storage.volumes.get(volume_id)
    if volume is None or volume.work not in (MAKE, GROW):
        return ()
    return (VolumeFailed(volume_id=volume_id, message=message, at=at),)


def gone(storage: Storage, volume_id: str, at: datetime) -> tuple[VolumeGone, ...]:
    """Its bytes are gone; not before those of its snapshots."""
    volume = storage.volumes.get(volume_id)
    if volume is None or volume.work != REMOVE or storage.snapshots_of(volume_id):
        return ()
    return (VolumeGone(volume_id=volume_id, at=at),)
