"""A cell's log for programs that follow it with the ``eventsourcing`` library, and change nothing.

What they need on NATS is an account that may read: ``lightcurve log account``.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

import msgspec
from eventsourcing.application import Application
from eventsourcing.persistence import (
    InfrastructureFactory,
    Mapper,
    Notification,
    OperationalError,
    ProgrammingError,
    StoredEvent,
)
from eventsourcing.popo import POPOFactory
from eventsourcing.utils import Environment

from adapters.mapper import BrokenChain, EventMapper, unescaped, unpack
from adapters.nats.connection import Connection, Credentials, connect
from adapters.nats.log import Log
from adapters.nats.names import Names
from adapters.nats.reader import Item
from adapters.nats.recorder import NatsApplicationRecorder
from adapters.nats.soundness import Gaps
from domain.errors import Unavailable
from domain.kinds import EVENTS
from domain.log import recovery
from domain.log.record import AggregateId, Recorded
from domain.log.recovery import Missing, RecoveryDecided

URL, USER, PASSWORD, CA_FILE = (f"CELL_LOG_{what}" for what in ("URL", "USER", "PASSWORD", "CA_FILE"))
"""The variables of the environment that say where the log is, and as whom it is read."""
LOOK_AGAIN = 5.0
"""Seconds after which it is asked whether there is something new: what was said while the connection was away is not
heard."""


class CellLog(Application[str]):
    """The log of the cell that it is named after. Its domain events are ``Recorded``.

    An event of a type that this version does not know comes as ``Unreadable``.
    """

    def construct_factory(self, env: Environment) -> InfrastructureFactory[Any]:
        return POPOFactory(env)

    def construct_mapper(self) -> Mapper[str]:
        return _RecordedMapper(self.construct_transcoder())

    def construct_recorder(self) -> "ReadOnlyRecorder":
        """Raises Unavailable, and KeyError for a variable that is not there."""
        credentials = Credentials(self.env[USER], self.env[PASSWORD]) if USER in self.env else None
        ca_file = self.env.get(CA_FILE)
        tls = ssl.create_default_context(cafile=ca_file) if ca_file else None
        return ReadOnlyRecorder(self.env[URL], self.name, credentials, tls)

    def close(self) -> None:
        """Harmless when it is closed already."""
        if not self.closing.is_set():
            super().close()
            cast("ReadOnlyRecorder", self.recorder).close()


class ReadOnlyRecorder(NatsApplicationRecorder):
    """As its base, of somebody who may read and do nothing else."""

    async def _open(self, url: str, credentials: Credentials | None) -> Connection:
        return await connect(url, f"follower of {self._names.cell}", credentials, tls=self._tls)

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int]:
        """Raises ProgrammingError."""
        raise ProgrammingError("This log is for reading only.")

    def max_notification_id(self) -> int | None:
        try:
            last = self._thread.run(self._log.last(self._names.every_event))
        except Unavailable as error:
            raise OperationalError(error.message) from error
        return int(last.headers()["Nats-Sequence"]) if last else None

    def reader(self, after: int) -> "PageReader":
        return PageReader(self._connection, self._log, self._names, after)


class PageReader:
    """Reads a whole log without a consumer: page by page, and the next one when something new is heard of."""

    def __init__(self, connection: Connection, log: Log, names: Names, after: int) -> None:
        self._connection = connection
        self._log = log
        self._names = names
        self._after = after

    async def batches(self) -> AsyncGenerator[list[Item], None]:
        """Batches as they come, for ever. Raises Unavailable, and BrokenChain if the log lacks something of which no
        recovery tells."""
        news = asyncio.Event()
        tap = await self._connection.tap(self._names.every_event, lambda _: news.set())
        try:
            while True:
                news.clear()
                page, more = await self._log.page(self._names.every_event, self._after + 1)
                if page:
                    batch = [Item(int(each.headers()["Nats-Sequence"]), each) for each in page]
                    await self._check(batch)
                    self._after = batch[-1].position
                    yield batch
                elif not more:
                    await _within(news, LOOK_AGAIN)
        finally:
            self._connection.untap(tap)

    async def _check(self, batch: list[Item]) -> None:
        """Only what the operator has called missing may be."""
        if batch[-1].position - self._after == len(batch):
            return
        there, known = {item.position for item in batch}, Gaps(await self._known_missing())
        for position in range(self._after + 1, batch[-1].position):
            if position not in there and position not in known:
                raise BrokenChain(f"The log of {self._names.cell} lacks the event at position {position}.")

    async def _known_missing(self) -> tuple[Missing, ...]:
        last = await self._log.last(self._names.event(recovery.aggregate(self._names.cell)))
        return msgspec.json.decode(last.data, type=RecoveryDecided).missing if last else ()


async def _within(news: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        pass


class _RecordedMapper(Mapper[str]):
    """Reads what the recorder returns."""

    _events = EventMapper(EVENTS)

    def to_domain_event(self, stored_event: StoredEvent) -> Recorded:  # type: ignore[override]
        headers, body = unpack(stored_event.state)
        position = stored_event.id if isinstance(stored_event, Notification) else 0
        kind, _, id_ = unescaped(headers["ce-subject"]).partition(".")
        cell = headers["ce-source"].removeprefix("/cells/")
        return self._events.read(headers, body, position, cell, AggregateId(kind, id_))
