"""An image as Glance shows it."""

from typing import Any

from adapters.rest.image.access import may_change
from adapters.rest.kit.operation import Call
from adapters.rest.kit.times import seconds
from adapters.rest.kit.words import words
from domain.errors import Refused, not_found
from domain.neighbours import image as images
from domain.neighbours.image import Image
from handlers.neighbours.images import may_use

FORMATS = ("raw", "qcow2")
CONTAINERS = ("bare",)
VISIBILITIES = ("public", "private", "shared", "community")


def document(image: Image) -> dict[str, Any]:
    """Everything about an image; its own properties stand beside Glance's."""
    return {
        **image.properties,
        "id": image.id,
        "name": image.name,
        "status": image.status,
        "visibility": image.visibility,
        "protected": image.protected,
        "os_hidden": False,
        "owner": image.owner,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "min_disk": image.min_disk_gb,
        "min_ram": image.min_ram_mb,
        "size": image.size,
        "virtual_size": image.virtual_size,
        "checksum": image.checksum,
        "os_hash_algo": image.hash_algorithm,
        "os_hash_value": image.hash_value,
        "tags": list(image.tags),
        "created_at": seconds(image.created_at),
        "updated_at": seconds(image.updated_at),
        "self": f"/v2/images/{image.id}",
        "file": f"/v2/images/{image.id}/file",
        "schema": "/v2/schemas/image",
    }


RESERVED = words(
    "id status os_hidden owner size virtual_size checksum os_hash_algo os_hash_value created_at updated_at self file "
    "schema locations direct_url"
)
"""What the service alone sets."""

SETTABLE = words("name visibility protected disk_format container_format min_disk min_ram tags")
"""What a user sets; any other name is a property."""


def find(call: Call) -> Image:
    """The image in the path, if the caller may know of it; raises Refused (404)."""
    image_id = call.params["image_id"]
    image = images.existing(call.services.registry.of(images.KIND, image_id), image_id)
    if not may_use(call.context, image):
        raise not_found("Image", image_id)
    return image


def find_own(call: Call) -> Image:
    """The image in the path, if the caller may change it; raises Refused (404, 403)."""
    image = find(call)
    if not may_change(call.context, image):
        raise Refused("forbidden", f"You are not permitted to modify image {image.id}.", status=403)
    return image


def check_visibility(call: Call, visibility: str) -> None:
    """Publishing is an administrator's."""
    if visibility == "public" and not call.is_admin:
        raise Refused("forbidden", "You are not authorized to complete publicize_image action.", status=403)
