"""Volumes, snapshots, attachments and types as Cinder shows them."""

from typing import Any

from adapters.rest.kit.operation import Call
from adapters.rest.kit.times import micros
from adapters.rest.volume import links
from adapters.rest.volume import microversion as since
from adapters.rest.volume.access import types
from domain.neighbours.volume.changes import SNAPSHOT, VOLUME
from domain.neighbours.volume.state import ATTACHED, MAKE, Attachment, Snapshot, Storage, Volume
from domain.neighbours.volume_type import VolumeType

Document = dict[str, Any]
BACKEND = "lightcurve@files"
"""As Cinder names who keeps the bytes: host and backend."""


def type_name(call: Call, type_id: str) -> str:
    """Its name, or its id once it is gone."""
    found = types(call).by_id.get(type_id)
    return found.name if found else type_id


def metadata_of(volume: Volume) -> dict[str, str]:
    return volume.metadata | ({"readonly": "True"} if volume.readonly else {})


def volume_summary(call: Call, volume: Volume) -> Document:
    return {"id": volume.id, "name": volume.name, "links": links.item(call, "volumes", volume.id)}


def volume_document(call: Call, storage: Storage, volume: Volume) -> Document:
    source = volume.source
    attached = [each for each in storage.attachments_of(volume.id) if each.status == ATTACHED]
    shown: Document = volume_summary(call, volume) | {
        "status": volume.status,
        "size": volume.size_gb,
        "availability_zone": volume.availability_zone,
        "created_at": micros(volume.created_at),
        "updated_at": micros(volume.updated_at) if volume.updated_at != volume.created_at else None,
        "description": volume.description,
        "volume_type": type_name(call, volume.type_id),
        "snapshot_id": source.id if source and source.kind == SNAPSHOT else None,
        "source_volid": source.id if source and source.kind == VOLUME else None,
        "metadata": metadata_of(volume),
        "user_id": volume.user_id,
        "bootable": str(volume.bootable).lower(),
        "encrypted": False,
        "replication_status": None,
        "consistencygroup_id": None,
        "multiattach": volume.multiattach,
        "attachments": [_old_attachment(each) for each in attached],
        "os-vol-tenant-attr:tenant_id": volume.project_id,
    }
    if volume.image_metadata:
        shown["volume_image_metadata"] = volume.image_metadata
    if call.minor >= since.GROUPS:
        shown["group_id"] = None
    if call.minor >= since.SHARED_TARGETS:
        shown |= {"shared_targets": False, "service_uuid": None}
    if call.is_admin:
        shown |= {
            "migration_status": None,
            "os-vol-host-attr:host": f"{BACKEND}#files" if volume.work != MAKE else None,
            "os-vol-mig-status-attr:migstat": None,
            "os-vol-mig-status-attr:name_id": None,
        }
        if call.minor >= since.PROVIDER_ID:
            shown["provider_id"] = None
    return shown


def _old_attachment(attachment: Attachment) -> Document:
    return {
        "id": attachment.volume_id,
        "attachment_id": attachment.id,
        "volume_id": attachment.volume_id,
        "server_id": attachment.instance_id,
        "host_name": attachment.host,
        "device": attachment.mountpoint,
        "attached_at": micros(attachment.attached_at),
    }


def snapshot_summary(snapshot: Snapshot) -> Document:
    return {
        "id": snapshot.id,
        "name": snapshot.name,
        "description": snapshot.description,
        "volume_id": snapshot.volume_id,
        "status": snapshot.status,
        "size": snapshot.size_gb,
        "created_at": micros(snapshot.created_at),
        "updated_at": micros(snapshot.updated_at) if snapshot.updated_at != snapshot.created_at else None,
        "metadata": snapshot.metadata,
    }


def snapshot_document(call: Call, snapshot: Snapshot) -> Document:
    shown = snapshot_summary(snapshot) | {
        "os-extended-snapshot-attributes:progress": "0%" if snapshot.work == MAKE else "100%",
        "os-extended-snapshot-attributes:project_id": snapshot.project_id,
    }
    if call.minor >= since.GROUP_SNAPSHOTS:
        shown["group_snapshot_id"] = None
    if call.minor >= since.SNAPSHOT_USER:
        shown["user_id"] = snapshot.user_id
    return shown


def attachment_summary(attachment: Attachment) -> Document:
    return {
        "id": attachment.id,
        "status": attachment.status,
        "instance": attachment.instance_id,
        "volume_id": attachment.volume_id,
    }


def attachment_document(attachment: Attachment) -> Document:
    return attachment_summary(attachment) | {
        "attached_at": micros(attachment.attached_at) or "",
        "detached_at": "",
        "attach_mode": attachment.attach_mode,
        "connection_info": _connection(attachment),
    }


def _connection(attachment: Attachment) -> Document:
    """What a host of this cloud has to know. Where the bytes are is not for users: commands will tell hosts."""
    if attachment.host is None:
        return {}
    return {
        "driver_volume_type": "lightcurve",
        "attachment_id": attachment.id,
        "volume_id": attachment.volume_id,
        "format": "raw",
        "access_mode": attachment.attach_mode,
        "encrypted": False,
    }


def type_document(call: Call, found: VolumeType) -> Document:
    shown: Document = {
        "id": found.id,
        "name": found.name,
        "description": found.description,
        "is_public": found.is_public,
        "os-volume-type-access:is_public": found.is_public,
        "extra_specs": found.extra_specs,
    }
    if call.is_admin:
        shown["qos_specs_id"] = None
    return shown
