"""Load, decide, append; and again, if somebody was quicker."""

import asyncio
import logging
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from domain.errors import LightcurveError, OutOfOrder, Stale, Unavailable
from domain.log.kind import Kind, fold
from domain.log.record import GENESIS, AggregateId, Event, Recorded, Tail
from handlers.context import Context, Stamp
from handlers.log.disorder import out_of_order
from handlers.log.remembered import Remembered
from handlers.ports import EventStore, Snapshot

S = TypeVar("S")

log = logging.getLogger(__name__)

MAX_CONFLICTS = 20
"""How often one command is decided again before its caller is told that too many want the same."""
SNAPSHOT_EVERY = 100
"""Events of an aggregate between two snapshots: what loading it has to read at the most, and then some."""
SHORT = 32
"""Events of a history that is read whole each time. Going on from its middle would cost the log more (nats-server
looks for what comes next from there, message by message), and so would asking for a snapshot that is hardly ever
there."""

NEVER_WAS: tuple[None, Tail] = (None, GENESIS)
"""What is known of an aggregate that is about to be founded."""


class Repository(Generic[S]):
    """The aggregates of one kind in one cell. Those of a kind that has snapshots cost the same however long their
    history is: what was loaded is remembered, and beyond that a snapshot is made from time to time."""

    def __init__(self, kind: Kind[S], store: EventStore, stamp: Stamp, *, remembers: bool = True) -> None:
        """One that does not remember is for callers who do."""
        self._kind = kind
        self._store = store
        self._stamp = stamp
        self._remembered: Remembered[tuple[S, Tail]] | None = None
        form = kind.snapshots
        if form is not None and remembers:
            self._remembered = Remembered(lambda known: form.weigh(known[0]))
        self._saving: set[asyncio.Task[None]] = set()

    async def load(self, aggregate: AggregateId) -> tuple[S | None, Tail]:
        """The present state, and where it ends; (None, GENESIS) if nothing ever happened. Raises Unavailable, and
        OutOfOrder for a history that cannot be read or folded."""
        known = self._remembered.get(aggregate.id) if self._remembered else None
        if known is None:
            history, more = await self._store.load_first(aggregate, SHORT)
            if not more:
                return self._folded(aggregate, history, None, GENESIS)
            known = await self._from_snapshot(aggregate)
        if known is not None:
            try:
                return await self._read(aggregate, *known)
            except OutOfOrder:
                # The history will tell whether it is itself in order.
                self._forget(aggregate)
        return await self._read(aggregate, None, GENESIS)

    async def execute(
        self,
        context: Context,
        aggregate: AggregateId,
        decide: Callable[[S | None], Event | None],
        known: tuple[S | None, Tail] | None = None,
    ) -> tuple[S | None, Recorded | None]:
        """Append what ``decide`` decides on the present state; nothing if it returns None.

        ``known`` is a state that may be stale: it saves the loading, and the log's guard finds out if it was. Where
        there is nothing to append, so that no guard would tell, the log is looked at before that is believed.
        Returns the state after, and the event. Raises what ``decide`` raises on the present state; Stale after
        MAX_CONFLICTS.
        """
        certain = known is None or known is NEVER_WAS
        state, tail = known or await self.load(aggregate)
        meta = self._stamp(context)
        for _ in range(MAX_CONFLICTS):
            try:
                event = decide(state)
            except LightcurveError:
                if certain:
                    raise
                event = None
            if event is None:
                if certain:
                    return state, None
                certain, (state, tail) = True, await self._newer(aggregate, state, tail)
                continue
            try:
                recorded = await self._store.append(aggregate, event, meta, tail)
            except Stale:
                certain, (state, tail) = True, await self._newer(aggregate, state, tail)
                continue
            after = self._kind.evolve(state, event, meta)
            self._remember(aggregate, after, recorded.tail)
            self._save_in_time(aggregate, after, recorded.tail)
            return after, recorded
        raise Stale(f"Too many changes of {aggregate} at once.")

    async def _newer(self, aggregate: AggregateId, state: S | None, tail: Tail) -> tuple[S | None, Tail]:
        """The present state: read from where it is known, or from the beginning if it does not go on there."""
        if state is not None:
            try:
                return await self._read(aggregate, state, tail)
            except OutOfOrder:
                self._forget(aggregate)
        return await self.load(aggregate)

    async def _read(self, aggregate: AggregateId, state: S | None, tail: Tail) -> tuple[S | None, Tail]:
        """What the log has behind ``tail``, folded onto the state there."""
        return self._folded(aggregate, await self._store.load(aggregate, tail), state, tail)

    def _folded(
        self, aggregate: AggregateId, history: list[Recorded], state: S | None, tail: Tail
    ) -> tuple[S | None, Tail]:
        """``history``, which goes on behind ``tail``, folded onto the state there."""
        try:
            state = fold(self._kind, history, state)
        except Exception as error:
            raise out_of_order(aggregate, error) from error
        if state is None and history:
            raise OutOfOrder(f"The history of {aggregate} is out of order: it lacks its beginning.")
        tail = history[-1].tail if history else tail
        if state is not None:
            self._remember(aggregate, state, tail)
        return state, tail

    def _remember(self, aggregate: AggregateId, state: S, tail: Tail) -> None:
        if self._remembered is not None and tail.version > SHORT:
            self._remembered.put(aggregate.id, (state, tail))

    def _forget(self, aggregate: AggregateId) -> None:
        if self._remembered is not None:
            self._remembered.forget(aggregate.id)

    async def _from_snapshot(self, aggregate: AggregateId) -> tuple[S, Tail] | None:
        form = self._kind.snapshots
        if form is None:
            return None
        snapshot = await self._store.load_snapshot(aggregate)
        if snapshot is None:
            return None
        try:
            version, raw = msgspec.json.decode(snapshot.body, type=tuple[int, msgspec.Raw])
            return (msgspec.json.decode(raw, type=form.state), snapshot.tail) if version == form.version else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def _save_in_time(self, aggregate: AggregateId, state: S, tail: Tail) -> None:
        if self._kind.snapshots and tail.version % SNAPSHOT_EVERY == 0:
            task = asyncio.create_task(self._save(aggregate, state, tail, self._kind.snapshots.version))
            self._saving.add(task)
            task.add_done_callback(self._saving.discard)

    async def _save(self, aggregate: AggregateId, state: S, tail: Tail, version: int) -> None:
        try:
            await self._store.save_snapshot(aggregate, Snapshot(tail, msgspec.json.encode((version, state))))
        except Unavailable as error:
            log.info("no snapshot of %s is kept this time: %s", aggregate, error)
