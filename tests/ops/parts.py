"""The real log and the real read database, with roles run in this process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from domain.log.record import GENESIS, AggregateId, Event, Recorded
from handlers.context import Context
from handlers.ports import EventStore
from ops.embedded.nats import CONTROL, EmbeddedNats
from ops.roles import projector
from ops.roles.plane import Plane, open_plane
from ops.settings import DatabaseSettings, NatsSettings, Settings
from projections.queries import PostgresQueries
from tests.waiting import until


def settings_for(server: EmbeddedNats, database: str, directory: Path) -> Settings:
    """The settings of a role beside these."""
    server.credentials(CONTROL)
    nats = NatsSettings(url=server.url, user=CONTROL, password_file=server.directory / f"{CONTROL}.password")
    return Settings(state_dir=directory, nats=nats, database=DatabaseSettings(url=database))


@asynccontextmanager
async def running(role: Callable[[Settings, str], Awaitable[None]], settings: Settings) -> AsyncIterator[None]:
    """A role that runs meanwhile."""
    task = asyncio.ensure_future(role(settings, "test"))
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def projecting(settings: Settings) -> AsyncIterator[PostgresQueries]:
    """A projector at work, and what is asked of its rows."""
    queries = PostgresQueries(settings.database.url)
    await queries.open()
    try:
        async with running(projector.run, settings):
            yield queries
    finally:
        await queries.close()


async def tell(plane: Plane, store: EventStore, aggregate: AggregateId, *events: Event) -> list[Recorded]:
    """Let these things happen."""
    history = await store.load(aggregate)
    tail = history[-1].tail if history else GENESIS
    recorded = []
    for event in events:
        recorded.append(await store.append(aggregate, event, plane.stamp(Context(request_id="req-test")), tail))
        tail = recorded[-1].tail
    return recorded


async def until_projected(plane: Plane, queries: PostgresQueries) -> None:
    """Wait until every projection has passed the ends of the logs."""

    async def everything() -> bool:
        try:
            positions = await queries.positions()
        except Exception:  # noqa: BLE001 - the tables are not there yet
            return False
        ends = {store.cell: await store.last_position() for store in (plane.store, plane.api_store)}
        reached = {(name, cell): position for name, _, cell, position, in_force in positions if in_force}
        names = [projection.name for projection in projector.PROJECTIONS]
        return all(reached.get((name, cell), 0) >= end for cell, end in ends.items() for name in names)

    await until(everything, 30)


__all__ = ["open_plane", "projecting", "running", "settings_for", "tell", "until_projected"]
