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


class ImageDeactivated(Event, tag="image.deactivated", frozen=True, kw_only=True):
    """Nobody but administrators reads its bytes any more, and no new server starts from them."""


class ImageReactivated(Event, tag="image.reactivated", frozen=True, kw_only=True):
    """It is active again."""


class ImageShared(Event, tag="image.shared", frozen=True, kw_only=True):
    """Another project may use it."""

    member_id: str
    """The project."""


class ImageMemberAnswered(Event, tag="image.member_answered", frozen=True, kw_only=True):
    """That project wants it in its list of images, or does not."""

    member_id: str
    status: str


class ImageUnshared(Event, tag="image.unshared", frozen=True, kw_only=True):
    """That project may not use it any more; its servers stay."""

    member_id: str


class ImageDeleted(Event, tag="image.deleted", frozen=True, kw_only=True):
    """The image is gone; servers made from it are not."""


SHARED = "shared"
PENDING, ACCEPTED, REJECTED = "pending", "accepted", "rejected"
MEMBER_STATUSES = (PENDING, ACCEPTED, REJECTED)
MAX_MEMBERS = 128


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A project with which an image is shared."""

    project_id: str
    created_at: datetime
    updated_at: datetime
    status: str = PENDING
    """What it has answered: only what it has accepted is in its list of images. It may use the image all the same."""


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image, with Glance's words: queued until its bytes are there, then active, now and then deactivated, at last
    deleted."""

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
    members: tuple[Member, ...] = ()
    """The oldest first. They count while its visibility is ``shared``."""

    def member(self, project_id: str | None) -> Member | None:
        """That project, if the image is shared with it."""
        if self.visibility != SHARED:
            return None
        return next((member for member in self.members if member.project_id == project_id), None)


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


def deactivate(image: Image | None, image_id: str) -> ImageDeactivated | None:
    """None if it is deactivated. Raises Refused (403) for one without data."""
    return ImageDeactivated() if _with_data(image, image_id).status == "active" else None


def reactivate(image: Image | None, image_id: str) -> ImageReactivated | None:
    """None if it is active. Raises Refused (403) for one without data."""
    return ImageReactivated() if _with_data(image, image_id).status == "deactivated" else None


def _with_data(image: Image | None, image_id: str) -> Image:
    image = existing(image, image_id)
    if image.status == "queued":
        message = f"Not allowed to change the status of image {image_id} from queued: it has no data."
        raise Refused("image.queued", message, status=403)
    return image


def share(image: Image | None, image_id: str, member_id: str) -> ImageShared:
    """Raises Refused: 403 for one that is not ``shared``, 409 with who may use it, 413 with too many."""
    image = shared(image, image_id)
    if image.member(member_id):
        raise Refused("image.member", f"The member {member_id} is already associated with image {image_id}.")
    if len(image.members) >= MAX_MEMBERS:
        raise Refused("image.members", f"The limit of {MAX_MEMBERS} members is exceeded.", status=413)
    return ImageShared(member_id=member_id)


def answer(image: Image | None, image_id: str, member_id: str, status: str) -> ImageMemberAnswered | None:
    """None if that is its answer already. Raises Refused (404, 403)."""
    member = member_of(shared(image, image_id), member_id)
    return None if member.status == status else ImageMemberAnswered(member_id=member_id, status=status)


def unshare(image: Image | None, image_id: str, member_id: str) -> ImageUnshared:
    """Raises Refused (404, 403)."""
    member_of(shared(image, image_id), member_id)
    return ImageUnshared(member_id=member_id)


def shared(image: Image | None, image_id: str) -> Image:
    """The image if it can have members; raises Refused (404, 403)."""
    image = existing(image, image_id)
    if image.visibility != SHARED:
        raise Refused("image.not_shared", "Only shared images have members.", status=403)
    return image


def member_of(image: Image, member_id: str) -> Member:
    """Raises Refused (404)."""
    member = image.member(member_id)
    if member is None:
        raise Refused(
            "image.member_not_found", f"{member_id} not found in the member list of {image.id}.", status=404
        )
    return member


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
        case ImageDeactivated():
            return replace(state, status="deactivated", updated_at=meta.time)
        case ImageReactivated():
            return replace(state, status="active", updated_at=meta.time)
        case ImageShared():
            member = Member(project_id=event.member_id, created_at=meta.time, updated_at=meta.time)
            return replace(state, members=(*state.members, member))
        case ImageMemberAnswered():
            return replace(state, members=tuple(_answered(member, event, meta) for member in state.members))
        case ImageUnshared():
            left = (member for member in state.members if member.project_id != event.member_id)
            return replace(state, members=tuple(left))
        case ImageDeleted():
            # Only that it was is kept: an id is never used again, and what is gone takes no room.
            return replace(
                state, name=None, status="deleted", tags=(), properties={}, members=(), updated_at=meta.time
            )
    raise unfoldable(event)


def _answered(member: Member, event: ImageMemberAnswered, meta: Metadata) -> Member:
    if member.project_id != event.member_id:
        return member
    return msgspec.structs.replace(member, status=event.status, updated_at=meta.time)


def lists(image: Image) -> tuple[str, ...]:
    """Where an image is found: with its project's, with those of its visibility, and with those shared with each of
    its members."""
    if image.status == "deleted":
        return ()
    members = image.members if image.visibility == SHARED else ()
    shared_with_each = (shared_with(member.project_id) for member in members)
    return (EVERY, of_project(image.owner), image.visibility, *shared_with_each)


def shared_with(project_id: str) -> str:
    """The name of the list of what is shared with a project."""
    return f"shared with {project_id}"


EVENTS = (
    ImageCreated,
    ImageUploaded,
    ImageUpdated,
    ImageDeactivated,
    ImageReactivated,
    ImageShared,
    ImageMemberAnswered,
    ImageUnshared,
    ImageDeleted,
)
KIND = Kind("image", EVENTS, evolve, lists)
