"""``lightcurve recover``: after a damage to a log, the cloud goes on with what is left of it.

What is missing is looked for, event by event, and recorded in the log itself; from then on nobody waits for it. Every
process starts anew, snapshots are forgotten, projections are built anew, and what is held by nobody is given back.
"""

import asyncio
import sys
from typing import Any

from psycopg import AsyncConnection

from adapters.nats.store import NatsEventStore
from domain.errors import Invalid, Unavailable
from domain.log.loss import Loss
from domain.log.recovery import RecoveryDecided, ranges
from ops.roles.archiving import survey
from ops.roles.plane import COMMAND_SECONDS, Plane, open_plane
from ops.settings import Settings
from projections.archive import Archive
from projections.builds import unhonoured
from projections.postgres import connect
from projections.queries import PostgresQueries

LOOK_SECONDS = 0.5
BUILD_SECONDS = 600.0
"""How long the projections may take to be built anew before the command stops waiting."""


async def recover(settings: Settings, *, give_up: bool) -> None:
    """Look for what is missing, record it, and wait until everything was built anew. What the archive has is only
    given up on request. Raises Unavailable, Invalid."""
    async with (
        PostgresQueries(settings.database.url) as queries,
        open_plane(settings, "recover", COMMAND_SECONDS) as plane,
        await connect(settings.database.url, "lightcurve-recover-command") as connection,
    ):
        archive = Archive(connection)
        await archive.open()
        known_ends = await queries.known_ends()
        losses = [await _loss(archive, store, known_ends.get(store.cell, 0)) for store in plane.stores]
        if any(loss.mendable for loss in losses) and not give_up:
            raise Invalid(
                "The archive has what can be put back: lightcurve down, lightcurve log restore, lightcurve up. "
                "To go on without it all the same: lightcurve recover --give-up"
            )
        recoveries = [
            await _recover(plane, store, loss) for store, loss in zip(plane.stores, losses, strict=True) if loss
        ]
        if not recoveries:
            print("The logs are whole: there is nothing to recover from.")
            return
        await _until_built(connection, queries, recoveries)
        await _tell_lost(archive, recoveries)
    print("All projections are built anew. What nobody holds any more is given back within two minutes.")
    print("Check then: lightcurve placement check, lightcurve holdings.")
    print("Restart the agents of hosts that are not listed any more.")


async def _loss(archive: Archive, store: NatsEventStore, known_end: int) -> Loss:
    print(f"reading the log of cell {store.cell} …", flush=True)
    loss = await survey(store, archive, asyncio.Lock(), known_end)
    if loss:
        print(f"  {loss}")
    return loss


async def _recover(plane: Plane, store: NatsEventStore, loss: Loss) -> str:
    """Record what is missing of one log; returns the event's id."""
    known = store.soundness.gaps.missing
    missing = ranges(sorted(p for each in (*known, *loss.missing) for p in range(each.first, each.last + 1)))
    known_end = loss.gone[-1].last if loss.gone else loss.end
    event = RecoveryDecided(missing=missing, end=loss.end, known_end=known_end)
    recorded = await store.append_recovery(event, plane.stamp(plane.stamp.own_context()))
    await store.drop_snapshots()
    store.soundness.mend()
    print(f"  recorded at position {recorded.position}: cell {store.cell} goes on with what is left")
    return recorded.meta.event_id


async def _tell_lost(archive: Archive, recoveries: list[str]) -> None:
    for recovery, cell, events, first, last in await archive.lost():
        if recovery in recoveries:
            print(
                f"{events} events of cell {cell}, of positions {first} to {last}, are kept apart: "
                f"lightcurve log lost {recovery}"
            )


async def _until_built(connection: AsyncConnection[Any], queries: PostgresQueries, recoveries: list[str]) -> None:
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
