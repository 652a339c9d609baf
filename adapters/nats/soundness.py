"""Whether a cell's log is whole, as far as can be told: JetStream loses a damaged message, or its end after a power
cut, without a word.

Messages are counted against sequences, the last one is looked at, and the end is compared with what the projector
says it has read. Readers report holes that they come upon. What is found closes the log to appends, in every process,
until the operator has been told of it and has decided to go on (``domain.log.recovery``).
"""

import asyncio
import logging
from bisect import bisect_left
from contextlib import aclosing
from typing import Any

from adapters.mapper import BrokenChain, EventMapper
from adapters.nats.connection import ApiError, Connection, NoAnswer
from adapters.nats.log import Log
from adapters.nats.names import Names
from adapters.nats.reader import Reader
from domain.errors import Unavailable
from domain.log import recovery
from domain.log.recovery import Missing, RecoveryDecided, ranges, told

_log = logging.getLogger(__name__)

WITNESS = "projector"
"""Whose word is taken for how far the log went: it remembers in another place."""
DAMAGE = "damage"
"""The place among the announced positions where the damage that a reader has found is told to the others."""
_NONE = "-"
CURE = "Nothing is recorded in it until you have run: lightcurve recover"


EVENTS_PER_SECOND = 5_000
"""With which the log is read through, beside everything else."""


class Recovered(Unavailable):
    """The log goes on after a damage, and what this process remembers is of the time before: start it anew."""


class Gaps:
    """The positions that are known to be missing."""

    def __init__(self, missing: tuple[Missing, ...] = ()) -> None:
        self.missing = missing
        self._lasts = [each.last for each in missing]

    def __contains__(self, position: object) -> bool:
        assert isinstance(position, int)
        at = bisect_left(self._lasts, position)
        return at < len(self.missing) and self.missing[at].first <= position

    def __bool__(self) -> bool:
        return bool(self.missing)

    def before(self, position: int) -> int:
        """The last missing position before this one; 0 if there is none."""
        at = bisect_left(self._lasts, position)
        return self._lasts[at - 1] if at else 0


class Soundness:
    """What this process knows of the state of one cell's log."""

    def __init__(self, connection: Connection, names: Names, log: Log, mapper: EventMapper) -> None:
        self._connection = connection
        self._names = names
        self._log = log
        self._mapper = mapper
        self.gaps = Gaps()
        self.recovery_id: str | None = None
        """The event id of the last recovery."""
        self._found: str | None = None
        """What a reader here has come upon; only a recovery mends it."""
        self._seen: str | None = None
        """What the last look has shown."""

    @property
    def damage(self) -> str | None:
        """What is wrong with the log, in one sentence; None if it is whole as far as is known."""
        return self._found or self._seen

    def require_whole(self) -> None:
        """Raise Unavailable, saying what is wrong and what to do, if the log is damaged."""
        if self.damage:
            raise Unavailable(f"{self.damage} {CURE}")

    def found(self, damage: str) -> None:
        """A reader has come upon something that is missing."""
        if self._found is None:
            self._found = f"The log of cell {self._names.cell} is damaged: {damage}"
            _log.error("%s %s", self._found, CURE)
            self._announce_damage(self._found)

    async def read_through(self) -> None:
        """Read the whole log once, without haste, for what is missing in the middle of it: the server drops a damaged
        event without a word, and nobody else may come by for years. Raises Unavailable."""
        stream = self._names.events
        reader = Reader(self._connection, stream, known_missing=self.gaps, on_missing=self.found, headers_only=True)
        try:
            async with aclosing(reader.batches()) as batches:
                async for batch in batches:
                    if not batch:
                        return
                    await asyncio.sleep(len(batch) / EVENTS_PER_SECOND)
        except BrokenChain as error:
            self.found(error.message)

    async def open(self) -> None:
        """Learn which events are known to be missing, and look for others. Raises Unavailable."""
        self.recovery_id, decided = await self._last_recovery()
        self.gaps = Gaps(decided.missing if decided else ())
        await self.check()

    async def check(self) -> None:
        """Look whether the log is whole. Raises Recovered if the operator decided to go on since this was opened, and
        Unavailable."""
        if (await self._last_recovery())[0] != self.recovery_id:
            raise Recovered(f"The log of cell {self._names.cell} was recovered: this process starts anew.")
        if self._found:
            self._announce_damage(self._found)
        # The witness first: it may go on meanwhile, and so may the log.
        witness = int(await self._announced(WITNESS) or 0)
        seen = await self._judge(witness) or await self._announced_damage()
        if seen and seen != self._seen:
            _log.error("%s %s", seen, CURE)
        self._seen = seen

    async def missing(self) -> tuple[tuple[Missing, ...], int]:
        """The positions that the server itself knows to be missing, and the stream's last position."""
        state = await self._state(deleted_details=True)
        deleted: list[int] = state.get("deleted") or []
        absent = [*range(1, int(state["first_seq"])), *deleted] if state["last_seq"] else []
        return ranges(absent), int(state["last_seq"])

    def mend(self) -> None:
        """Take back how far the log is said to have gone, since a recovery was recorded; the projector will tell."""
        self._announce(WITNESS, "0")

    async def _judge(self, witness: int) -> str | None:
        cell, state = self._names.cell, await self._state()
        last = int(state["last_seq"])
        if last < witness:
            return (
                f"The log of cell {cell} ends at position {last}, but position {witness} was read before: its last "
                f"{witness - last} events are gone."
            )
        if last > int(state["messages"]):
            missing, _ = await self.missing()
            unknown = ranges(p for each in missing for p in range(each.first, each.last + 1) if p not in self.gaps)
            if unknown:
                return f"The log of cell {cell} lacks {recovery.count(unknown)} events: {told(unknown)}."
        if last and last not in self.gaps and not await self._log.leader_has(last):
            return f"The log of cell {cell} lacks its last event, position {last}, and maybe others before it."
        return None

    async def _state(self, **request: object) -> dict[str, Any]:
        try:
            info = await self._connection.api(f"STREAM.INFO.{self._names.events}", request or None)
        except (NoAnswer, ApiError) as problem:
            raise Unavailable(f"The log does not answer: {problem}") from None
        found: dict[str, Any] = info["state"]
        return found

    async def _last_recovery(self) -> tuple[str | None, RecoveryDecided | None]:
        place = recovery.aggregate(self._names.cell)
        message = await self._log.last(self._names.event(place))
        if message is None:
            return None, None
        headers = message.headers()
        recorded = self._mapper.read(headers, message.data, int(headers["Nats-Sequence"]), self._names.cell, place)
        event = recorded.event
        return recorded.meta.event_id, event if isinstance(event, RecoveryDecided) else None

    async def _announced(self, name: str) -> str:
        subject = self._names.position(name)
        try:
            last = await self._connection.call(f"$JS.API.DIRECT.GET.{self._names.positions}.{subject}")
        except NoAnswer as problem:
            raise Unavailable(f"The log does not answer: {problem}") from None
        return "" if last.status else last.data.decode(errors="replace")

    async def _announced_damage(self) -> str | None:
        """What another process has found since the last recovery."""
        said = await self._announced(DAMAGE)
        recovery_id, _, damage = said.partition(" ")
        return damage if damage and recovery_id == (self.recovery_id or _NONE) else None

    def _announce_damage(self, damage: str) -> None:
        """With the recovery that it comes after: the word of a process that has not heard of the next one is void."""
        self._announce(DAMAGE, f"{self.recovery_id or _NONE} {damage}")

    def _announce(self, name: str, text: str) -> None:
        self._connection.send(self._names.position(name), text.encode())
