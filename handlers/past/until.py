"""A log as it was at a position."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from domain.errors import Bug, Invalid, Unavailable
from domain.log.record import GENESIS, AggregateId, Event, Metadata, Recorded, Tail
from handlers.ports import EventStore, Snapshot


class StoreUntil:
    """Promises what ``EventStore`` does, of a log that ends at a position. It is for reading only."""

    def __init__(self, store: EventStore, end: int) -> None:
        self._store = store
        self._end = end

    @property
    def cell(self) -> str:
        return self._store.cell

    async def require_writable(self) -> None:
        """Raises Unavailable, always."""
        raise Unavailable("Nothing can be added to the past.")

    async def append(self, aggregate: AggregateId, event: Event, meta: Metadata, tail: Tail) -> Recorded:
        """Raises Bug."""
        raise Bug("Nothing can be added to the past.")

    async def load(self, aggregate: AggregateId, after: Tail = GENESIS) -> list[Recorded]:
        try:
            found = await self._store.load(aggregate, after)
        except Invalid:  # what can have no name on the log never was on it
            return []
        return [recorded for recorded in found if recorded.position <= self._end]

    async def load_first(self, aggregate: AggregateId, limit: int) -> tuple[list[Recorded], bool]:
        found, _ = await self._store.load_first(aggregate, limit + 1)
        known = [recorded for recorded in found if recorded.position <= self._end]
        return known[:limit], len(known) > limit

    async def event_at(self, position: int) -> Recorded | None:
        return await self._store.event_at(position) if position <= self._end else None

    async def follow(self, after: int, *kinds: str) -> AsyncIterator[list[Recorded]]:
        if after < self._end:
            async with aclosing(self._store.follow(after, *kinds)) as batches:  # type: ignore[type-var]
                async for batch in batches:
                    known = [recorded for recorded in batch if recorded.position <= self._end]
                    if known:
                        yield known
                    if not batch or len(known) < len(batch):
                        break
        yield []
        await asyncio.Event().wait()

    async def last_position(self) -> int:
        return self._end

    async def save_snapshot(self, aggregate: AggregateId, snapshot: Snapshot) -> None:
        """Raises Bug."""
        raise Bug("Nothing can be added to the past.")

    async def load_snapshot(self, aggregate: AggregateId) -> Snapshot | None:
        snapshot = await self._store.load_snapshot(aggregate)
        return snapshot if snapshot and snapshot.tail.position <= self._end else None
