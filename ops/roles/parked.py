"""What the projector does about events that are parked: tries them again, and passes over those that are given up."""

import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from itertools import groupby

import msgspec

from domain.errors import LightcurveError
from domain.log import skip
from domain.log.record import AggregateId, Recorded
from domain.log.skip import EventSkipped
from handlers.ports import EventStore
from projections.parking import Parked
from projections.postgres import PostgresRows, Skipped

log = logging.getLogger(__name__)

RETRY, RETRIED = "lightcurve_retry_parked", "lightcurve_retried_parked"
"""Notify the first channel in the database with a Retrial, to have parked events tried again; the same comes on the
second one when that is done."""


class Retrial(msgspec.Struct):
    """Which parked events to try again: those of a cell at some positions, or all."""

    id: str
    cell: str = ""
    positions: list[int] | None = None

    def wants(self, parked: Parked) -> bool:
        """Whether this event is among them."""
        return self.positions is None or (parked.cell == self.cell and parked.position in self.positions)


retrial_decoder = msgspec.json.Decoder(Retrial)


async def skipped(api_store: EventStore) -> Skipped:
    """The events that were given up up to now."""
    found: Skipped = {}
    async with aclosing(api_store.follow(0, skip.KIND.name)) as batches:  # type: ignore[type-var]
        async for batch in batches:
            if not batch:
                break
            found |= skips_in(batch)
    return found


def skips_in(batch: list[Recorded]) -> Skipped:
    """The events that a batch gives up."""
    events = (recorded.event for recorded in batch)
    return {(event.cell, event.position): event.event_id for event in events if isinstance(event, EventSkipped)}


async def retry(rows: PostgresRows, stores: Mapping[str, EventStore], wanted: Callable[[Parked], bool]) -> None:
    """Try parked events again, in order, with all that is parked of their aggregates; nothing else may be applied
    meanwhile."""

    def place(parked: Parked) -> tuple[int, str, AggregateId]:
        return parked.build, parked.cell, parked.aggregate

    builds = {build.number for build in rows.builds}
    everything = sorted(await rows.parked(), key=lambda parked: (*place(parked), parked.position))
    for (build, cell, aggregate), members in groupby(everything, place):
        group = list(members)
        if build not in builds or cell not in stores or not any(wanted(parked) for parked in group):
            continue
        try:
            events = [await stores[cell].event_at(parked.position) for parked in group]
        except LightcurveError as error:
            log.warning("what is parked of %s cannot be read: %s", aggregate, error)
            continue
        await rows.retry(build, [event for event in events if event is not None])
