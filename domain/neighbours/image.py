"""Images of the embedded image service: what the log knows of them. The bytes are files."""

from datetime import datetime

import msgspec

from domain.errors import Refused, not_found
from domain.log.kind import EVERY, Kind, of_project, unfoldable
from domain.log.record import AggregateId, Event, Metadata


class ImageCreated(Event, tag="image.created", frozen=True, kw_only=True):
    """An image was announced; its bytes are still to come."""

    image_id: str
    name: str | None
    owner: str
    disk_format: str | None = None
    container_format: str | None = None
    visibility: str = "shared"
    protected: bool = False
    min_disk_gb: int = 0
    min_ram_mb: int = 0
    tags: tuple[str, ...] = ()
    properties: dict[str, str] = {}


class ImageUploaded(Event, tag="image.uploaded", frozen=True, kw_only=True):
    """The bytes are stored and will never change."""

    size: int
    """Bytes."""
    virtual_size: int | None
    """Bytes of the disk inside."""
    checksum: str
    """MD5, hex: Glance's old field."""
    hash_value: str
    """By ``hash_algorithm``, hex."""
    hash_algorithm: str = "sha512"


class ImageUpdated(Event, tag="image.updated", frozen=True, kw_only=True):
    """The user-settable fields are now these."""

    name: str | None
    visibility: str
    protected: bool
    min_disk_gb: int
    min_ram_mb: int
    tags: tuple[str, ...]
    properties: dict[str, str]
    disk_format: str | None = None
    container_format: str | None = None


class ImageDeleted(Event, tag="image.deleted", frozen=True, kw_only=True):
    """The image is gone; servers made from it are not."""


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image, with Glance's words: queued until its bytes are there, then active, at last deleted."""

    id: str
    name: str | None
    owner: str
    status: str
    disk_format: str | None
    container_format: str | None
    visibility: str
    protected: bool
    min_disk_gb: int
    min_ram_mb: int
    tags: tuple[str, ...]
    properties: dict[str, str]
    created_at: datetime
    updated_at: datetime
    size: int | None = None
    virtual_size: int | None = None
    checksum: str | None = None
    hash_value: str | None = None
    hash_algorithm: str | None = None


def aggregate(image_id: str) -> AggregateId:
    return AggregateId("image", image_id)


def existing(image: Image | None, image_id: str) -> Image:
    """The image if it lives; raises Refused (404)."""
    if image is None or image.status == "deleted":
        raise not_found("Image", image_id)
    return image


def create(image: Image | None, event: ImageCreated) -> ImageCreated:
    """Announce an image under an id that was never used."""
    if image is not None:
        raise Refused("image.exists", f"Image ID {event.image_id} already exists!")
    return event


def upload(image: Image | None, image_id: str, event: ImageUploaded) -> ImageUploaded:
    """Record that the bytes are there; only once."""
    image = existing(image, image_id)
    if image.status != "queued":
        raise Refused("image.not_queued", f"Image status transition from {image.status} to saving is not allowed")
    if image.disk_format is None or image.container_format is None:
        raise Refused("image.no_format", "Properties disk_format, container_format must be set prior to saving data.")
    return event


def update(image: Image | None, image_id: str, event: ImageUpdated) -> ImageUpdated:
    """Change the fields that a user may set."""
    existing(image, image_id)
    return event


def delete(image: Image | None, image_id: str) -> ImageDeleted:
    """Delete an image that is not protected."""
    if existing(image, image_id).protected:
        raise Refused("image.protected", f"Image {image_id} is protected and cannot be deleted.", status=403)
    return ImageDeleted()


def evolve(state: Image | None, event: Event, meta: Metadata) -> Image:
    if isinstance(event, ImageCreated):
        return Image(
            id=event.image_id,
            name=event.name,
            owner=event.owner,
            status="queued",
            disk_format=event.disk_format,
            container_format=event.container_format,
            visibility=event.visibility,
            protected=event.protected,
            min_disk_gb=event.min_disk_gb,
            min_ram_mb=event.min_ram_mb,
            tags=event.tags,
            properties=event.properties,
            created_at=meta.time,
            updated_at=meta.time,
        )
    assert state is not None
    replace = msgspec.structs.replace
    match event:
        case ImageUploaded():
            return replace(
                state,
                status="active",
                size=event.size,
                virtual_size=event.virtual_size,
                checksum=event.checksum,
                hash_value=event.hash_value,
                hash_algorithm=event.hash_algorithm,
                updated_at=meta.time,
            )
        case ImageUpdated():
            return replace(
                state,
                name=event.name,
                visibility=event.visibility,
                protected=event.protected,
                min_disk_gb=event.min_disk_gb,
                min_ram_mb=event.min_ram_mb,
                tags=event.tags,
                properties=event.properties,
                disk_format=event.disk_format,
                container_format=event.container_format,
                updated_at=meta.time,
            )
        case ImageDeleted():
            # Only that it was is kept: an id is never used again, and what is gone takes no room.
            return replace(state, name=None, status="deleted", tags=(), properties={}, updated_at=meta.time)
    raise unfoldable(event)


def lists(image: Image) -> tuple[str, ...]:
    """Where an image is found: with its project's, and with those of its visibility."""
    return () if image.status == "deleted" else (EVERY, of_project(image.owner), image.visibility)


KIND = Kind("image", (ImageCreated, ImageUploaded, ImageUpdated, ImageDeleted), evolve, lists)
