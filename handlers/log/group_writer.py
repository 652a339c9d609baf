"""Group commit: many waiting decisions on one aggregate become one event."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, NamedTuple, TypeVar

from domain.errors import Bug, LightcurveError, OutOfOrder, Stale, Unavailable, not_found
from domain.log.batch import Batched, Change, Undo, apply_all, take_back
from domain.log.kind import Kind, advance
from domain.log.record import GENESIS, AggregateId, Event, Recorded, Tail
from handlers.context import Context, Stamp
from handlers.log.disorder import Disorder
from handlers.ports import EventStore

S = TypeVar("S", bound=Batched[Any])

log = logging.getLogger(__name__)

MAX_GROUP = 500
"""Decisions in one event; keeps it far below the log's largest message."""
MAX_CONFLICTS = 50

Decide = Callable[[S], Sequence[Change]]


class _Waiting(NamedTuple, Generic[S]):
    decide: Decide[S]
    answer: "asyncio.Future[tuple[tuple[Change, ...], int]]"
    context: Context


_Answer = tuple[_Waiting[Any], tuple[Change, ...] | LightcurveError]


class GroupWriter(Generic[S]):
    """One aggregate, held in memory, written by whoever in this process wants to.

    The state also follows the log (``advance``), so that reading it costs nothing. It is always one that the log
    has: what is decided on it and fails, wherever, leaves nothing behind. Where the log has what cannot be folded,
    the state stays as it was before, and who wants to write gets OutOfOrder.
    """

    def __init__(
        self,
        kind: Kind[S],
        aggregate: AggregateId,
        store: EventStore,
        stamp: Stamp,
        envelope: Callable[[tuple[Any, ...]], Event],
        initial: S | None = None,
        disorder: Disorder | None = None,
    ) -> None:
        self._kind = kind
        self._aggregate = aggregate
        self._store = store
        self._stamp = stamp
        self._envelope = envelope
        self._state = initial
        self._disorder = disorder or Disorder()
        self.tail: Tail = GENESIS
        self._queue: deque[_Waiting[S]] = deque()
        self._draining: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        """Held while the state holds changes that the log has not accepted, or is being brought up to date."""

    @property
    def state(self) -> S:
        """The state as far as it is known here. An aggregate that needs a founding event must have one."""
        if self._state is None:
            raise not_found(self._aggregate.kind.capitalize(), self._aggregate.id)
        return self._state

    def restore(self, state: S, tail: Tail) -> None:
        """Begin with a state that a snapshot kept."""
        self._state, self.tail = state, tail

    @asynccontextmanager
    async def settled(self) -> AsyncIterator[S]:
        """The state, without any change that the log has not accepted, for as long as the context lasts."""
        async with self._lock:
            yield self.state

    async def advance(self, recorded: Recorded) -> None:
        """Take in an event that the log delivered. While a write is under way this is left to the write."""
        if self._lock.locked() or self._ill or recorded.version <= self.tail.version:
            return
        with suppress(OutOfOrder):
            if recorded.follows(self.tail):
                self._fold(recorded)
            else:
                async with self._lock:
                    await self._catch_up()

    async def refresh(self) -> S:
        """The state, certainly as new as this call."""
        async with self._lock:
            await self._catch_up()
        return self.state

    async def execute(
        self, context: Context, decide: Callable[[S | None], Event | None]
    ) -> tuple[S | None, Recorded | None]:
        """Record one event of another kind, decided on the certainly present state; returns the state after, which
        is changed in place by what comes next, and what was recorded. Raises what ``decide`` raises, Stale,
        Unavailable and OutOfOrder."""
        async with self._lock:
            for _ in range(MAX_CONFLICTS):
                await self._catch_up()
                event = decide(self._state)
                if event is None:
                    return self._state, None
                with suppress(Stale):
                    recorded = await self._store.append(self._aggregate, event, self._stamp(context), self.tail)
                    self._fold(recorded)
                    return self._state, recorded
        raise Stale(f"Too many changes of {self._aggregate} at once.")

    async def submit(self, context: Context, decide: Decide[S]) -> tuple[tuple[Change, ...], int]:
        """Record the changes that ``decide`` returns for the present state, with others' in one event.

        Returns the changes and the position of their event (0 if there were none). ``decide`` may be called
        several times; what it raises on the certainly present state is raised here (Bug, where that is no refusal),
        and so are Stale, Unavailable and OutOfOrder.
        """
        answer: asyncio.Future[tuple[tuple[Change, ...], int]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(decide, answer, context))
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        return await answer

    async def _catch_up(self) -> bool:
        """Read what the log has and we have not; whether there was anything. Raises OutOfOrder."""
        if self._ill:
            raise self._ill
        try:
            history = await self._store.load(self._aggregate, self.tail)
        except OutOfOrder as error:
            raise self._disorder.note(self._aggregate, error) from None
        for recorded in history:
            self._fold(recorded)
        return bool(history)

    @property
    def _ill(self) -> OutOfOrder | None:
        return self._disorder.of(self._aggregate)

    def _fold(self, recorded: Recorded) -> None:
        try:
            self._state = advance(self._kind, self._state, recorded)
        except Exception as error:
            raise self._disorder.note(self._aggregate, error) from error
        self.tail = recorded.tail

    async def _drain(self) -> None:
        group: list[_Waiting[S]] = []
        try:
            # Give everybody who is ready now the chance to come along.
            await asyncio.sleep(0)
            while self._queue:
                group = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_GROUP))]
                await self._try_write(group)
        finally:
            self._draining = None
            for waiting in (*group, *self._queue):
                _refuse(waiting, Unavailable("The writer was stopped."))
            self._queue.clear()

    async def _try_write(self, group: list[_Waiting[S]]) -> None:
        try:
            async with self._lock:
                await self._write(group)
        except (Unavailable, Stale) as error:
            for waiting in group:
                _refuse(waiting, error)
        except Exception as error:
            if len(group) > 1:
                # The log will not have this event: what one of them wants must not harm the others.
                for waiting in group:
                    await self._try_write([waiting])
                return
            if not isinstance(error, LightcurveError):
                log.exception("changes of %s cannot be recorded", self._aggregate)
                error = Bug(f"What was decided on {self._aggregate} cannot be recorded.")
            _refuse(group[0], error)

    async def _write(self, group: list[_Waiting[S]]) -> None:
        if self._ill:
            raise self._ill
        if self._state is None:
            await self._catch_up()
        for _ in range(MAX_CONFLICTS):
            changes, undos, answers = self._decide(group)
            if not changes:
                # Nothing to record: no guard tells whether the state was current, so look.
                if await self._catch_up():
                    continue
                _settle(answers, 0)
                return
            meta = self._stamp(group[0].context)
            try:
                recorded = await self._store.append(self._aggregate, self._envelope(changes), meta, self.tail)
            except Stale:
                take_back(undos)
                await self._catch_up()
                continue
            except BaseException:
                take_back(undos)
                raise
            self.tail = recorded.tail
            _settle(answers, recorded.position)
            return
        raise Stale(f"Too many changes of {self._aggregate} at once.")

    def _decide(self, group: list[_Waiting[S]]) -> tuple[tuple[Change, ...], list[Undo], list[_Answer]]:
        all_changes: list[Change] = []
        undos: list[Undo] = []
        answers: list[_Answer] = []
        for waiting in group:
            if waiting.answer.done():
                continue
            try:
                changes = tuple(waiting.decide(self.state))
                undos.extend(apply_all(self.state, changes))
            except LightcurveError as error:
                answers.append((waiting, error))
                continue
            except Exception as error:  # noqa: BLE001 - told to who asked, if it fails on the present state, too
                bug = Bug(f"A decision on {self._aggregate} failed.")
                bug.__cause__ = error
                answers.append((waiting, bug))
                continue
            except BaseException:
                take_back(undos)
                raise
            all_changes.extend(changes)
            answers.append((waiting, changes))
        return tuple(all_changes), undos, answers


def _settle(answers: list[_Answer], position: int) -> None:
    for waiting, outcome in answers:
        if isinstance(outcome, LightcurveError):
            if isinstance(outcome, Bug):
                log.error("%s", outcome, exc_info=outcome.__cause__)
            _refuse(waiting, outcome)
        elif not waiting.answer.done():
            waiting.answer.set_result((outcome, position if outcome else 0))


def _refuse(waiting: _Waiting[Any], error: LightcurveError) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
