"""The event store in memory."""

from bisect import bisect_right
from collections.abc import AsyncIterator

from msgspec.structs import replace

from adapters.mapper import EventMapper, follows
from adapters.memory.broker import Broker, Entry, Faults, NoFaults
from adapters.sealed_texts import SealedTexts
from domain.errors import Invalid, Stale
from domain.log.record import GENESIS, AggregateId, Event, Metadata, Recorded, Tail
from handlers.ports import Snapshot

BATCH = 1000
"""Events that ``follow`` hands out together at most."""


class MemoryEventStore:
    """The log of one cell, kept in its stored form; promises what ``handlers.ports.EventStore`` does."""

    def __init__(
        self,
        broker: Broker,
        cell: str,
        mapper: EventMapper,
        faults: Faults | None = None,
        texts: SealedTexts | None = None,
    ) -> None:
        """Without ``texts`` what is sealed in events is given as it stands there."""
        self._cell_name = cell
        self._cell = broker.cell(cell)
        self._mapper = mapper
        self._faults: Faults = faults or NoFaults()
        self._texts = texts

    @property
    def cell(self) -> str:
        return self._cell_name

    async def require_writable(self) -> None:
        await self._faults.before("require_writable")

    async def append(self, aggregate: AggregateId, event: Event, meta: Metadata, tail: Tail) -> Recorded:
        stored = await self._texts.sealed(self._cell_name, aggregate, event) if self._texts else event
        envelope = self._mapper.encode(self._cell_name, aggregate, stored, meta, tail)
        await self._faults.before("append")
        positions = self._cell.positions.setdefault(aggregate, [])
        successor = bisect_right(positions, tail.position)
        if successor < len(positions):
            position = positions[successor]
            if self._cell.entries[position - 1].envelope.headers["ce-id"] != envelope.headers["ce-id"]:
                raise Stale(f"Somebody else changed {aggregate} after position {tail.position}.")
        elif tail.position != (positions[-1] if positions else 0):
            raise Stale(f"{aggregate} does not end at position {tail.position}.")
        elif envelope.headers["ce-id"] in self._cell.event_ids:
            raise Invalid(f"The event id {envelope.headers['ce-id']} was used before, elsewhere.")
        else:
            self._cell.event_ids.add(envelope.headers["ce-id"])
            self._cell.entries.append(Entry(aggregate, envelope))
            position = len(self._cell.entries)
            positions.append(position)
            self._cell.appended.give()
        await self._faults.after("append")
        return replace(self._decode(position), event=event)

    async def load(self, aggregate: AggregateId, after: Tail = GENESIS) -> list[Recorded]:
        return await self._records(aggregate, after)

    async def load_first(self, aggregate: AggregateId, limit: int) -> tuple[list[Recorded], bool]:
        records = await self._records(aggregate, GENESIS)
        return records[:limit], len(records) > limit

    async def _records(self, aggregate: AggregateId, after: Tail) -> list[Recorded]:
        await self._faults.before("load")
        positions = self._cell.positions.get(aggregate, [])
        records = []
        tail = after
        for position in positions[bisect_right(positions, after.position) :]:
            recorded = self._decode(position)
            follows(tail, recorded)
            tail = recorded.tail
            records.append(recorded)
        await self._faults.after("load")
        return await self._opened(records)

    async def event_at(self, position: int) -> Recorded | None:
        recorded = await self.stored_at(position)
        return (await self._opened([recorded]))[0] if recorded else None

    async def stored_at(self, position: int) -> Recorded | None:
        """As ``event_at``; what is sealed in the event is given as it stands there."""
        await self._faults.before("load")
        return self._decode(position) if 1 <= position <= len(self._cell.entries) else None

    async def follow(self, after: int, *kinds: str) -> AsyncIterator[list[Recorded]]:
        entries = self._cell.entries
        backlog = True
        while True:
            await self._faults.before("follow")
            end = min(len(entries), after + BATCH)
            batch = [
                self._decode(position)
                for position in range(after + 1, end + 1)
                if not kinds or entries[position - 1].aggregate.kind in kinds
            ]
            after = max(after, end)
            if batch:
                yield await self._opened(batch)
            if after < len(entries):
                continue
            if backlog:
                backlog = False
                yield []
                continue
            await self._cell.appended.wait()

    async def last_position(self) -> int:
        await self._faults.before("last_position")
        return len(self._cell.entries)

    async def save_snapshot(self, aggregate: AggregateId, snapshot: Snapshot) -> None:
        await self._faults.before("save_snapshot")
        if self._texts:
            snapshot = snapshot._replace(body=await self._texts.seal_bytes(self._cell_name, aggregate, snapshot.body))
        kept = self._cell.snapshots.get(aggregate)
        if kept is None or kept.tail.version < snapshot.tail.version:
            self._cell.snapshots[aggregate] = snapshot
        await self._faults.after("save_snapshot")

    async def load_snapshot(self, aggregate: AggregateId) -> Snapshot | None:
        await self._faults.before("load_snapshot")
        kept = self._cell.snapshots.get(aggregate)
        if kept and not (1 <= kept.tail.position <= len(self._cell.entries)):
            kept = None
        if kept:
            last = self._decode(kept.tail.position)
            kept = kept if (last.aggregate, last.tail) == (aggregate, kept.tail) else None
        if kept is None:
            self._cell.snapshots.pop(aggregate, None)
        if kept and self._texts:
            body = await self._texts.open_bytes(self._cell_name, aggregate, kept.body)
            return None if body is None else kept._replace(body=body)
        return kept

    async def _opened(self, records: list[Recorded]) -> list[Recorded]:
        return await self._texts.opened(records) if self._texts else records

    def _decode(self, position: int) -> Recorded:
        aggregate, envelope = self._cell.entries[position - 1]
        return self._mapper.read(envelope.headers, envelope.body, position, self._cell_name, aggregate)
