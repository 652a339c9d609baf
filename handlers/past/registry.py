"""The small aggregates as they were."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from domain.log.kind import Kind, fold
from domain.log.record import AggregateId
from handlers.context import Stamp
from handlers.log.registry import Registry
from handlers.past import NotRead
from handlers.past.until import StoreUntil


class PastRegistry(Registry):
    """Answers as a Registry did at a moment. What is asked for is read when it is: one aggregate, or all of a kind;
    until then NotRead is raised."""

    def __init__(self, store: StoreUntil, stamp: Stamp, kinds: list[Kind[Any]]) -> None:
        super().__init__(store, stamp, kinds)
        self._single: dict[AggregateId, Any] = {}
        self._whole: dict[str, Registry] = {}
        """By kind."""

    def get(self, aggregate: AggregateId) -> Any | None:
        if aggregate.kind in self._whole:
            return self._whole[aggregate.kind].get(aggregate)
        if aggregate not in self._single:
            raise NotRead(partial(self._read_one, aggregate))
        return self._single[aggregate]

    def listed(self, kind: str, name: str) -> Iterator[Any]:
        return self._of_kind(kind).listed(kind, name)

    def states(self, kind: str) -> Iterator[tuple[str, Any]]:
        return self._of_kind(kind).states(kind)

    def _of_kind(self, kind: str) -> Registry:
        if kind not in self._whole:
            raise NotRead(self.reader(kind))
        return self._whole[kind]

    def reader(self, kind: str) -> Callable[[], Awaitable[None]]:
        """Reads all of a kind."""
        return partial(self._read_all, kind)

    async def _read_one(self, aggregate: AggregateId) -> None:
        kind = self._kinds[aggregate.kind]
        self._single[aggregate] = fold(kind, await self._store.load(aggregate))

    async def _read_all(self, kind: str) -> None:
        registry = Registry(self._store, self._stamp, [self._kinds[kind]])
        await registry.read_once()
        self._whole[kind] = registry
