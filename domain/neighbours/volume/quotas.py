"""How much a project's block storage may be, in Cinder's words."""

from datetime import datetime

from domain.errors import Refused
from domain.neighbours.volume.changes import StorageLimitsSet, VolumeLimits
from domain.neighbours.volume.state import Storage

UNLIMITED = -1


def check_volume(storage: Storage, default: VolumeLimits, size_gb: int) -> None:
    """Raise Refused (413) unless another volume of this size fits."""
    limits = storage.limits or default
    _check_size(limits, size_gb)
    _check_count("volumes", limits.volumes, len(storage.volumes))
    check_gigabytes(storage, default, size_gb)


def check_snapshot(storage: Storage, default: VolumeLimits, size_gb: int) -> None:
    """Raise Refused (413) unless another snapshot of this size fits."""
    limits = storage.limits or default
    _check_count("snapshots", limits.snapshots, len(storage.snapshots))
    check_gigabytes(storage, default, size_gb)


def check_growth(storage: Storage, default: VolumeLimits, size_gb: int, more_gb: int) -> None:
    """Raise Refused (413) unless a volume may have this size, which is so much more."""
    _check_size(storage.limits or default, size_gb)
    check_gigabytes(storage, default, more_gb)


def check_gigabytes(storage: Storage, default: VolumeLimits, more_gb: int) -> None:
    """Raise Refused (413) unless so much more fits."""
    limit = (storage.limits or default).gigabytes
    if limit != UNLIMITED and storage.gigabytes + more_gb > limit:
        raise Refused(
            "quota.exceeded",
            f"Requested volume or snapshot exceeds allowed gigabytes quota. Requested {more_gb}G, quota is {limit}G "
            f"and {storage.gigabytes}G has been consumed.",
            status=413,
        )


def _check_size(limits: VolumeLimits, size_gb: int) -> None:
    most = limits.per_volume_gigabytes
    if most != UNLIMITED and size_gb > most:
        message = f"Requested volume size {size_gb}G is larger than maximum allowed limit {most}G."
        raise Refused("quota.exceeded", message, status=413)


def _check_count(what: str, limit: int, used: int) -> None:
    if limit != UNLIMITED and used >= limit:
        message = f"Maximum number of {what} allowed ({limit}) exceeded"
        raise Refused("quota.exceeded", message, status=413)


def set_limits(
    storage: Storage, default: VolumeLimits, limits: VolumeLimits | None, at: datetime, request_id: str | None
) -> tuple[StorageLimitsSet, ...]:
    """Give the project limits of its own, or none any more; nothing to do if it has these. Limits below what is used
    forbid more, as in Cinder, and take nothing away."""
    if limits == storage.limits or (storage.limits is None and limits == default):
        return ()
    return (StorageLimitsSet(limits=limits, at=at, request_id=request_id),)
