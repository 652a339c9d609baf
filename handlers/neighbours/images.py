"""The images of the embedded image service, as servers start from them."""

from domain import image_properties
from domain.errors import Invalid, Refused
from domain.guest import ImageSource
from domain.log.kind import of_project
from domain.log.record import Event
from domain.neighbours import image as images
from domain.neighbours.image import Image, ImageCreated
from handlers.accepted import Accepted
from handlers.context import Context, Stamp
from handlers.log.registry import Registry
from handlers.neighbours import BootImage, NewImage

EVERYBODYS = ("public", "community")
"""The visibilities of what every project may use."""


class EmbeddedImages:
    """Promises what ``handlers.neighbours.Images`` does."""

    def __init__(self, registry: Registry, stamp: Stamp, limit: int = -1) -> None:
        """``registry`` holds the images; ``limit`` is how many a project may have, -1: any number."""
        self._registry = registry
        self._stamp = stamp
        self._limit = limit

    async def bootable(self, context: Context, image_id: str) -> BootImage:
        found = self._registry.of(images.KIND, image_id)
        if found is None or found.status == "deleted" or not may_use(context, found):
            raise Invalid("Can not find requested image")
        if found.status != "active":
            raise Invalid(f"Image {image_id} is not active.")
        assert found.hash_value
        assert found.disk_format
        source = ImageSource(
            id=found.id,
            disk_format=found.disk_format,
            checksum=found.hash_value,
            checksum_algorithm=found.hash_algorithm or "sha512",
            size=found.size or 0,
            min_disk_gb=_min_disk_gb(found),
            properties=found.properties,
        )
        return BootImage(source, found.min_ram_mb)

    async def announce(self, context: Context, new: NewImage) -> tuple[str, Accepted]:
        if 0 <= self._limit <= sum(1 for _ in self._registry.listed(images.KIND.name, of_project(new.owner))):
            raise Refused("image.quota", f"The limit of {self._limit} images of a project is reached.", status=403)
        properties = (new.base.properties if new.base else {}) | new.properties
        if image_properties.size(properties) > image_properties.MAX_BYTES:
            words = f"The properties of the image have more than {image_properties.MAX_BYTES} bytes."
            raise Refused("image.properties", words, status=403)
        base = self._registry.of(images.KIND, new.base.id) if new.base else None
        image_id = self._stamp.ids.uuid()
        event = ImageCreated(
            image_id=image_id,
            name=new.name,
            owner=new.owner,
            disk_format="qcow2",
            container_format="bare",
            visibility="private",
            min_disk_gb=new.base.min_disk_gb if new.base else 0,
            min_ram_mb=base.min_ram_mb if base else 0,
            properties=properties,
        )
        _, accepted = await self._registry.execute(
            context, images.aggregate(image_id), lambda known: images.create(known, event)
        )
        return image_id, accepted

    async def remove(self, context: Context, image_id: str) -> None:
        def decide(known: Image | None) -> Event | None:
            gone = known is None or known.status == "deleted" or known.protected
            return None if gone else images.delete(known, image_id)

        await self._registry.execute(context, images.aggregate(image_id), decide)


def may_use(context: Context, image: Image) -> bool:
    """Whether the caller may see it and boot from it."""
    own = context.is_admin or image.owner == context.project_id
    return own or image.visibility in EVERYBODYS or image.member(context.project_id) is not None


def _min_disk_gb(found: Image) -> int:
    """What the image wants, and at least what the disk inside it measures."""
    inside = found.virtual_size or 0
    return max(found.min_disk_gb, (inside + (1 << 30) - 1) >> 30)
