"""``lightcurve verify --redecide``: whether today's rules allow all that was recorded."""

from collections.abc import Sequence
from contextlib import aclosing

from domain.redecision import Difference, Redecision
from handlers.ports import EventStore
from ops.progress import Progress
from ops.roles.plane import COMMAND_SECONDS, open_plane
from ops.settings import Settings

SHOWN = 50
"""Differences of which a line is printed."""


async def redecide(settings: Settings, cell: str | None) -> bool:
    """Go through the logs of the stack that runs, print what today's rules would have decided otherwise, and return
    whether nothing was. Raises LightcurveError."""
    redecision = Redecision(settings.quota.limits)
    found: list[Difference] = []
    async with open_plane(settings, "redecide", COMMAND_SECONDS) as plane:
        for store in plane.stores:
            if cell in (None, store.cell):
                found += await decided_anew(store, redecision)
    _tell(redecision, found)
    return not found


async def decided_anew(store: EventStore, redecision: Redecision) -> list[Difference]:
    """What differs in one log, up to its present end."""
    found: list[Difference] = []
    end, events = await store.last_position(), 0
    with Progress(f"deciding {store.cell} anew") as progress:
        async with aclosing(store.follow(0)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                for recorded in batch:
                    if recorded.position > end:
                        return found
                    found += redecision.take(recorded)
                events += len(batch)
                position = batch[-1].position if batch else end
                progress.show(position, end, events)
                if position >= end:
                    return found
    return found


def _tell(redecision: Redecision, found: Sequence[Difference]) -> None:
    aside = f"; {redecision.passed_over:,} could not be judged" if redecision.passed_over else ""
    judged = f"{redecision.decided:,} events decided anew by today's rules{aside}"
    if not found:
        print(f"{judged}: each is as it was recorded.")
        return
    print(f"{judged}: {len(found):,} would be otherwise.")
    for recorded, instead in found[:SHOWN]:
        at = f"{recorded.cell}#{recorded.position} {recorded.meta.time:%Y-%m-%d %H:%M:%S}"
        print(f"  {at} {type(recorded.event).__struct_config__.tag} of {recorded.aggregate}: {instead}")
    if len(found) > SHOWN:
        print(f"  and {len(found) - SHOWN:,} more")
