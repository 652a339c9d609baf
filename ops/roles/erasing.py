"""What the projector does when a server's key is destroyed: the rows that tell what it had sealed are made anew."""

import logging
from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection, sql

from adapters.nats.store import NatsEventStore
from domain import console
from domain.log.checkpoint import Entry
from domain.log.record import AggregateId, Recorded
from domain.server import state
from domain.server.erasure import ErasureDecided
from projections.builds import Build
from projections.console_sessions import TABLE as SESSIONS
from projections.parking import indigestible, reason_of
from projections.postgres import PostgresRows

log = logging.getLogger(__name__)


class Erasing:
    """Applies batches of one cell's events to the rows of some builds, and erases what they tell to be erased."""

    def __init__(self, connection: AsyncConnection[Any], rows: PostgresRows, store: NatsEventStore) -> None:
        self._connection = connection
        self._rows = rows
        self._store = store

    async def apply(self, batch: list[Recorded], entries: Sequence[Entry] = ()) -> None:
        """As ``PostgresRows.apply``. What is erased by an event of the batch is erased first in the rows that are
        there, and in the batch: after a death in between all of it is done again."""
        servers = {each.event.server_id for each in batch if isinstance(each.event, ErasureDecided)}
        for server_id in servers:
            batch = await self._erase(server_id, batch)
        await self._rows.apply(batch, entries)

    async def _erase(self, server_id: str, batch: list[Recorded]) -> list[Recorded]:
        """The batch without the texts."""
        its_own = state.aggregate(server_id)
        within = {each.aggregate for each in batch if _is_console_of(server_id, each)}
        erased: dict[AggregateId, list[Recorded]] = {}
        for build in self._rows.builds:
            places = {its_own, *within, *await self._consoles(build, server_id)}
            for place in places - erased.keys():
                erased[place] = await self._store.load_erased(place)
            events = sorted((each for place in places for each in erased[place]), key=lambda each: each.position)
            if build.projection.folds and events:
                await self._make_anew(build, server_id, events)
        texts = {each.position: each for events in erased.values() for each in events}
        return [texts.get(each.position, each) for each in batch]

    async def _make_anew(self, build: Build, server_id: str, events: list[Recorded]) -> None:
        try:
            await self._rows.make_anew(build, events)
        except Exception as error:
            if not indigestible(error):
                raise
            log.error(
                "what was sealed for server %s still stands in %s: %s",
                server_id, build.projection.name, reason_of(error),
            )  # fmt: skip

    async def _consoles(self, build: Build, server_id: str) -> list[AggregateId]:
        """The grants by which its consoles were opened."""
        if SESSIONS not in build.projection.tables:
            return []
        query = sql.SQL("SELECT DISTINCT grant_id FROM {} WHERE server_id = %s").format(build.table(SESSIONS))
        cursor = await self._connection.execute(query, (server_id,))
        return [console.aggregate(grant_id) for (grant_id,) in await cursor.fetchall()]


def _is_console_of(server_id: str, recorded: Recorded) -> bool:
    return recorded.aggregate.kind == console.KIND.name and getattr(recorded.event, "server_id", "") == server_id
