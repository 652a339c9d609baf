"""The event store on JetStream: an aggregate is a subject, and the guard is its last sequence."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from adapters.mapper import EventMapper, follows
from adapters.nats.connection import ApiError, Connection
from adapters.nats.log import Addition, Log
from adapters.nats.names import Names
from adapters.nats.reader import Reader
from adapters.nats.snapshots import Snapshots
from domain.errors import Unavailable
from domain.record import GENESIS, AggregateId, Event, Metadata, Recorded, Tail
from handlers.ports import Snapshot


class NatsEventStore:
    """The log of one cell; promises what ``handlers.ports.EventStore`` does.

    Loading reads from any replica; a follower that lags shows an older aggregate, and the guard of the next
    append finds that out. The check after an unanswered append always asks the leader.
    """

    def __init__(self, connection: Connection, cell: str, mapper: EventMapper) -> None:
        self._connection = connection
        self._names = Names(cell)
        self._mapper = mapper
        self._log = Log(connection, self._names)
        self._snapshots = Snapshots(connection, self._names)

    @property
    def cell(self) -> str:
        """The name of the cell whose stream this is."""
        return self._names.cell

    async def append(self, aggregate: AggregateId, event: Event, meta: Metadata, tail: Tail) -> Recorded:
        """Append one event behind ``tail``; see the port."""
        envelope = self._mapper.encode(self.cell, aggregate, event, meta, tail)
        position = await self._log.append(Addition(self._names.event(aggregate), envelope, tail))
        return Recorded(
            cell=self.cell,
            aggregate=aggregate,
            version=tail.version + 1,
            position=position,
            event=event,
            meta=meta,
            digest=envelope.digest,
            previous=tail.digest,
        )

    async def load(self, aggregate: AggregateId, after: Tail = GENESIS) -> list[Recorded]:
        """All events of an aggregate after ``after``, oldest first.

        Raises Unavailable, and BrokenChain if they do not continue ``after`` or one another.
        """
        subject = self._names.event(aggregate)
        records: list[Recorded] = []
        tail = after
        more = True
        while more:
            found, more = await self._log.page(subject, tail.position + 1)
            for message in found:
                headers = message.headers()
                recorded = self._mapper.read(
                    headers, message.data, int(headers["Nats-Sequence"]), self.cell, aggregate
                )
                follows(tail, recorded)
                tail = recorded.tail
                records.append(recorded)
        return records

    async def event_at(self, position: int) -> Recorded | None:
        """The event at a position; None if there is none. Raises Unavailable."""
        message = await self._log.at(position) if position > 0 else None
        if message is None:
            return None
        headers = message.headers()
        return self._mapper.read(
            headers, message.data, position, self.cell, self._names.aggregate(headers["Nats-Subject"])
        )

    async def follow(self, after: int, *kinds: str) -> AsyncIterator[list[Recorded]]:
        """Every event after position ``after``, in order, for ever; see the port.

        Survives restarts of the server. Raises BrokenChain when the stream lost something, and Unavailable if the
        connection was closed for good.
        """
        filters = tuple(self._names.kind(kind) for kind in kinds)
        reader = Reader(self._connection, self._names.events, after, filters)
        read, cell, place = self._mapper.read, self.cell, self._names.aggregate
        try:
            async with aclosing(reader.batches()) as batches:
                async for batch in batches:
                    yield [
                        read(message.headers(), message.data, position, cell, place(message.subject))
                        for position, message in batch
                    ]
        except ApiError as error:
            raise Unavailable(f"The log cannot be followed: {error}") from error

    async def last_position(self) -> int:
        """The position of the newest event; 0 for an empty log. Raises Unavailable."""
        return await self._log.last_position()

    async def save_snapshot(self, aggregate: AggregateId, snapshot: Snapshot) -> None:
        """Keep a snapshot unless a newer one is kept. Raises Unavailable."""
        await self._snapshots.save(aggregate, snapshot)

    async def load_snapshot(self, aggregate: AggregateId) -> Snapshot | None:
        """The newest snapshot kept; None also for one that is damaged. Raises Unavailable."""
        return await self._snapshots.load(aggregate)
