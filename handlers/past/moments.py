"""Which moment somebody means."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from domain.errors import Invalid, Unavailable
from domain.log.moment import Moment
from domain.text import shortened
from handlers.ports import Clock, EventStore

NOW = "now"
Reached = Callable[[str, int], Awaitable[bool]]
"""Wait (within a bound) until what answers has read a position of a cell."""


class Moments:
    """Finds moments in the logs."""

    def __init__(self, stores: Sequence[EventStore], clock: Clock, reached: Reached | None = None) -> None:
        """``stores`` are all the logs, each once; without ``reached`` they are all that answers."""
        self._stores = {store.cell: store for store in stores}
        self._clock = clock
        self._reached = reached

    async def find(self, asked: str) -> Moment:
        """The moment of ``now``, of a time (ISO 8601; UTC if it names no zone), or of positions, as ``Moment`` writes
        them. Of a time: everything that was recorded up to it. Raises Invalid, and Unavailable while what answers has
        not read so far."""
        ends = {cell: await store.last_position() for cell, store in self._stores.items()}
        if asked == NOW:
            moment = Moment.of(ends)
        elif "=" in asked:
            moment = self._named(asked, ends)
        else:
            time = _time(asked)
            if time > self._clock.now():
                raise Invalid(f"{shortened(asked)} is still to come.")
            moment = await self._at(time, ends)
        for cell, position in moment.positions:
            if position and self._reached and not await self._reached(cell, position):
                raise Unavailable(f"What {cell} has recorded up to {position} has not been read yet.")
        return moment

    def _named(self, asked: str, ends: dict[str, int]) -> Moment:
        moment = Moment.parse(asked)
        for cell, position in moment.positions:
            if cell not in ends:
                raise Invalid(f"There is no cell {shortened(cell)}.")
            if position > ends[cell]:
                raise Invalid(f"The log of {cell} ends at {ends[cell]}: {position} is still to come.")
        if missing := ends.keys() - set(moment.cells):
            raise Invalid(f"The moment names no position of {', '.join(sorted(missing))}.")
        return moment

    async def _at(self, time: datetime, ends: dict[str, int]) -> Moment:
        return Moment.of({cell: await _last_until(self._stores[cell], end, time) for cell, end in ends.items()})


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"{shortened(text)!r} is no moment: it should be a time as 2026-01-31T10:00:00Z, positions as "
            f"api=12,cell1=345, or {NOW}."
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


async def _last_until(store: EventStore, end: int, time: datetime) -> int:
    """The last position whose event is not later than a time.

    The clocks of those who write differ a little, so times do not quite rise from one position to the next. The
    search always asks at the same positions, however far the log has got since: who asks again gets the same.
    """
    found = 0
    step = 1 << end.bit_length()
    while step := step >> 1:
        if found + step <= end and await _is_until(store, found + step, found, time):
            found += step
    return found


async def _is_until(store: EventStore, position: int, least: int, time: datetime) -> bool:
    """Whether the event at a position, or the last one before it that is left, is not later than a time."""
    while position > least:
        recorded = await store.event_at(position)
        if recorded is not None:
            return recorded.meta.time <= time
        position -= 1
    return True
