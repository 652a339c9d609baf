"""The conductor's process."""

from handlers.conducting import Conducting
from ops import notify
from ops.roles.plane import open_plane
from ops.settings import Settings
from projections.queries import Queries


class UnfinishedServers:
    """What a starting conductor asks the projection."""

    def __init__(self, queries: Queries, cell: str) -> None:
        self._queries = queries
        self._cell = cell

    async def unfinished(self) -> tuple[list[str], int]:
        """See handlers.conductor.Unfinished."""
        return await self._queries.unfinished(self._cell)


async def run(settings: Settings, name: str) -> None:
    """Work until cancelled."""
    queries = Queries(settings.database.url)
    await queries.open()
    try:
        async with open_plane(settings, name) as plane:
            conducting = Conducting(
                store=plane.store,
                api_store=plane.api_store,
                bus=plane.bus,
                liveness=plane.liveness,
                vault=plane.vault,
                stamp=plane.stamp,
                unfinished=UnfinishedServers(queries, settings.cell),
            )
            await conducting.run(name, notify.ready)
    finally:
        await queries.close()
