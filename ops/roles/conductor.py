"""The conductor's process."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from domain.errors import Unavailable
from handlers.conducting.conducting import Conducting
from handlers.consoles.lost_proxies import OpenConsole
from handlers.host.image_tickets import ImageTickets
from handlers.ports import Clock, EventStore
from ops import notify
from ops.roles.plane import open_plane
from ops.settings import Settings
from projections.console_queries import ConsoleQueries


class OfCell:
    """What a conductor asks the projections of its cell; promises what ``ReadServers`` and ``OpenConsoles`` do."""

    def __init__(self, queries: ConsoleQueries, store: EventStore) -> None:
        self._queries = queries
        self._store = store
        self._cell = store.cell

    async def unfinished(self) -> tuple[list[str], int]:
        ids, position = await self._queries.unfinished(self._cell)
        if position > await self._store.last_position():
            raise Unavailable("The projections have read more than the log has; see: lightcurve status")
        return ids, position

    async def living(self, server_ids: Sequence[str]) -> tuple[set[str], int]:
        return await self._queries.living(self._cell, server_ids)

    async def console_proxies(self) -> list[str]:
        return await self._queries.console_proxies(self._cell)

    async def consoles_of(self, proxy: str) -> list[OpenConsole]:
        return [OpenConsole(*found) for found in await self._queries.consoles_of(self._cell, proxy)]


def image_tickets(settings: Settings, clock: Clock) -> ImageTickets | None:
    """What hosts fetch images with; None: they do so as a user of the image service."""
    file = settings.api.ticket_key_file
    return ImageTickets(file.read_bytes().strip(), clock) if file else None


async def run(settings: Settings, name: str) -> None:
    """Work until cancelled."""
    queries = ConsoleQueries(settings.database.url)
    await queries.open()
    try:
        async with open_plane(settings, name) as plane, asyncio.TaskGroup() as group:
            group.create_task(plane.watch())
            of_cell = OfCell(queries, plane.store)
            conducting = Conducting(
                store=plane.store,
                api_store=plane.api_store,
                bus=plane.bus,
                liveness=plane.liveness,
                vault=plane.vault,
                stamp=plane.stamp,
                read_servers=of_cell,
                open_consoles=of_cell,
                refusals=plane.refusals,
                tickets=image_tickets(settings, plane.stamp.clock),
                keys_kept=timedelta(seconds=settings.erasure.after_seconds),
            )
            await conducting.run(name, notify.ready)
    finally:
        await queries.close()
