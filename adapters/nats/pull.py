"""Taking messages from a durable consumer: always asked for ahead, never more than the taker keeps up with."""

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator

import msgspec

from adapters.nats.connection import Connection, Message
from adapters.nats.streams import NANOSECONDS

_log = logging.getLogger(__name__)

AHEAD = 256
"""Messages that are asked for or wait here, at most."""
_EXPIRES = 30
"""Seconds for which the server remembers a request."""
_HEARTBEAT = 2
"""Seconds between the server's signs of life on a quiet request; three missed ones end the pull."""
WORKING = b"+WPI"


class PullLost(Exception):
    """The consumer, the server or the connection went away; begin anew."""


class Pull:
    """Takes messages of one consumer for one taker. ``ack_wait`` is the consumer's, in seconds."""

    def __init__(self, connection: Connection, stream: str, consumer: str, ack_wait: float) -> None:
        self._connection = connection
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._ack_wait = ack_wait
        self._inbox = f"{connection.new_inbox()}."
        self._asked: dict[str, int] = {}
        self._count = itertools.count(1)
        self._buffer: list[Message] = []
        self._arrived = asyncio.Event()
        self._problem: str | None = None
        self._last_sign = 0.0

    async def messages(self) -> AsyncGenerator[Message, None]:
        """Messages as they come, for ever. Raises PullLost."""
        tap = await self._connection.tap(f"{self._inbox}*", self._on_message)
        end_reconnect = self._connection.on_reconnect(lambda: self._fail("the connection came back"))
        watch = asyncio.get_running_loop().create_task(self._watch())
        try:
            while True:
                self._ask()
                while self._buffer:
                    yield self._buffer.pop(0)
                    if self._problem is None:
                        self._ask()
                if self._problem is not None:
                    raise PullLost(self._problem)
                self._arrived.clear()
                await self._arrived.wait()
        finally:
            watch.cancel()
            end_reconnect()
            self._connection.untap(tap)
            for message in self._buffer:
                # Nobody worked on these: let them come again at once.
                self._connection.send(message.reply, b"-NAK")

    def _ask(self) -> None:
        here = len(self._buffer) + sum(self._asked.values())
        if here > AHEAD // 2:
            return
        number = str(next(self._count))
        self._asked[number] = AHEAD - here
        request = {
            "batch": AHEAD - here,
            "expires": _EXPIRES * NANOSECONDS,
            "idle_heartbeat": _HEARTBEAT * NANOSECONDS,
        }
        self._last_sign = asyncio.get_running_loop().time()
        self._connection.send(self._subject, msgspec.json.encode(request), reply=self._inbox + number)

    def _on_message(self, message: Message) -> None:
        self._last_sign = asyncio.get_running_loop().time()
        number = message.subject[len(self._inbox) :]
        # A message keeps the subject it was published on: which request it answers shows only in the
        # server's own words, so deliveries are counted against the oldest request.
        if message.raw is not None and message.status:
            self._control(message, number)
        else:
            self._buffer.append(message)
            self._answered()
        self._arrived.set()

    def _answered(self) -> None:
        for number, left in self._asked.items():
            if left == 1:
                del self._asked[number]
            else:
                self._asked[number] = left - 1
            return

    def _control(self, message: Message, number: str) -> None:
        if message.status == 100:
            return
        self._asked.pop(number, None)
        if message.status not in {404, 408} and message.description != "Batch Completed":
            self._fail(f"{message.status} {message.description}")

    async def _watch(self) -> None:
        """Notice a silent server, and keep what waits here from being delivered to somebody else."""
        loop = asyncio.get_running_loop()
        pause = min(float(_HEARTBEAT), self._ack_wait / 3)
        while self._problem is None:
            await asyncio.sleep(pause)
            for message in self._buffer:
                self._connection.send(message.reply, WORKING)
            if self._asked and loop.time() - self._last_sign > 3 * _HEARTBEAT:
                self._fail("the server is silent")

    def _fail(self, problem: str) -> None:
        self._problem = problem
        self._arrived.set()
