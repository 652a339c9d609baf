"""The event store on JetStream: an aggregate is a subject, and the guard is its last sequence."""

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing

from msgspec.structs import replace

from adapters.mapper import BrokenChain, EventMapper, follows
from adapters.nats.connection import ApiError, Connection, Message
from adapters.nats.log import PAGE, Addition, Log
from adapters.nats.names import Names
from adapters.nats.reader import EVERYTHING, Item, Reader
from adapters.nats.snapshots import Snapshots
from adapters.nats.soundness import Soundness
from adapters.sealed_texts import SealedTexts, may_hold_sealed
from domain.errors import Unavailable
from domain.log import recovery
from domain.log.checkpoint import Entry
from domain.log.record import GENESIS, AggregateId, Event, Metadata, Recorded, Tail
from domain.log.recovery import RecoveryDecided
from handlers.ports import Snapshot

_log = logging.getLogger(__name__)


class NatsEventStore:
    """The log of one cell; promises what ``handlers.ports.EventStore`` does.

    Loading reads from any replica; a follower that lags shows an older aggregate, and the guard of the next
    append finds that out. The check after an unanswered append always asks the leader.
    """

    def __init__(
        self, connection: Connection, cell: str, mapper: EventMapper, texts: SealedTexts | None = None
    ) -> None:
        """Without ``texts`` what is sealed in events is given as it stands there."""
        self._connection = connection
        self._texts = texts
        self._names = Names(cell)
        self._mapper = mapper
        self._log = Log(connection, self._names)
        self._snapshots = Snapshots(connection, self._names)
        self.soundness = Soundness(connection, self._names, self._log, mapper)
        """Whether the log is whole: to be opened, and looked after, by whoever appends."""

    @property
    def cell(self) -> str:
        return self._names.cell

    @property
    def stream(self) -> str:
        """The name of the stream on the server."""
        return self._names.events

    async def require_writable(self) -> None:
        """As in the port: a damaged log takes no event until the operator has decided to go on."""
        if not self.soundness.is_held:
            await self.soundness.until_held()
        self.soundness.require_whole()

    async def append(self, aggregate: AggregateId, event: Event, meta: Metadata, tail: Tail) -> Recorded:
        """Append one event behind ``tail``; see the port."""
        await self.require_writable()
        return await self._append(aggregate, event, meta, tail)

    async def append_recovery(self, event: RecoveryDecided, meta: Metadata) -> Recorded:
        """Record that the log goes on with what is left of it; the one event that a damaged log takes."""
        aggregate = recovery.aggregate(self.cell)
        last = await self.last_of(aggregate)
        return await self._append(aggregate, event, meta, last.tail if last else GENESIS)

    async def _append(self, aggregate: AggregateId, event: Event, meta: Metadata, tail: Tail) -> Recorded:
        stored = await self._texts.sealed(self.cell, aggregate, event) if self._texts else event
        envelope = self._mapper.encode(self.cell, aggregate, stored, meta, tail)
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
            bridges=self.soundness.gaps.before(position),
        )

    async def load(self, aggregate: AggregateId, after: Tail = GENESIS) -> list[Recorded]:
        records: list[Recorded] = []
        tail = after
        if after.version and (newest := await self._newest(aggregate, after)) is not None:
            return newest
        more = True
        while more:
            found, more = await self._page(aggregate, tail)
            records += found
            tail = found[-1].tail if found else tail
        return records

    async def _newest(self, aggregate: AggregateId, tail: Tail) -> list[Recorded] | None:
        """What there is behind ``tail``, if it is one event at the most; None: it is more.

        The last message of a subject is found at once. For what comes next from the middle nats-server reads a whole
        block of the stream: 5,000 hosts that enrol anew beside 100,000 servers would have it read 40 GB.
        """
        message = await self._log.last(self._names.event(aggregate))
        if message is None:
            return []
        headers = message.headers()
        if (position := int(headers["Nats-Sequence"])) <= tail.position:
            return []
        last = self._read(headers, message.data, position, aggregate)
        if (last.version, last.previous) != (tail.version + 1, tail.digest):
            return None
        return await self._texts.opened([last]) if self._texts and _any_sealed([message]) else [last]

    async def load_erased(self, aggregate: AggregateId) -> list[Recorded]:
        """All events of an aggregate as they are once what is sealed in them can be opened by nobody; none if nothing
        is. Raises Unavailable."""
        stored: list[Recorded] = []
        sealed, more = False, self._texts is not None
        while more:
            tail = stored[-1].tail if stored else GENESIS
            found, messages, more = await self._stored_page(aggregate, tail)
            stored += found
            sealed = sealed or _any_sealed(messages)
        return await self._texts.opened(stored, erases=True) if sealed and self._texts else []

    async def load_first(self, aggregate: AggregateId, limit: int) -> tuple[list[Recorded], bool]:
        return await self._page(aggregate, GENESIS, limit)

    async def _page(self, aggregate: AggregateId, tail: Tail, limit: int = PAGE) -> tuple[list[Recorded], bool]:
        """Some events behind ``tail``, and whether there are more."""
        records, messages, more = await self._stored_page(aggregate, tail, limit)
        if self._texts and _any_sealed(messages):
            records = await self._texts.opened(records)
        return records, more

    async def _stored_page(
        self, aggregate: AggregateId, tail: Tail, limit: int = PAGE
    ) -> tuple[list[Recorded], list[Message], bool]:
        """The same, sealed as they are, with their messages."""
        messages, more = await self._log.page(self._names.event(aggregate), tail.position + 1, limit)
        records = []
        for message in messages:
            headers = message.headers()
            recorded = self._read(headers, message.data, int(headers["Nats-Sequence"]), aggregate)
            try:
                follows(tail, recorded)
            except BrokenChain as error:
                self.soundness.found(error.message)
                raise
            tail = recorded.tail
            records.append(recorded)
        return records, messages, more

    async def last_of(self, aggregate: AggregateId) -> Recorded | None:
        """The last event of an aggregate; None if there is none. Raises Unavailable."""
        message = await self._log.last(self._names.event(aggregate))
        if message is None:
            return None
        headers = message.headers()
        recorded = self._read(headers, message.data, int(headers["Nats-Sequence"]), aggregate)
        return (await self._texts.opened([recorded]))[0] if self._texts else recorded

    async def event_at(self, position: int) -> Recorded | None:
        recorded = await self.stored_at(position)
        return (await self._texts.opened([recorded]))[0] if recorded and self._texts else recorded

    async def stored_at(self, position: int) -> Recorded | None:
        """As ``event_at``; what is sealed in the event is given as it stands there."""
        message = await self._log.at(position) if position > 0 else None
        if message is None:
            return None
        headers = message.headers()
        return self._read(headers, message.data, position, self._names.aggregate(headers["Nats-Subject"]))

    def _read(self, headers: dict[str, str], body: bytes, position: int, aggregate: AggregateId) -> Recorded:
        recorded = self._mapper.read(headers, body, position, self.cell, aggregate)
        if self.soundness.gaps.missing:
            return replace(recorded, bridges=self.soundness.gaps.before(position))
        return recorded

    async def follow(self, after: int, *kinds: str) -> AsyncIterator[list[Recorded]]:
        """Every event after position ``after``, in order, for ever; see the port.

        Survives restarts of the server. Raises BrokenChain when the stream lost something, and Unavailable if the
        connection was closed for good.
        """
        async with aclosing(self._items(after, *kinds)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                yield await self._recorded(batch)

    async def follow_with_entries(self, after: int) -> AsyncIterator[tuple[list[Recorded], list[Entry]]]:
        """As ``follow``, and each event as the message that it is."""
        async with aclosing(self._items(after)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                yield await self._recorded(batch), _entries(batch)

    async def _items(self, after: int, *kinds: str) -> AsyncIterator[list[Item]]:
        filters = tuple(self._names.kind(kind) for kind in kinds)
        reader = Reader(
            self._connection,
            self._names.events,
            after,
            filters,
            known_missing=self.soundness.gaps,
            on_missing=self.soundness.found,
        )
        try:
            async with aclosing(reader.batches()) as batches:
                async for batch in batches:
                    yield batch
        except ApiError as error:
            raise Unavailable(f"The log cannot be followed: {error}") from error
        except BrokenChain as error:
            self.soundness.found(error.message)
            raise

    async def _recorded(self, batch: list[Item]) -> list[Recorded]:
        read, place = self._read, self._names.aggregate
        records = [
            read(message.headers(), message.data, position, place(message.subject)) for position, message in batch
        ]
        if self._texts and _any_sealed(message for _, message in batch):
            return await self._texts.opened_patiently(records)
        return records

    async def entries(self, after: int, *, whole: bool = True) -> AsyncIterator[list[Entry]]:
        """The messages after a position, as they are kept, up to the end of the log. Raises BrokenChain where one is
        missing of which no recovery has said so, unless it need not be ``whole``; and Unavailable."""
        found = self.soundness.found
        known = self.soundness.gaps if whole else EVERYTHING
        reader = Reader(self._connection, self._names.events, after, known_missing=known, on_missing=found)
        try:
            async with aclosing(reader.batches()) as batches:
                async for batch in batches:
                    if not batch:
                        return
                    yield _entries(batch)
        except ApiError as error:
            raise Unavailable(f"The log cannot be read: {error}") from error
        except BrokenChain as error:
            found(error.message)
            raise

    async def last_position(self) -> int:
        return await self._log.last_position()

    async def save_snapshot(self, aggregate: AggregateId, snapshot: Snapshot) -> None:
        if self._texts:
            snapshot = snapshot._replace(body=await self._texts.seal_bytes(self.cell, aggregate, snapshot.body))
        await self._snapshots.save(aggregate, snapshot)

    async def load_snapshot(self, aggregate: AggregateId) -> Snapshot | None:
        """The newest snapshot kept, if it is whole and the log has the event that it ends with; otherwise it is
        dropped. Raises Unavailable."""
        snapshot = await self._snapshots.load(aggregate)
        if snapshot is None:
            return None
        last = await self.stored_at(snapshot.tail.position)
        if last is not None and last.aggregate == aggregate and last.tail == snapshot.tail:
            body = await self._texts.open_bytes(self.cell, aggregate, snapshot.body) if self._texts else snapshot.body
            return None if body is None else snapshot._replace(body=body)
        _log.warning("the snapshot of %s is not of this log; the log is read instead", aggregate)
        await self._snapshots.drop(aggregate)
        return None

    async def drop_snapshots(self) -> None:
        """Forget all snapshots: they were made of what is missing now, too. Raises Unavailable."""
        await self._snapshots.drop_all()


def _any_sealed(messages: Iterable[Message]) -> bool:
    return any(may_hold_sealed(message.data) for message in messages)


def _entries(batch: list[Item]) -> list[Entry]:
    return [Entry(position, each.subject, each.raw or b"", each.data) for position, each in batch]
