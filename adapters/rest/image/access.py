"""Who may see an image, and who may change it."""

from adapters.rest.kit.operation import Call
from domain.log.kind import of_project
from domain.neighbours.image import Image, shared_with
from handlers.context import Context
from handlers.neighbours.images import EVERYBODYS


def usable_images(call: Call) -> list[Image]:
    """The living images that the caller may use."""
    registry, context = call.services.registry, call.context
    if context.is_admin:
        return list(registry.all("image"))
    project_id = context.project_id or ""
    lists = (of_project(project_id), *EVERYBODYS, shared_with(project_id))
    found = {image.id: image for name in lists for image in registry.listed("image", name)}
    return list(found.values())


def may_change(context: Context, image: Image) -> bool:
    """Whether the caller may change, fill or delete it."""
    return context.is_admin or image.owner == context.project_id
