"""``lightcurve projection status``: how far each projection and the archive are, how fast they go, and what is wrong
with them."""

import asyncio
from typing import NamedTuple

from handlers.ports import Beat
from ops.roles.plane import COMMAND_SECONDS, Plane, open_plane
from ops.roles.troubles import troubles_in
from ops.settings import Settings
from ops.status import beats_now
from ops.tables import table
from projections.archive import Archive
from projections.postgres import connect
from projections.queries import PostgresQueries

LOOK_SECONDS = 1.0
"""Between the two looks from which the rate follows."""
ARCHIVE = "archive"
EVERYTHING = 1_000_000


class Place(NamedTuple):
    """One build of a projection, or the archive, in one cell."""

    name: str
    build: str
    cell: str
    in_force: bool = True


async def show(settings: Settings) -> None:
    """Print it. Raises Unavailable."""
    async with (
        PostgresQueries(settings.database.url) as queries,
        open_plane(settings, "projection-status", COMMAND_SECONDS) as plane,
        await connect(settings.database.url, "lightcurve-projection-status") as connection,
    ):
        archive = Archive(connection)
        before = await _positions(queries, archive, plane)
        await asyncio.sleep(LOOK_SECONDS)
        now = await _positions(queries, archive, plane)
        ends = {store.cell: await store.last_position() for store in plane.stores}
        parked = {(name, cell): count for name, cell, count, _ in await queries.parked_counts()}
        rows = []
        for place, position in now.items():
            lag = max(0, ends[place.cell] - position)
            rate = max(0, position - before.get(place, position)) / LOOK_SECONDS
            count = parked.get((place.name, place.cell), 0)
            state = _state(place, position, ends[place.cell], lag)
            rows.append((*place[:3], position, lag, f"{rate:.0f}/s", count or "", state))
        table(("PROJECTION", "BUILD", "CELL", "POSITION", "LAG", "RATE", "PARKED", ""), rows)
        await _tell_errors(queries, await beats_now(plane.liveness))


async def _positions(queries: PostgresQueries, archive: Archive, plane: Plane) -> dict[Place, int]:
    await archive.open()
    found = {
        Place(name, str(build), cell, in_force): position
        for name, build, cell, position, in_force in await queries.positions()
    }
    return found | {Place(ARCHIVE, "", store.cell): archive.end(store.cell) for store in plane.stores}


def _state(place: Place, position: int, end: int, lag: int) -> str:
    if not place.in_force:
        return f"being built, {position / end if end else 1:.0%}"
    if place.name == ARCHIVE and lag:
        return "being filled"
    return ""


async def _tell_errors(queries: PostgresQueries, beats: dict[str, Beat]) -> None:
    """The last one of each: of what is parked, and of what the projector could not do."""
    last: dict[str, str] = {}
    for row in await queries.parked(EVERYTHING):
        last[row.projection] = f"{row.since:%Y-%m-%d %H:%M:%S} position {row.position} of {row.cell}: {row.reason}"
    for beat in beats.values():
        if beat.name.startswith("projector/"):
            for name, words in troubles_in(beat).items():
                last[name] = max(last.get(name, ""), words)
    for name, words in sorted(last.items()):
        print(f"last error of {name}: {words}")
