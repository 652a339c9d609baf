"""Creating a volume: empty, or from an image, a snapshot or another volume."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Operations, Reply
from adapters.rest.kit.validation import Body, Flag, StringMap, Text255, boolean, identifier, integer
from adapters.rest.volume.access import default_limits, find_snapshot, find_volume, submit, types
from adapters.rest.volume.documents import volume_document
from adapters.rest.volume.metadata import checked
from domain.errors import Invalid, Refused, not_found
from domain.neighbours import image as images
from domain.neighbours.image import Image
from domain.neighbours.volume import volumes
from domain.neighbours.volume.changes import IMAGE, SNAPSHOT, VOLUME, Source, VolumeRequested
from domain.neighbours.volume_type import DEFAULT, VolumeType
from handlers.neighbours.images import may_use

operations = Operations()

GIB = 1 << 30
MAX_GB = 1 << 20
"""A pebibyte."""
MAX_PROPERTY = 65535
Size = Annotated[int, Meta(ge=0, le=2**31 - 1)] | Annotated[str, Meta(max_length=10, pattern=r"^[0-9]+\Z")]
Hints = dict[Text255, Annotated[list[Text255], Meta(max_length=128)] | Text255]


class NewVolume(Body):
    size: Size | None = None
    name: Text255 | None = None
    description: Text255 | None = None
    display_name: Text255 | None = None
    display_description: Text255 | None = None
    imageRef: Text255 | None = None  # noqa: N815
    snapshot_id: Text255 | None = None
    source_volid: Text255 | None = None
    source_replica: Text255 | None = None
    volume_type: Text255 | None = None
    availability_zone: Text255 | None = None
    metadata: StringMap | None = None
    multiattach: Flag | None = None
    consistencygroup_id: Text255 | None = None
    group_id: Text255 | None = None
    backup_id: Text255 | None = None


class CreateBody(Body):
    """``{"volume": …}``."""

    volume: NewVolume
    hints: Hints | UnsetType | None = msgspec.field(default=UNSET, name="OS-SCH-HNT:scheduler_hints")


@operations("POST", "/volumes", Access.MEMBER, "volume:create", body=CreateBody, status=202)
async def create(call: Call) -> Any:
    asked: NewVolume = call.body.volume
    _refuse_not_built(asked, call.body.hints)
    chosen = _type(call, asked.volume_type)
    source, size_gb, image_metadata, bootable = _source(call, asked)
    multiattach = asked.multiattach is not None and boolean("multiattach", asked.multiattach)
    volume_id = call.services.stamp.ids.uuid()
    wanted = VolumeRequested(
        volume_id=volume_id,
        project_id=call.context.project_id or "",
        user_id=call.context.user_id,
        name=asked.name if asked.name is not None else asked.display_name,
        description=asked.description if asked.description is not None else asked.display_description,
        size_gb=size_gb,
        type_id=chosen.id,
        availability_zone=_zone(call, asked.availability_zone),
        metadata=checked(asked.metadata or {}),
        image_metadata=image_metadata,
        bootable=bootable,
        multiattach=multiattach or chosen.multiattach,
        source=source,
        at=call.services.stamp.clock.now(),
        request_id=call.context.request_id,
    )
    limits = default_limits(call)
    known, _ = await submit(call, wanted.project_id, lambda state: volumes.request(state, limits, wanted))
    volume = known.volumes.get(volume_id)
    if volume is None:
        raise not_found("Volume", volume_id)
    location = f"{call.services.settings.public_url}/volume/v3/volumes/{volume_id}"
    return Reply({"volume": volume_document(call, known, volume)}, headers={"Location": location})


def _refuse_not_built(asked: NewVolume, hints: Any) -> None:
    if asked.consistencygroup_id or asked.group_id:
        raise not_implemented("Creating volumes in groups")
    if asked.backup_id:
        raise not_implemented("Restoring volumes from backups")
    if asked.source_replica:
        raise not_implemented("Replication of volumes")
    if hints is not UNSET and hints:
        raise not_implemented("Choosing where volumes are kept")


def _type(call: Call, named: str | None) -> VolumeType:
    known = types(call)
    chosen = known.get(named) if named else known.by_id[DEFAULT.id]
    if chosen is None or not (call.is_admin or chosen.usable_by(call.context.project_id)):
        raise Refused("volume_type.not_found", f"Volume type with name {named} could not be found.", status=404)
    return chosen


def _zone(call: Call, named: str | None) -> str:
    zone = call.services.settings.default_zone
    if named not in (None, "", zone):
        raise Invalid(f"Invalid input received: Availability zone '{named}' is invalid.")
    return zone


def _source(call: Call, asked: NewVolume) -> tuple[Source | None, int, dict[str, str], bool]:
    """What it is a copy of, its size, what it says of its image, and whether servers can start from it. Raises
    Invalid, and Refused (404)."""
    named = [each for each in (asked.imageRef, asked.snapshot_id, asked.source_volid) if each]
    if len(named) > 1:
        raise Invalid("Invalid input received: Only one of image, snapshot and source volume can be given.")
    if asked.snapshot_id:
        found, snapshot = find_snapshot(call, identifier("snapshot_id", asked.snapshot_id))
        _own(call, found.project_id, "snapshot")
        original = found.storage.volumes.get(snapshot.volume_id)
        size_gb = _size(asked.size, snapshot.size_gb)
        source = Source(kind=SNAPSHOT, id=snapshot.id)
        return source, size_gb, original.image_metadata if original else {}, bool(original and original.bootable)
    if asked.source_volid:
        found, volume = find_volume(call, identifier("source_volid", asked.source_volid))
        _own(call, found.project_id, "volume")
        source = Source(kind=VOLUME, id=volume.id)
        return source, _size(asked.size, volume.size_gb), volume.image_metadata, volume.bootable
    if asked.imageRef:
        image = _image(call, asked.imageRef)
        size_gb = _size(asked.size, None)
        _check_room(image, size_gb)
        source = Source(kind=IMAGE, id=image.id, disk_format=image.disk_format or "raw")
        return source, size_gb, image_metadata(image), True
    return None, _size(asked.size, None), {}, False


def _own(call: Call, project_id: str, noun: str) -> None:
    """What is copied stays in its project: an administrator who sees all asks in that one for it."""
    if project_id != call.context.project_id:
        raise Invalid(f"Invalid input received: The {noun} belongs to another project.")


def _size(asked: int | str | None, default_gb: int | None) -> int:
    if asked is None:
        if default_gb is None:
            raise Invalid("Invalid input received: Volume size 'None' must be an integer and greater than 0")
        return default_gb
    return integer("size", asked, least=1, most=MAX_GB)


def _image(call: Call, image_id: str) -> Image:
    found = call.services.registry.of(images.KIND, image_id)
    if found is None:
        # By its name, as Cinder lets it be called; if that is one image's only.
        named = [each for each in call.services.registry.all("image") if each.name == image_id]
        named = [each for each in named if may_use(call.context, each)]
        found = named[0] if len(named) == 1 else None
    if found is None or found.status == "deleted" or not may_use(call.context, found):
        raise Invalid(f"Invalid imageRef provided: image {image_id} could not be found.")
    if found.status != "active":
        raise Invalid(f"Invalid input received: Image {image_id} is not active.")
    return found


def _check_room(image: Image, size_gb: int) -> None:
    if size_gb < image.min_disk_gb:
        raise Invalid(
            f"Invalid input received: Volume size {size_gb}GB cannot be smaller than the image minDisk size "
            f"{image.min_disk_gb}GB."
        )
    inside = -(-(image.virtual_size or image.size or 0) // GIB)
    if size_gb < inside:
        raise Invalid(
            f"Invalid input received: Size of specified image {inside}GB is larger than volume size {size_gb}GB."
        )


def image_metadata(image: Image) -> dict[str, str]:
    """What a volume says of the image that it was made of."""
    return {name: value[:MAX_PROPERTY] for name, value in image.properties.items()} | {
        "image_id": image.id,
        "image_name": image.name or "",
        "checksum": image.checksum or "",
        "container_format": image.container_format or "",
        "disk_format": image.disk_format or "",
        "min_disk": str(image.min_disk_gb),
        "min_ram": str(image.min_ram_mb),
        "size": str(image.size or 0),
    }
