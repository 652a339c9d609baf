"""``lightcurve rebuild``: has the projector build a projection anew, and shows how far it is."""

import asyncio
import sys

from domain.errors import Invalid, Unavailable
from domain.log.loss import cure
from ops.roles.plane import COMMAND_SECONDS, open_plane
from ops.roles.projector import PROJECTIONS, REBUILD
from ops.settings import Settings
from projections.postgres import connect
from projections.queries import PostgresQueries

LOOK_SECONDS = 0.2
BAR = 40


async def rebuild(settings: Settings, projection: str) -> None:
    """Ask, and wait until the new build is in force. Raises Invalid for an unknown projection."""
    names = [known.name for known in PROJECTIONS]
    if projection not in names:
        raise Invalid(f"there is no projection {projection}; there are {', '.join(names)}")
    queries = PostgresQueries(settings.database.url)
    await queries.open()
    try:
        async with open_plane(settings, "rebuild", COMMAND_SECONDS) as plane:
            if plane.damage:
                raise Unavailable(f"{plane.damage[0]} {cure(plane.damage[0])}")
            before = {build for name, build, *_ in await queries.positions() if name == projection}
            async with await connect(settings.database.url, "lightcurve-rebuild-command") as connection:
                await connection.execute("SELECT pg_notify(%s, %s)", (REBUILD, projection))
            end = await plane.store.last_position() + await plane.api_store.last_position()
            done = False
            while not done:
                await asyncio.sleep(LOOK_SECONDS)
                for store in plane.stores:
                    await store.soundness.check()
                    store.soundness.require_whole()
                new = [row for row in await queries.positions() if row[0] == projection and row[1] not in before]
                done = bool(new) and all(in_force for *_, in_force in new)
                position = sum(row[3] for row in new)
                share = 1.0 if done else min(1.0, position / end if end else 1.0)
                filled = int(BAR * share)
                sys.stdout.write(f"\r{projection} [{'#' * filled}{'.' * (BAR - filled)}] {position} of {end} events ")
                sys.stdout.flush()
            print("done")
    finally:
        await queries.close()
