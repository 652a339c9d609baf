"""The images of the embedded image service, as servers start from them."""

from domain.errors import Invalid
from domain.guest import ImageSource
from domain.neighbours import image as images
from domain.neighbours.image import Image
from handlers.context import Context
from handlers.log.registry import Registry
from handlers.neighbours import BootImage

EVERYBODYS = ("public", "community")
"""The visibilities of what every project may use."""


class EmbeddedImages:
    """Promises what ``handlers.neighbours.Images`` does."""

    def __init__(self, registry: Registry) -> None:
        """``registry`` holds the images."""
        self._registry = registry

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


def may_use(context: Context, image: Image) -> bool:
    """Whether the caller may see it and boot from it."""
    return context.is_admin or image.owner == context.project_id or image.visibility in EVERYBODYS


def _min_disk_gb(found: Image) -> int:
    """What the image wants, and at least what the disk inside it measures."""
    inside = found.virtual_size or 0
    return max(found.min_disk_gb, (inside + (1 << 30) - 1) >> 30)
