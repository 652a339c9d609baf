"""The services as they were at a moment. What an operation does not ask for is not read."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from adapters.rest.kit.services import Services
from domain.fleet import host
from domain.kinds import KINDS
from domain.log.moment import Moment
from domain.placement.ledger import Ledger
from domain.server.state import Server
from handlers.fleet.fleet import Fleet
from handlers.fleet.hosts import Hosts
from handlers.messages import Progress
from handlers.neighbours.images import EmbeddedImages
from handlers.neighbours.networks import EmbeddedNetworks
from handlers.past import NotRead
from handlers.past.ledgers import PastLedgers
from handlers.past.moments import Moments
from handlers.past.registry import PastRegistry
from handlers.past.unheard import Unheard
from handlers.past.until import StoreUntil
from handlers.ports import EventStore, Queries

T = TypeVar("T")
QueriesAt = Callable[[Moment, Sequence[StoreUntil]], Queries]

KEPT = 4
"""Moments that are kept for who asks again; the ledger of one may be a hundred megabytes."""


class PastServices:
    """Promises what ``adapters.rest.kit.as_of.Past`` does."""

    def __init__(
        self, present: Services, moments: Moments, store: EventStore, api_store: EventStore, queries: QueriesAt
    ) -> None:
        self._present = present
        self._moments = moments
        self._store = store
        self._api_store = api_store
        self._queries = queries
        self._ledgers = PastLedgers(store, present.stamp)
        self._views: OrderedDict[Moment, _View] = OrderedDict()
        self._reading = asyncio.Lock()
        """Who asks the past takes no more of the processor than one."""

    async def find(self, asked: str) -> Moment:
        return await self._moments.find(asked)

    async def at(self, moment: Moment) -> Callable[[], Services]:
        view = self._views.get(moment)
        if view is None:
            view = self._views[moment] = self._view(moment)
            if len(self._views) > KEPT:
                self._views.popitem(last=False)
        self._views.move_to_end(moment)
        return view.services

    async def read(self, missing: NotRead) -> None:
        async with self._reading:
            await missing.read()

    def _view(self, moment: Moment) -> "_View":
        store, api_store = (StoreUntil(one, moment[one.cell]) for one in (self._store, self._api_store))
        stores = [store] if store.cell == api_store.cell else [store, api_store]
        registry = PastRegistry(
            api_store, self._present.stamp, [KINDS[name] for name in self._present.registry.kinds]
        )
        hosts = PastRegistry(store, self._present.stamp, [host.KIND])
        present = replace(
            self._present,
            registry=registry,
            neighbours=self._present.neighbours._replace(
                images=EmbeddedImages(registry, self._present.stamp), networks=EmbeddedNetworks(registry)
            ),
            queries=self._queries(moment, stores),
            liveness=Unheard(),
            progress=_unknown,
        )
        return _View(present, hosts, self._ledgers, moment[store.cell])


async def _unknown(_server: Server) -> Progress | None:
    """Nobody has written down how far a guest was."""
    return None


class _View:
    """The services of one moment, as far as they were read."""

    def __init__(self, services: Services, hosts: PastRegistry, ledgers: PastLedgers, position: int) -> None:
        self._services = replace(services, ledger=self._ledger_now)
        self._host_registry = hosts
        self._ledgers = ledgers
        self._position = position
        self._ledger: Ledger | None = None
        self._whole = False
        """Whether the hosts are there."""

    def services(self) -> Services:
        if not self._whole:
            fleet, hosts = self._made(Fleet), self._made(Hosts)
            self._services = replace(self._services, fleet=fleet, hosts=hosts)
            self._whole = not isinstance(cast("object", fleet), _Later)
        return self._services

    def _made(self, make: Callable[[PastRegistry], T]) -> T:
        try:
            return make(self._host_registry)
        except NotRead as missing:
            return cast("T", _Later(missing))

    def _ledger_now(self) -> Ledger:
        if self._ledger is None:
            raise NotRead(self._read_ledger)
        return self._ledger

    async def _read_ledger(self) -> None:
        self._ledger = (await self._ledgers.at(self._position)).writer.state


class _Later:
    """Stands for something that is read when it is used."""

    def __init__(self, missing: NotRead) -> None:
        self._missing = missing

    def __getattr__(self, name: str) -> Any:
        raise self._missing

    def __len__(self) -> int:
        raise self._missing
