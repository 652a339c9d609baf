"""Signs of life: the last one of each sender stands in a stream in memory."""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import msgspec

from adapters.nats.connection import ApiError, Connection
from adapters.nats.names import Names
from adapters.nats.reader import Item, Reader
from adapters.nats.streams import ensure, fleeting
from domain.errors import Invalid
from handlers.fleet.refusals import Refusals
from handlers.ports import Beat

_log = logging.getLogger(__name__)


class _Sign(msgspec.Struct):
    facts: dict[str, Any] = {}


_decoder = msgspec.json.Decoder(_Sign)


class NatsLiveness:
    """The signs of life of one cell; promises what ``handlers.ports.Liveness`` does.

    The time of a beat is the server's, so that the clocks of the hosts do not matter, and its sender is told by the
    subject, on which nobody else may publish. A beat is not acknowledged: the next one makes up for a lost one.
    """

    def __init__(self, connection: Connection, cell: str, refusals: Refusals | None = None) -> None:
        self._connection = connection
        self._names = Names(cell)
        self._refusals = refusals or Refusals()

    async def beat(self, name: str, facts: dict[str, object]) -> None:
        self._connection.send(self._names.alive(name), msgspec.json.encode(_Sign(facts)))

    async def watch(self) -> AsyncIterator[Beat]:
        """First the last beat of every sender, then each new one, for ever.

        After an interruption the last beats come once more. A sign that cannot be read is refused and counted.
        Raises Unavailable if the connection is closed for good.
        """
        while True:
            reader = Reader(self._connection, self._names.liveness, last_of_each=True)
            try:
                async with aclosing(reader.batches()) as batches:
                    async for batch in batches:
                        for item in batch:
                            beat = self._read(item)
                            if beat is not None:
                                yield beat
            except ApiError as error:
                # It lives in memory and went with the server; beats are on their way.
                _log.info("the signs of life of cell %s start anew: %s", self._names.cell, error)
                await ensure(self._connection, fleeting(self._names))

    def _read(self, item: Item) -> Beat | None:
        name = item.message.subject
        try:
            name = self._names.sender(item.message.subject)
            sign = _decoder.decode(item.message.data)
        except (Invalid, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._refusals.count(name.rpartition("/")[2], f"a sign of life that cannot be read: {error}")
            return None
        return Beat(name, _stored_at(item.message.reply), sign.facts)


def _stored_at(reply: str) -> datetime:
    fields = reply.split(".")
    nanoseconds = int(fields[7] if len(fields) == 9 else fields[9])
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
