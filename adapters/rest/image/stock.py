"""How much a project may keep in images.

Images are aggregates of their own, so what several requests bring at the same moment each knows only afterwards: a
limit can be passed by as many as there were at once, never by more.
"""

from adapters.disk_space import spare
from adapters.rest.kit.limits import declared_length
from adapters.rest.kit.operation import Call
from domain.errors import Refused
from domain.log.kind import of_project
from domain.neighbours.image import Image


def check_count(call: Call) -> None:
    """Raise Refused (413) if the caller's project has as many images as it may have."""
    limit = call.services.limits.stock.images
    if 0 <= limit <= sum(1 for _ in _own(call, call.context.project_id or "")):
        raise Refused("image.quota", f"The limit of {limit} images of a project is reached.", status=413)


class Allowance:
    """How many bytes an upload may still bring."""

    def __init__(self, call: Call, image: Image) -> None:
        """Raises Refused (413) if the upload itself says that it brings too much."""
        limits = call.services.limits.stock
        bounds = [limits.one_image_bytes] if limits.one_image_bytes >= 0 else []
        if limits.image_bytes >= 0:
            stored = sum(other.size or 0 for other in _own(call, image.owner))
            bounds.append(max(0, limits.image_bytes - stored))
        self._left = min(bounds, default=None)
        self._directory = call.services.settings.images_dir
        self.take(0, announced=declared_length(call.scope) or 0)

    def take(self, size: int, *, announced: int = 0) -> None:
        """Raise Refused (413) unless so many bytes more may be stored, and there is room for them on the disk."""
        if self._left is not None:
            if max(size, announced) > self._left:
                raise Refused("image.quota", "The image is larger than what the project may still store.", status=413)
            self._left -= size
        if max(size, announced) > spare(self._directory):
            raise Refused("image.no_room", "There is not enough disk space for the image's data.", status=413)


def _own(call: Call, project_id: str) -> list[Image]:
    return list(call.services.registry.listed("image", of_project(project_id)))
