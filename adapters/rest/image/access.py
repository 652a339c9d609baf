"""Who may see an image, and who may change it."""

from domain.image import Image
from handlers.context import Context

SERVICE = "service"
"""The role of compute hosts: they fetch for a server what its owner was allowed to boot from."""


def may_use(context: Context, image: Image) -> bool:
    """Whether the caller may see it and boot from it."""
    if context.is_admin or image.owner == context.project_id or SERVICE in context.roles:
        return True
    return image.visibility in ("public", "community")


def may_change(context: Context, image: Image) -> bool:
    """Whether the caller may change, fill or delete it."""
    return context.is_admin or image.owner == context.project_id
