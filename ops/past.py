"""The cloud as it was at any moment, for the command line."""

import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

import msgspec

from adapters.rest.identity.directory import Directory
from domain.catalogue import quota
from domain.errors import Invalid
from domain.fleet import host
from domain.fleet.host import Host
from domain.log.moment import Moment
from domain.log.record import Recorded
from domain.placement.ledger import Ledger
from domain.server import erasure
from domain.server.listing import ServerFilter
from domain.server.state import Server, aggregate
from handlers.log.registry import Registry
from handlers.past.ledgers import PastLedgers
from handlers.past.moments import Moments
from handlers.past.until import StoreUntil
from handlers.together import together
from ops.identity import is_project_id, known_people
from ops.roles import projector
from ops.roles.plane import COMMAND_SECONDS, Plane, open_plane
from ops.settings import Settings
from projections.event_log import LogRow
from projections.log_queries import LogQueries
from projections.past import PastQueries
from projections.trace import Facts

AT_ONCE = 64
"""Events that are asked for at a time."""
READ_SECONDS = 10.0
"""How long the read database may take to get as far as the moment."""
CATCH_UP_SECONDS = 2.0
"""The same where what is there is shown all the same."""
SEARCH_SECONDS = 600.0
"""A look through a long past may take its time."""


@dataclass(frozen=True)
class Names:
    """What users and projects are called; an id that nobody has any more is its own name."""

    directory: Directory

    def user(self, user_id: str | None) -> str:
        found = self.directory.users.get(user_id or "")
        return found.name if found else user_id or "the cloud itself"

    def project(self, project_id: str | None) -> str:
        found = self.directory.find_project(project_id, None) if project_id else None
        return found.name if found else project_id or "-"

    def project_id(self, name: str) -> str:
        """The id of a project of that name, or the id itself: of one that is gone only that is known. Raises
        Invalid."""
        found = next((project for project in self.directory.projects.values() if project.name == name), None)
        if found is None and not is_project_id(name):
            raise Invalid(f"There is no project {name}.")
        return found.id if found else name


@dataclass(frozen=True)
class Then:
    """The cloud at one moment."""

    plane: Plane
    moment: Moment
    queries: PastQueries

    async def ledger(self) -> Ledger:
        cell = self.plane.store.cell
        feed = await PastLedgers(self.plane.store, self.plane.stamp).at(self.moment[cell])
        return feed.writer.state

    async def hosts(self) -> Registry:
        registry = Registry(self._until(self.plane.store.cell), self.plane.stamp, [host.KIND])
        await registry.read_once()
        return registry

    async def history(self, server_id: str) -> list[Recorded]:
        """The server's events, up to the moment."""
        return await self._until(self.plane.store.cell).load(aggregate(server_id))

    async def host(self, name: str) -> Host:
        """Raises Invalid if there was none."""
        found = (await self.hosts()).of(host.KIND, name)
        if found is None:
            raise Invalid(f"There was no host {name}.")
        return found

    async def quotas(self) -> Registry:
        registry = Registry(self._until(self.plane.api_store.cell), self.plane.stamp, [quota.KIND])
        await registry.read_once()
        return registry

    async def server(self, name: str) -> Server:
        """The server of that id, or the only one that had the name. Raises Invalid."""
        if not name:
            raise Invalid("Name a server, or give its id.")
        if found := await self.queries.server(name):
            return found
        named = [
            server
            for server in await self.queries.servers(ServerFilter(name=name, deleted=None))
            if server.name == name
        ]
        if len(named) != 1:
            words = ", ".join(f"{server.id} ({server.vm_state})" for server in named)
            raise Invalid(f"{len(named)} servers had the name {name}: {words}" if named else f"There was no {name}.")
        return named[0]

    def _until(self, cell: str) -> StoreUntil:
        (store,) = (store for store in self.plane.stores if store.cell == cell)
        return StoreUntil(store, self.moment[cell])


class Past:
    """Where moments are found, and what is asked of them."""

    def __init__(self, plane: Plane, queries: LogQueries, names: Names) -> None:
        self.plane = plane
        self.queries = queries
        self.names = names
        self._moments = Moments(plane.stores, plane.stamp.clock, self._projected)

    async def at(self, moment: str) -> Then:
        """Raises Invalid for what is no moment, and Unavailable."""
        found = await self._moments.find(moment)
        stores = [StoreUntil(store, found[store.cell]) for store in self.plane.stores]
        return Then(self.plane, found, PastQueries(self.queries, found, stores))

    async def erased(self, server_id: str) -> datetime | None:
        """When what was sealed for a server was erased; None if it was not, by now."""
        found = await self.plane.store.load(erasure.aggregate(server_id))
        return found[-1].meta.time if found else None

    async def catch_up(self) -> None:
        """Let the read database get as far as the log is now; if it does not, say that the end is missing."""
        for store in self.plane.stores:
            if (end := await store.last_position()) and not await self._projected(store.cell, end, CATCH_UP_SECONDS):
                print(f"The newest events of {store.cell} cannot be shown yet.", file=sys.stderr)

    async def _projected(self, cell: str, position: int, seconds: float = READ_SECONDS) -> bool:
        return await self.plane.positions.reached(projector.NAME, cell, position, seconds)


@asynccontextmanager
async def open_past(settings: Settings) -> AsyncIterator[Past]:
    async with (
        LogQueries(settings.database.url, SEARCH_SECONDS) as queries,
        open_plane(settings, "past", COMMAND_SECONDS) as plane,
    ):
        yield Past(plane, queries, Names(await known_people(plane)))


async def events_of(past: Past, rows: Iterable[LogRow]) -> dict[tuple[str, int], Recorded | None]:
    """The events of some rows, by cell and position; None for one that is not in the log any more."""
    stores = {store.cell: store for store in past.plane.stores}
    known: dict[tuple[str, int], Recorded | None] = {}
    waiting = iter(dict.fromkeys((row.cell, row.position) for row in rows))
    while some := list(islice(waiting, AT_ONCE)):
        events = await together(*(stores[cell].event_at(position) for cell, position in some))
        known |= dict(zip(some, events, strict=True))
    return known


def in_words(facts: Facts) -> str:
    """What an event says, behind a colon; nothing if that is nothing."""
    words = " ".join(
        f"{name}={value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
        for name, value in facts.items()
    )
    return f": {words}" if words else ""


def written(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S") if moment else "-"
