"""Reading a stream in order, for ever, without a gap and without a double.

An ephemeral push consumer with flow control and heartbeats, made anew whenever anything looks wrong: a
missing delivery, a silent server, a connection that came back. Progress is kept here, so a new consumer
starts exactly behind the last message that was handed out.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Container
from contextlib import aclosing
from typing import NamedTuple

import msgspec

from adapters.mapper import BrokenChain
from adapters.nats.connection import Connection, Message, NoAnswer
from adapters.nats.streams import NANOSECONDS
from domain.errors import Unavailable

_log = logging.getLogger(__name__)

BATCH = 1000
"""Messages that are handed out together at most."""
_HEARTBEAT = 1
"""Seconds between the server's signs of life on a quiet stream; three missed ones end the consumer."""
_NOT_FOUND = 404
_IDLE = 3
"""Signs of life in a row on which a server that has more to deliver would have done so."""
_RETRY = 0.1


class _Everything:
    def __contains__(self, _position: object) -> bool:
        return True


EVERYTHING: Container[int] = _Everything()
"""All positions: for those who take what there is."""


class Item(NamedTuple):
    """A message of a stream, and its position there."""

    position: int
    message: Message


class _Lost(Exception):
    """The consumer is of no more use; another has to go on."""


class Reader:
    """Reads ``stream`` after position ``after``; ``filters`` are subjects, none of them meaning all.

    It passes over positions that are ``known_missing``. With ``last_of_each`` it starts, and after every interruption
    goes on, with the last message of every subject instead.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        after: int = 0,
        filters: tuple[str, ...] = (),
        *,
        last_of_each: bool = False,
        known_missing: Container[int] = (),
        on_missing: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``on_missing`` is told, in a sentence, when the server holds messages back that it says it has."""
        self._connection = connection
        self._known_missing = known_missing
        self._on_missing = on_missing
        self._stream = stream
        self._after = after
        self._filters = filters
        self._last_of_each = last_of_each
        self._contiguous = not filters and not last_of_each
        self._caught_up = False

    async def batches(self) -> AsyncGenerator[list[Item], None]:
        """Batches as they come, for ever; an empty one, once, after what was there at the start.

        Raises Unavailable if the connection was closed for good, ApiError if the stream is not there, BrokenChain
        if the stream lost messages.
        """
        while True:
            try:
                consumer = _Consumer(self._connection, self._stream)
                async with aclosing(self._consume(consumer)) as batches:
                    async for batch in batches:
                        yield batch
            except (NoAnswer, _Lost) as problem:
                if self._connection.is_closed:
                    raise Unavailable(f"The log is gone: {problem}") from None
                _log.info("reading %s goes on after position %d: %s", self._stream, self._after, problem)
                await asyncio.sleep(_RETRY)

    async def _consume(self, consumer: "_Consumer") -> AsyncGenerator[list[Item], None]:
        try:
            await self._check_end()
            pending = await consumer.open(self._after, self._filters, last_of_each=self._last_of_each)
            if pending == 0 and not self._caught_up:
                self._caught_up = True
                yield []
            while True:
                batch, pending = await consumer.take()
                if consumer.withheld and not self._caught_up and not await self._more():
                    self._tell_withheld(consumer.withheld)
                    pending = 0
                if batch:
                    hole = self._hole_in(batch)
                    if hole is not None:
                        batch = [item for item in batch if item.position < hole]
                    if batch:
                        self._after = batch[-1].position
                        yield batch
                    if hole is not None:
                        raise BrokenChain(
                            f"The stream {self._stream} lacks the event at position {hole}, and maybe others."
                        )
                if pending == 0 and not self._caught_up:
                    self._caught_up = True
                    yield []
        finally:
            consumer.close()

    async def _check_end(self) -> None:
        state = (await self._connection.api(f"STREAM.INFO.{self._stream}"))["state"]
        if not self._last_of_each and state["last_seq"] < self._after:
            raise BrokenChain(
                f"The stream {self._stream} ends at position {state['last_seq']}, but position {self._after} was "
                "read before: its last events are gone."
            )

    async def _more(self) -> bool:
        """Whether the stream has a message behind what was read; it may only be slow."""
        for subject in self._filters or (">",):
            request = msgspec.json.encode({"seq": self._after + 1, "next_by_subj": subject})
            if (await self._connection.call(f"$JS.API.DIRECT.GET.{self._stream}", request)).status != _NOT_FOUND:
                return True
        return False

    def _tell_withheld(self, count: int) -> None:
        """What has come is all that there is, though the server counts more: it drops what is damaged."""
        if not self._known_missing:
            self._on_missing(f"The stream {self._stream} lacks {count} of the events that it counts: damaged ones.")

    def _hole_in(self, batch: list[Item]) -> int | None:
        """The first position that is missing before or in a batch, and not known to be."""
        if not self._contiguous or batch[-1].position - self._after == len(batch):
            return None
        before = self._after
        for position, _ in batch:
            for missing in range(before + 1, position):
                if missing not in self._known_missing:
                    return missing
            before = position
        return None


class _Consumer:
    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._stream = stream
        self._buffer: list[Message] = []
        self._arrived = asyncio.Event()
        self._delivered = 0
        self._pending = 1
        self.withheld = 0
        """Messages that the server counts and does not deliver, though it has nothing else to do."""
        self._idle = 0
        """Signs of life without a message, one after the other."""
        self._problem: str | None = None
        self._tap = 0
        self._last_sign = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._end_reconnect = connection.on_reconnect(self._on_reconnect)

    async def open(self, after: int, filters: tuple[str, ...], *, last_of_each: bool) -> int:
        """Create it on the server; returns how many messages wait."""
        inbox = self._connection.new_inbox()
        self._tap = await self._connection.tap(inbox, self._on_message)
        name = inbox.rsplit(".", 1)[1]
        config: dict[str, object] = {
            "name": name,
            "deliver_subject": inbox,
            "deliver_policy": "last_per_subject" if last_of_each else "by_start_sequence",
            "ack_policy": "none",
            "max_deliver": 1,
            "replay_policy": "instant",
            "flow_control": True,
            "idle_heartbeat": _HEARTBEAT * NANOSECONDS,
            "inactive_threshold": 30 * NANOSECONDS,
            "mem_storage": True,
            "num_replicas": 1,
        }
        if last_of_each:
            config["filter_subjects"] = list(filters) or [">"]
        else:
            config["opt_start_seq"] = after + 1
            if filters:
                config["filter_subjects"] = list(filters)
        answer = await self._connection.api(
            f"CONSUMER.CREATE.{self._stream}.{name}", {"stream_name": self._stream, "config": config}
        )
        self._last_sign = asyncio.get_running_loop().time()
        self._look()
        self._pending = int(answer["num_pending"])
        return self._pending

    async def take(self) -> tuple[list[Item], int]:
        """What has arrived, at most a batch, and how many messages the server still held behind it."""
        while not self._buffer:
            if self._problem is not None:
                raise _Lost(self._problem)
            self._arrived.clear()
            await self._arrived.wait()
        taken, self._buffer = self._buffer[:BATCH], self._buffer[BATCH:]
        batch: list[Item] = []
        for message in taken:
            if message.raw is not None and message.status:
                self._control(message)
                continue
            fields = message.reply.split(".")
            delivered, pending = (fields[6], fields[8]) if len(fields) == 9 else (fields[8], fields[10])
            position = fields[5] if len(fields) == 9 else fields[7]
            if int(delivered) != self._delivered + 1:
                self._problem = "a delivery is missing"
                self._buffer.clear()
                break
            self._delivered += 1
            self._idle = self.withheld = 0
            self._pending = int(pending)
            batch.append(Item(int(position), message))
        return batch, self._pending

    def close(self) -> None:
        """Forget it; the server does so too when nobody listens."""
        self._end_reconnect()
        self._connection.untap(self._tap)
        if self._watch is not None:
            self._watch.cancel()

    def _control(self, message: Message) -> None:
        if message.status != 100:
            self._problem = f"{message.status} {message.description}"
            return
        if message.reply:
            # Flow control: answered only when everything before it was taken.
            self._connection.send(message.reply)
            return
        headers = message.headers()
        stalled = headers.get("Nats-Consumer-Stalled")
        if stalled:
            self._connection.send(stalled)
        if int(headers.get("Nats-Last-Consumer", self._delivered)) != self._delivered:
            self._problem = "the last delivery is missing"
        elif not stalled:
            self._idle += 1
            if self._idle >= _IDLE:
                self.withheld = self._pending

    def _on_message(self, message: Message) -> None:
        self._buffer.append(message)
        self._last_sign = asyncio.get_running_loop().time()
        self._arrived.set()

    def _on_reconnect(self) -> None:
        self._fail("the connection came back")

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._last_sign > 3 * _HEARTBEAT:
            self._fail("the server is silent")
        else:
            self._watch = loop.call_later(_HEARTBEAT, self._look)

    def _fail(self, problem: str) -> None:
        self._problem = problem
        self._arrived.set()
