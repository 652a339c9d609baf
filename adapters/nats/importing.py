"""Filling an empty stream with a log of before: the same messages at the same positions, to the byte."""

from collections.abc import Iterable, Mapping

import msgspec

from adapters.nats.connection import ApiError, Connection, NoAnswer
from adapters.nats.names import Names
from adapters.nats.streams import durable
from domain.errors import Invalid, Unavailable
from domain.log.checkpoint import Entry
from handlers.together import together

TOGETHER = 256
"""Messages that are on their way at once."""
_TIMEOUT = 30.0
_NOT_FOUND = 10059
_BATCHED = b"\r\nNats-Batch-"
"""The server would take a message with such headers for a part of a batch that is sent now."""


class _Ack(msgspec.Struct):
    seq: int = 0
    error: dict[str, object] | None = None


_ack = msgspec.json.Decoder(_Ack)


class Import:
    """Into the stream of one cell. Where the log has lost something, ``fillers`` says which subject a stand-in has to
    have, for the guards of later messages; stand-ins are removed at the end."""

    def __init__(self, connection: Connection, cell: str, fillers: Mapping[int, str]) -> None:
        self._connection = connection
        self._names = Names(cell)
        self._fillers = fillers
        self._end = 0

    async def open(self, *, anew: bool = False) -> int:
        """Make the stream if it is not there, or in any case ``anew``, and return where it ends. Raises
        Unavailable."""
        self._end = 0 if anew else await self._last()
        if self._end == 0:
            # One that may not delete cannot be made one that may.
            await self._remove()
            wanted = durable(self._names)[0] | ({"deny_delete": False} if self._fillers else {})
            await self._ask(f"STREAM.CREATE.{self._names.events}", wanted)
        return self._end

    async def put(self, entries: Iterable[Entry]) -> None:
        """Append messages; those that are there already are passed over. Raises Unavailable, Invalid."""
        waiting = []
        for entry in entries:
            if entry.position > self._end:
                waiting += [self._stand_in(at) for at in range(self._end + 1, entry.position)]
                waiting.append(entry)
                self._end = entry.position
        for start in range(0, len(waiting), TOGETHER):
            await together(*(self._publish(entry) for entry in waiting[start : start + TOGETHER]))

    async def close(self, last: int) -> None:
        """Leave nothing but the log, up to position ``last``. Raises Unavailable."""
        await self.put(self._stand_in(at) for at in range(self._end + 1, last + 1))
        for position in self._fillers:
            await self._ask(f"STREAM.MSG.DELETE.{self._names.events}", {"seq": position, "no_erase": True})
        if self._fillers:
            await self._ask(f"STREAM.UPDATE.{self._names.events}", durable(self._names)[0])

    def _stand_in(self, position: int) -> Entry:
        return Entry(position, self._fillers[position], b"", b"")

    async def _publish(self, entry: Entry) -> None:
        if _BATCHED in entry.headers:
            raise Invalid(f"Position {entry.position} was recorded in a batch, which cannot be imported.")
        try:
            answer = await self._connection.call(entry.subject, entry.body, entry.headers, _TIMEOUT)
        except NoAnswer as problem:
            raise Unavailable(f"The log does not answer: {problem}. Import again: it goes on.") from None
        ack = _ack.decode(answer.data)
        if ack.error is not None or ack.seq != entry.position:
            reason = ack.error.get("description") if ack.error else f"it came to stand at {ack.seq}"
            raise Invalid(f"Position {entry.position} cannot be put in: {reason}.")

    async def _last(self) -> int:
        try:
            info = await self._ask(f"STREAM.INFO.{self._names.events}")
        except ApiError as error:
            if error.err_code == _NOT_FOUND:
                return 0
            raise
        state = info["state"]
        assert isinstance(state, dict)
        return int(state["last_seq"])

    async def _remove(self) -> None:
        try:
            await self._ask(f"STREAM.DELETE.{self._names.events}")
        except ApiError as error:
            if error.err_code != _NOT_FOUND:
                raise

    async def _ask(self, api: str, request: dict[str, object] | None = None) -> dict[str, object]:
        try:
            return await self._connection.api(api, request)
        except NoAnswer as problem:
            raise Unavailable(f"The log does not answer: {problem}") from None
