"""``lightcurve recover``: after a damage to a log, the cloud goes on with what is left of it.

What is missing is looked for, event by event, and recorded in the log itself; from then on nobody waits for it. Every
process starts anew, snapshots are forgotten, projections are built anew, and what is held by nobody is given back.
"""

import asyncio
import sys
from contextlib import aclosing

from adapters.nats.reader import EVERYTHING, Reader
from adapters.nats.store import NatsEventStore
from domain.errors import Unavailable
from domain.log.recovery import Missing, RecoveryDecided, count, ranges, told
from ops.roles.plane import COMMAND_SECONDS, Plane, open_plane
from ops.settings import Settings
from projections.builds import unhonoured
from projections.postgres import connect
from projections.queries import PostgresQueries

LOOK_SECONDS = 0.5
BUILD_SECONDS = 600.0
"""How long the projections may take to be built anew before the command stops waiting."""


async def recover(settings: Settings) -> None:
    """Look for what is missing, record it, and wait until everything was built anew. Raises Unavailable."""
    async with (
        PostgresQueries(settings.database.url) as queries,
        open_plane(settings, "recover", COMMAND_SECONDS) as plane,
    ):
        known_ends = await _known_ends(queries)
        decided = [await _recover(plane, store, known_ends.get(store.cell, 0)) for store in plane.stores]
        recoveries = [event_id for event_id in decided if event_id]
        if not recoveries:
            print("The logs are whole: there is nothing to recover from.")
            return
        await _until_built(settings, queries, recoveries)
    print("All projections are built anew. What nobody holds any more is given back within two minutes.")
    print("Check then: lightcurve placement check, lightcurve holdings.")
    print("Restart the agents of hosts that are not listed any more.")


async def _recover(plane: Plane, store: NatsEventStore, known_end: int) -> str | None:
    """Record what is missing of one log; returns the event's id, None if nothing is."""
    print(f"reading the log of cell {store.cell} …", flush=True)
    missing, end = await _missing(plane, store)
    gone = max(0, known_end - end)
    known = store.soundness.gaps
    fresh = ranges(p for each in missing for p in range(each.first, each.last + 1) if p not in known)
    if not fresh and not gone:
        return None
    if fresh:
        print(f"  {count(fresh)} events are missing: {told(fresh)}")
    if gone:
        print(f"  its last {gone} events are gone: it ends at position {end}, and {known_end} was read before")
    event = RecoveryDecided(missing=missing, end=end, known_end=max(known_end, end))
    recorded = await store.append_recovery(event, plane.stamp(plane.stamp.own_context()))
    await store.drop_snapshots()
    store.soundness.mend()
    print(f"  recorded at position {recorded.position}: cell {store.cell} goes on with what is left")
    return recorded.meta.event_id


async def _missing(plane: Plane, store: NatsEventStore) -> tuple[tuple[Missing, ...], int]:
    """All positions of a log where there is nothing (any more), and where it ends."""
    end = await store.last_position()
    absent: list[Missing] = []
    before = 0
    reader = Reader(plane.connection, store.stream, known_missing=EVERYTHING)
    async with aclosing(reader.batches()) as batches:
        async for batch in batches:
            if not batch:
                break
            for position, _ in batch:
                if position > before + 1:
                    absent.append(Missing(first=before + 1, last=position - 1))
                before = position
            if before >= end:
                break
    if before < end:
        absent.append(Missing(first=before + 1, last=end))
    return tuple(absent), max(before, end)


async def _known_ends(queries: PostgresQueries) -> dict[str, int]:
    """How far any projection has read, by cell."""
    ends: dict[str, int] = {}
    for _, _, cell, position, _ in await queries.positions():
        ends[cell] = max(position, ends.get(cell, 0))
    return ends


async def _until_built(settings: Settings, queries: PostgresQueries, recoveries: list[str]) -> None:
    async with await connect(settings.database.url, "lightcurve-recover-command") as connection:
        try:
            async with asyncio.timeout(BUILD_SECONDS):
                while await unhonoured(connection, recoveries):
                    await asyncio.sleep(LOOK_SECONDS)
                    _show_progress(await queries.positions())
        except TimeoutError:
            raise Unavailable(
                "it is recorded, but the projector has not built everything anew yet; see lightcurve status"
            ) from None
    print()


def _show_progress(positions: list[tuple[str, int, str, int, bool]]) -> None:
    building = {name: position for name, _, _, position, in_force in positions if not in_force}
    text = ", ".join(f"{name} at {position}" for name, position in building.items()) or "waiting for the projector"
    sys.stdout.write(f"\rbuilding anew: {text:<60}")
    sys.stdout.flush()
