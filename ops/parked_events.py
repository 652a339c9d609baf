"""``lightcurve events``: events that projections have parked are listed, tried again, or given up."""

import asyncio
import uuid

import msgspec

from domain.errors import Invalid, Unavailable
from domain.log import skip
from domain.log.skip import Skip
from handlers.log.repository import Repository
from ops.roles.parked import RETRIED, RETRY, Retrial
from ops.roles.plane import COMMAND_SECONDS, open_plane
from ops.settings import Settings
from ops.tables import table
from projections.postgres import connect
from projections.queries import ParkedRow, PostgresQueries

WAIT_SECONDS = 60.0
"""How long the projector may take."""
LOOK_SECONDS = 0.1
EVERYTHING = 1_000_000


async def show(settings: Settings, limit: int) -> None:
    """Print what is parked, oldest first."""
    async with PostgresQueries(settings.database.url) as queries:
        found = await queries.parked(limit)
    if not found:
        print("No event is parked.")
        return
    head = ("PROJECTION", "CELL", "POSITION", "AGGREGATE", "SINCE", "REASON")
    table(head, [(*row[:4], f"{row.since:%Y-%m-%d %H:%M:%S}", row.reason) for row in found])


async def retry(settings: Settings, cell: str, positions: list[int]) -> None:
    """Have the projector try again what is parked at these positions (all, if none), with what waits behind it.
    Raises Invalid for a position where nothing is parked, and Unavailable."""
    retrial = Retrial(id=str(uuid.uuid4()), cell=cell, positions=positions or None)
    async with PostgresQueries(settings.database.url) as queries:
        before = await queries.parked(EVERYTHING)
        _check(before, cell, positions)
        await _have_retried(settings, retrial)
        after = await queries.parked(EVERYTHING)
    print(f"{len(before) - len(after)} of {len(before)} parked entries were applied; {len(after)} are parked.")


async def give_up(settings: Settings, cell: str, position: int, reason: str) -> None:
    """Record that an event is given up, and wait until the projector passes over it. Raises Invalid, Unavailable."""
    async with (
        PostgresQueries(settings.database.url) as queries,
        open_plane(settings, "events-skip", COMMAND_SECONDS) as plane,
    ):
        _check(await queries.parked(EVERYTHING), cell, [position])
        store = {store.cell: store for store in plane.stores}[cell]
        skipped = await store.event_at(position)
        if skipped is None:
            raise Invalid(f"there is no event at position {position} of {cell} any more")
        skips: Repository[Skip] = Repository(skip.KIND, plane.api_store, plane.stamp)
        await skips.execute(
            plane.stamp.own_context(),
            skip.aggregate(cell, position),
            lambda state: skip.decide(state, skipped, reason),
        )
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while _is_parked(await queries.parked(EVERYTHING), cell, position):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise Unavailable("it is recorded, but the projector does not answer; see lightcurve status") from None
    print(f"Event {position} of {cell} is given up; rebuilds pass over it, too.")


async def _have_retried(settings: Settings, retrial: Retrial) -> None:
    payload = msgspec.json.encode(retrial).decode()
    async with await connect(settings.database.url, "lightcurve-events-command") as connection:
        await connection.execute(f"LISTEN {RETRIED}")
        await connection.execute("SELECT pg_notify(%s, %s)", (RETRY, payload))
        async for notice in connection.notifies(timeout=WAIT_SECONDS):
            if notice.payload == payload:
                return
    raise Unavailable("the projector does not answer; see lightcurve status")


def _check(found: list[ParkedRow], cell: str, positions: list[int]) -> None:
    for position in positions:
        if not _is_parked(found, cell, position):
            raise Invalid(f"no event is parked at position {position} of {cell}; see: lightcurve events parked")


def _is_parked(found: list[ParkedRow], cell: str, position: int) -> bool:
    return any((row.cell, row.position) == (cell, position) for row in found)
