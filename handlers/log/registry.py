"""The small aggregates of one cell, held in memory and kept up to date from the log.

What belongs to no cell (flavors, keypairs, networks, images, quotas) is small enough that every process that
needs it holds all of it: no query, and one way to persist.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from domain.errors import OutOfOrder
from domain.log.kind import EVERY, Batching, Kind, advance
from domain.log.record import GENESIS, AggregateId, Event, Recorded, Tail
from domain.server.fold import KIND as SERVER
from handlers.accepted import Accepted, accepted
from handlers.context import Context, Stamp
from handlers.log.catching_up import catch_up
from handlers.log.disorder import Disorder
from handlers.log.group_writer import GroupWriter
from handlers.log.repository import Repository
from handlers.ports import EventStore

S = TypeVar("S")
Listener = Callable[[Recorded], None]


class Registry:
    """Every aggregate of the given kinds in one cell's log."""

    def __init__(
        self, store: EventStore, stamp: Stamp, kinds: list[Kind[Any]], disorder: Disorder | None = None
    ) -> None:
        assert SERVER not in kinds, "servers are many: they have projections"
        self._store = store
        self._stamp = stamp
        self._kinds = {kind.name: kind for kind in kinds}
        self._disorder = disorder or Disorder()
        self._states: dict[AggregateId, tuple[Any, Tail]] = {}
        self._writers: dict[AggregateId, GroupWriter[Any]] = {}
        self._lists: dict[tuple[str, str], dict[AggregateId, None]] = {}
        """By kind and name of the list; the oldest first."""
        self._listed: dict[AggregateId, tuple[str, ...]] = {}
        """In which lists each aggregate stands."""
        self._listeners: list[Listener] = []
        self.position = 0
        self._caught_up = asyncio.Event()

    @property
    def kinds(self) -> Collection[str]:
        """The names of the kinds that are held."""
        return self._kinds

    async def run(self) -> None:
        """Follow the log until cancelled."""
        async with aclosing(self._store.follow(0, *self._kinds)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                for recorded in batch:
                    await self._take(recorded)
                if not batch:
                    self._caught_up.set()

    async def read_once(self) -> None:
        """Read what is in the log now, and no more. Raises Unavailable."""
        await catch_up(self.run(), self.ready())

    async def ready(self) -> None:
        """Wait until everything that was in the log at the start has been read."""
        await self._caught_up.wait()

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with each event after it was taken in."""
        self._listeners.append(listener)

    def get(self, aggregate: AggregateId) -> Any | None:
        """The state of an aggregate; None if it never was."""
        if self._batching(aggregate):
            writer = self._writers.get(aggregate)
            return writer.state if writer and writer.tail.version else None
        return self._states.get(aggregate, (None, GENESIS))[0]

    def of(self, kind: Kind[S], identity: str) -> S | None:
        """The state of the aggregate of that kind and id; None if it never was."""
        state: S | None = self.get(AggregateId(kind.name, identity))
        return state

    def all(self, kind: str) -> Iterator[Any]:
        """The states of all aggregates of a kind that are not gone, oldest first."""
        return self.listed(kind, EVERY)

    def listed(self, kind: str, name: str) -> Iterator[Any]:
        """The states in one of a kind's lists; see ``Kind.lists``. Costs what it returns."""
        return (self.get(aggregate) for aggregate in list(self._lists.get((kind, name), ())))

    def states(self, kind: str) -> Iterator[tuple[str, Any]]:
        """The ids and states of all aggregates of a kind that are not gone, oldest first."""
        return ((aggregate.id, self.get(aggregate)) for aggregate in list(self._lists.get((kind, EVERY), ())))

    def writer(self, aggregate: AggregateId) -> GroupWriter[Any]:
        """The group writer of an aggregate of a batched kind."""
        writer = self._writers.get(aggregate)
        if writer is None:
            kind = self._kinds[aggregate.kind]
            assert kind.batching
            envelope, initial = kind.batching
            state = initial() if initial else None
            writer = GroupWriter(kind, aggregate, self._store, self._stamp, envelope, state, self._disorder)
            self._writers[aggregate] = writer
        return writer

    async def execute(
        self, context: Context, aggregate: AggregateId, decide: Callable[[Any | None], Event | None]
    ) -> tuple[Any, Accepted]:
        """Decide on one aggregate and append; returns its state after, and what has come of it."""
        if self._batching(aggregate):
            state, recorded = await self.writer(aggregate).execute(context, decide)
            if recorded:
                self._relist(aggregate, state)
            return state, accepted(self._store.cell, aggregate, recorded)
        repository = Repository(self._kinds[aggregate.kind], self._store, self._stamp)
        known = self._states.get(aggregate, (None, GENESIS))
        state, recorded = await repository.execute(context, aggregate, decide, known)
        if recorded and recorded.version > self._states.get(aggregate, (None, GENESIS))[1].version:
            self._keep(aggregate, state, recorded.tail)
        return state, accepted(self._store.cell, aggregate, recorded)

    async def submit(
        self, context: Context, aggregate: AggregateId, decide: Callable[[Any], Sequence[Any]]
    ) -> tuple[tuple[Any, ...], Accepted]:
        """The same for an aggregate of a batched kind, by group commit; returns the changes. See GroupWriter."""
        changes, position = await self.writer(aggregate).submit(context, decide)
        return changes, Accepted(self._store.cell, aggregate, position)

    def _batching(self, aggregate: AggregateId) -> Batching | None:
        kind = self._kinds.get(aggregate.kind)
        return kind.batching if kind else None

    async def _take(self, recorded: Recorded) -> None:
        aggregate = recorded.aggregate
        if self._batching(aggregate):
            writer = self.writer(aggregate)
            await writer.advance(recorded)
            if writer.tail.version:
                self._relist(aggregate, writer.state)
        else:
            self._fold(recorded)
        self.position = recorded.position
        for listener in self._listeners:
            listener(recorded)

    def _fold(self, recorded: Recorded) -> None:
        """Take in an event; an aggregate that is out of order stays as it was before, and all others go on."""
        aggregate = recorded.aggregate
        state, tail = self._states.get(aggregate, (None, GENESIS))
        if recorded.version <= tail.version or self._disorder.of(aggregate):
            return
        try:
            if not recorded.follows(tail):
                raise OutOfOrder(f"version {recorded.version} of {aggregate} does not continue {tail.version}.")
            state = advance(self._kinds[aggregate.kind], state, recorded)
            if state is None:
                raise OutOfOrder(f"The history of {aggregate} is out of order: it lacks its beginning.")
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns this aggregate only
            self._disorder.note(aggregate, error)
        else:
            self._keep(aggregate, state, recorded.tail)

    def _keep(self, aggregate: AggregateId, state: Any, tail: Tail) -> None:
        self._states[aggregate] = state, tail
        self._relist(aggregate, state)

    def _relist(self, aggregate: AggregateId, state: Any) -> None:
        """Have it in the lists that its state names, and keep its place where it stays."""
        before = self._listed.get(aggregate, ())
        after = self._kinds[aggregate.kind].lists(state)
        if after == before:
            return
        for name in before:
            if name not in after:
                others = self._lists[aggregate.kind, name]
                del others[aggregate]
                if not others:
                    del self._lists[aggregate.kind, name]
        for name in after:
            self._lists.setdefault((aggregate.kind, name), {})[aggregate] = None
        if after:
            self._listed[aggregate] = after
        else:
            del self._listed[aggregate]
