"""A cloud without a volume service, as Nova can be without Cinder: whatever volume is named, there is none."""

from domain.errors import not_found
from handlers.context import Context


class NoVolumes:
    """Promises what ``handlers.neighbours.Volumes`` does."""

    async def check(self, _context: Context, volume_id: str) -> None:
        raise not_found("Volume", volume_id)
