"""Whether a cell's log is whole, as far as can be told: JetStream loses a damaged message, or its end after a power
cut, without a word.

Messages are counted against sequences, the last one is looked at, and the end is compared with what the projector
says it has read. Readers report holes that they come upon. What is found closes the log to appends, in every process,
until the operator has been told of it and has decided to go on (``domain.log.recovery``).
"""

import asyncio
import logging
from bisect import bisect_left
from typing import Any

from adapters.mapper import EventMapper
from adapters.nats.connection import ApiError, Connection, NoAnswer
from adapters.nats.log import Log
from adapters.nats.names import Names
from domain.errors import Unavailable
from domain.log import recovery
from domain.log.loss import cure
from domain.log.recovery import Missing, RecoveryDecided, ranges, told

_log = logging.getLogger(__name__)

WITNESS = "projector"
"""Whose word is taken for how far the log went: it remembers in another place."""
ARCHIVE = "archive"
"""Whose word says how far the archive goes, and that the log was held against it."""
DAMAGE, SURVEY = "damage", "survey"
"""The places among the announced positions where the damage that a reader has found is told to the others: at first
as it was met, and then exactly."""
_NONE = "-"
HOLD_SECONDS = 8.0
"""How long an append waits for the log to be held against the archive, after it was started."""
_LOOK = 0.05


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
        self._surveyed: str | None = None
        """What is wrong, to the position, if this process has held all of it against the archive."""
        self._exact: str | None = None
        """The same, whoever has."""
        self.has_archive = False
        """Whether somebody holds it against an archive; then nothing is appended before that was done."""
        self._held = False
        self._holding = asyncio.Lock()
        connection.on_reconnect(self._on_reconnect)

    @property
    def damage(self) -> str | None:
        """What is wrong with the log, in one sentence; None if it is whole as far as is known."""
        known = self._found or self._seen
        return (self._exact or known) if known else None

    def _on_reconnect(self) -> None:
        """The server may have been started anew, on whatever is left."""
        self._held = False

    @property
    def is_held(self) -> bool:
        """Whether the log was held against the archive since the connection was made."""
        return self._held or not self.has_archive

    async def until_held(self) -> None:
        """Wait for it. Raises Unavailable if nobody does it."""
        async with self._holding:
            clock = asyncio.get_running_loop().time
            deadline = clock() + HOLD_SECONDS
            while not self.is_held:
                try:
                    await self.check()
                except Recovered:
                    raise
                except Unavailable as problem:
                    # What is announced is gone with the server, until somebody makes room for it again.
                    _log.debug("cell %s cannot be looked at yet: %s", self._names.cell, problem)
                if not self.is_held:
                    if clock() > deadline:
                        raise Unavailable(
                            f"The log of cell {self._names.cell} has to be held against its archive before anything "
                            "is recorded, and the projector has not done that yet."
                        )
                    await asyncio.sleep(_LOOK)

    def require_whole(self) -> None:
        """Raise Unavailable, saying what is wrong and what to do, if the log is damaged."""
        if self.damage:
            raise Unavailable(f"{self.damage} {cure(self.damage)}")

    def found(self, damage: str) -> None:
        """A reader has come upon something that is missing."""
        if self._found is None:
            self._found = f"The log of cell {self._names.cell} is damaged: {damage}"
            _log.error("%s %s", self._found, cure(self._found))
            self._announce_damage(DAMAGE, self._found)

    def surveyed(self, exactly: str) -> None:
        """The whole log was held against the archive, after a damage was found."""
        if self._found is None:
            self._found = exactly
            self._announce_damage(DAMAGE, exactly)
        self._surveyed = self._exact = exactly
        _log.error("%s %s", exactly, cure(exactly))
        self._announce_damage(SURVEY, exactly)

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
        for place, known in ((DAMAGE, self._found), (SURVEY, self._surveyed)):
            if known:
                self._announce_damage(place, known)
        # The witnesses first: they may go on meanwhile, and so may the log.
        archived = await self._announced(ARCHIVE)
        witness = max(int(await self._announced(WITNESS) or 0), int(archived or 0))
        seen = await self._judge(witness) or await self._announced_damage(DAMAGE)
        if seen and seen != self._seen:
            _log.error("%s %s", seen, cure(seen))
        self._seen = seen
        self._held = self._held or bool(archived)
        if self.damage:
            self._exact = self._surveyed or await self._announced_damage(SURVEY)

    async def missing(self) -> tuple[tuple[Missing, ...], int]:
        """The positions that the server itself knows to be missing, and the stream's last position."""
        state = await self._state(deleted_details=True)
        deleted: list[int] = state.get("deleted") or []
        absent = [*range(1, int(state["first_seq"])), *deleted] if state["last_seq"] else []
        return ranges(absent), int(state["last_seq"])

    def mend(self) -> None:
        """Take back how far log and archive are said to have gone, since a recovery was recorded; the projector will
        tell."""
        self._announce(WITNESS, "0")
        self._announce(ARCHIVE, "0")

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

    async def _announced_damage(self, place: str) -> str | None:
        """What another process has found since the last recovery."""
        said = await self._announced(place)
        recovery_id, _, damage = said.partition(" ")
        return damage if damage and recovery_id == (self.recovery_id or _NONE) else None

    def _announce_damage(self, place: str, damage: str) -> None:
        """With the recovery that it comes after: the word of a process that has not heard of the next one is void."""
        self._announce(place, f"{self.recovery_id or _NONE} {damage}")

    def _announce(self, name: str, text: str) -> None:
        self._connection.send(self._names.position(name), text.encode())
