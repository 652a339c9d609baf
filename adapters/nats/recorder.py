"""The ``eventsourcing`` library's recorder over a cell's stream, so that its tools can read and write our log.

The library is synchronous: an event loop in a thread of its own does the work, and the caller waits. Services
use ``NatsEventStore``.
"""

import re
import ssl
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    Notification,
    OperationalError,
    ProgrammingError,
    StoredEvent,
    Subscription,
)

from adapters.mapper import BrokenChain, Envelope, digest, escaped, pack, unescaped, unpack
from adapters.nats.connection import Connection, Credentials, Message, connect
from adapters.nats.log import MAX_TOGETHER, PAGE, Addition, Log
from adapters.nats.loop_thread import LoopThread
from adapters.nats.names import Names
from adapters.nats.reader import Item, Reader
from adapters.nats.streams import durable, ensure
from domain.errors import Stale, Unavailable
from domain.log.record import GENESIS, AggregateId, Tail

T = TypeVar("T")

UUID_KIND = "uuid"
"""The kind of aggregates whose originator id is a UUID."""
TEXT_KIND = "text"
"""The kind of aggregates whose originator id is text of no ``kind.id`` form."""
_OURS = re.compile(r".+@[0-9]+")
_BINARY = "application/octet-stream"


class BatchReader(Protocol):
    """Reads the log in batches."""

    def batches(self) -> AsyncGenerator[list[Item], None]:
        """Batches as they come, for ever."""
        ...


class NatsApplicationRecorder(ApplicationRecorder):
    """Records and reads the events of one cell.

    Stored events of an ``EventMapper`` go to the log as the services write them, and what services wrote is read
    in the mapper's form. Any other stored event keeps its topic as its type and its state as it is. Versions of an
    originator follow each other without a gap, and each event carries its predecessor's digest.
    """

    def __init__(
        self, url: str, cell: str, credentials: Credentials | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        """Connects, and makes the cell's streams if they are absent. Raises Unavailable, WrongStream."""
        self._names = Names(cell)
        self._tls = tls
        self._thread = LoopThread(f"log of {cell}")
        try:
            self._connection = self._thread.run(self._open(url, credentials))
        except Exception:
            self._thread.close()
            raise
        self._log = Log(self._connection, self._names)

    async def _open(self, url: str, credentials: Credentials | None) -> Connection:
        connection = await connect(url, f"recorder of {self._names.cell}", credentials, tls=self._tls)
        await ensure(connection, durable(self._names))
        return connection

    def close(self) -> None:
        """End the connection and the thread; who still waits gets OperationalError."""
        self._thread.close(self._connection.close())

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int]:
        """Record the events, all or none, and return their notification ids.

        Raises IntegrityError if a version is taken or skipped, OperationalError if the log does not answer, and
        ProgrammingError for more events than the server stores together.
        """
        if len(stored_events) > MAX_TOGETHER:
            raise ProgrammingError(f"{len(stored_events)} events at once: at most {MAX_TOGETHER} are possible")
        if not stored_events:
            return []
        try:
            return self._thread.run(self._insert(stored_events))
        except Stale as error:
            raise IntegrityError(error.message) from error
        except Unavailable as error:
            raise OperationalError(error.message) from error

    async def _insert(self, stored_events: Sequence[StoredEvent]) -> list[int]:
        tails: dict[str, Tail] = {}
        additions = []
        for stored in stored_events:
            aggregate = _aggregate(stored.originator_id)
            subject = self._names.event(aggregate)
            tail = tails.get(subject) or await self._tail(subject)
            if tail != GENESIS and stored.originator_version != tail.version + 1:
                raise IntegrityError(f"{aggregate} is at version {tail.version}, not before {stored}")
            envelope = self._envelope(stored, aggregate, tail)
            additions.append(Addition(subject, envelope, tail))
            tails[subject] = Tail(stored.originator_version, tail.position, envelope.digest)
        if len(additions) == 1:
            return [await self._log.append(additions[0])]
        return await self._log.append_together(additions)

    async def _tail(self, subject: str) -> Tail:
        last = await self._log.last(subject)
        if last is None:
            return GENESIS
        headers = last.headers()
        return Tail(int(headers["ce-aggregateversion"]), _position(headers), digest(headers, last.data))

    def _envelope(self, stored: StoredEvent, aggregate: AggregateId, tail: Tail) -> Envelope:
        if _OURS.fullmatch(stored.topic):
            try:
                headers, body = unpack(stored.state)
            except BrokenChain:
                pass
            else:
                if headers.get("ce-previousdigest") != tail.digest:
                    raise IntegrityError(f"{stored.topic} of {aggregate} continues another history")
                return Envelope(headers, body, digest(headers, body))
        headers = {
            "ce-aggregateversion": str(stored.originator_version),
            "ce-datacontenttype": _BINARY,
            "ce-id": str(uuid.uuid4()),
            "ce-previousdigest": tail.digest,
            "ce-source": f"/cells/{self._names.cell}",
            "ce-specversion": "1.0",
            "ce-subject": escaped(str(aggregate)),
            "ce-time": datetime.now(UTC).isoformat(timespec="microseconds")[:26] + "Z",
            "ce-type": escaped(stored.topic),
        }
        return Envelope(headers, stored.state, digest(headers, stored.state))

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """The events of an originator with versions above ``gt`` and up to ``lte``. Raises OperationalError."""
        subject = self._names.event(_aggregate(originator_id))
        found = [
            StoredEvent(originator_id, n.originator_version, n.topic, n.state)
            for n in self._notifications(subject, 1)
            if (gt is None or n.originator_version > gt) and (lte is None or n.originator_version <= lte)
        ]
        if desc:
            found.reverse()
        return found if limit is None else found[:limit]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Up to ``limit`` events of the whole log; see the library. Raises OperationalError."""
        first = 1 if start is None else start if inclusive_of_start else start + 1
        return self._notifications(self._names.every_event, max(first, 1), limit, stop, topics)

    def _notifications(
        self,
        subject: str,
        start: int,
        limit: int | None = None,
        stop: int | None = None,
        topics: Sequence[str] = (),
    ) -> list[Notification]:
        found: list[Notification] = []
        more = True
        while more and (limit is None or len(found) < limit):
            size = PAGE if limit is None or topics else limit - len(found)
            try:
                page, more = self._thread.run(self._log.page(subject, start, size))
            except Unavailable as error:
                raise OperationalError(error.message) from error
            for message in page:
                notification = _notification(message, _position(message.headers()))
                start = notification.id + 1
                if stop is not None and notification.id > stop:
                    return found
                if (not topics or notification.topic in topics) and (limit is None or len(found) < limit):
                    found.append(notification)
        return found

    def max_notification_id(self) -> int | None:
        """The position of the newest event; None for an empty log. Raises OperationalError."""
        try:
            return self._thread.run(self._log.last_position()) or None
        except Unavailable as error:
            raise OperationalError(error.message) from error

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> "Subscription[NatsApplicationRecorder]":
        """The events above position ``gt``, and then each new one as it comes."""
        return NatsSubscription(self, gt, topics)

    def reader(self, after: int) -> BatchReader:
        """A reader of the whole log, for the recorder's loop."""
        return Reader(self._connection, self._names.events, after)

    def start(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Begin ``work`` on the recorder's loop. Raises Unavailable once it is closed."""
        return self._thread.start(work)


class NatsSubscription(Subscription[NatsApplicationRecorder]):
    """Notifications as they come; iterating blocks until there is one, or the subscription is stopped."""

    def __init__(self, recorder: NatsApplicationRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder, gt, topics)
        self._batches = recorder.reader(gt or 0).batches()
        self._buffer: deque[Notification] = deque()
        self._waiting: Future[list[Notification]] | None = None

    async def _next_batch(self) -> list[Notification]:
        found = [_notification(item.message, item.position) for item in await anext(self._batches)]
        return [notification for notification in found if not self._topics or notification.topic in self._topics]

    def stop(self) -> None:
        """End the iteration, also one that blocks in another thread."""
        if not self._has_been_stopped:
            super().stop()
            if self._waiting is not None:
                self._waiting.cancel()
            with suppress(Unavailable):
                # A closed recorder has ended it already.
                self._recorder.start(self._close())

    def _stopped(self) -> bool:
        # Another thread may change it at any moment.
        return self._has_been_stopped

    async def _close(self) -> None:
        with suppress(RuntimeError):
            # It is still running: then the cancellation closes it.
            await self._batches.aclose()

    def __next__(self) -> Notification:
        """The next notification. Raises Unavailable or BrokenChain where the log cannot be followed."""
        while not self._buffer and not self._stopped():
            self._waiting = self._recorder.start(self._next_batch())
            if self._stopped():
                self._waiting.cancel()
            try:
                self._buffer.extend(self._waiting.result())
            except CancelledError:
                break
        if self._stopped():
            raise StopIteration
        return self._buffer.popleft()


def _aggregate(originator_id: UUID | str) -> AggregateId:
    if isinstance(originator_id, UUID):
        return AggregateId(UUID_KIND, str(originator_id))
    kind, dot, id_ = originator_id.partition(".")
    return AggregateId(kind, id_) if dot and kind and id_ else AggregateId(TEXT_KIND, originator_id)


def _originator_id(aggregate: AggregateId) -> UUID | str:
    if aggregate.kind == UUID_KIND:
        return UUID(aggregate.id)
    return aggregate.id if aggregate.kind == TEXT_KIND else str(aggregate)


def _position(headers: Mapping[str, str]) -> int:
    return int(headers["Nats-Sequence"])


def _notification(message: Message, position: int) -> Notification:
    headers = message.headers()
    kind, _, id_ = unescaped(headers["ce-subject"]).partition(".")
    topic, state = unescaped(headers["ce-type"]), message.data
    if headers["ce-datacontenttype"] != _BINARY:
        topic, state = f"{topic}@{headers['ce-schemaversion']}", pack(headers, state)
    version = int(headers["ce-aggregateversion"])
    return Notification(_originator_id(AggregateId(kind, id_)), version, topic, state, position)
