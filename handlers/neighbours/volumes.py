"""The volumes of the embedded block storage, and who may see which."""

from collections.abc import Iterator

from domain.errors import not_found
from domain.neighbours.volume import state as storage
from domain.neighbours.volume.state import Storage
from handlers.context import Context
from handlers.log.registry import Registry


class EmbeddedVolumes:
    """Promises what ``handlers.neighbours.Volumes`` does."""

    def __init__(self, registry: Registry) -> None:
        """``registry`` holds the storage of all projects."""
        self._registry = registry

    async def check(self, context: Context, volume_id: str) -> None:
        if not any(volume_id in known.volumes for _, known in usable(self._registry, context)):
            raise not_found("Volume", volume_id)


def usable(registry: Registry, context: Context) -> Iterator[tuple[str, Storage]]:
    """The storage that the caller may use, by project: the own one first, and for an administrator all others."""
    own = context.project_id or ""
    yield own, registry.of(storage.KIND, own) or Storage()
    if context.is_admin:
        yield from (
            (project_id, each) for project_id, each in registry.states(storage.KIND.name) if project_id != own
        )
