"""All of one cell's conducting, put together: what a conductor's process runs, and what the simulation runs."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from domain.catalogue import quota, server_group
from domain.fleet import host
from domain.fleet.host import HostForcedDown, HostForgotten
from domain.log.kind import Kind
from domain.log.record import Recorded
from domain.neighbours import image, network
from handlers.conducting.conductor import Conductor
from handlers.conducting.erasures import Erasures
from handlers.conducting.holdings import Holdings
from handlers.conducting.keys import AT_ONCE, Keys
from handlers.conducting.leftovers import Leftovers, ReadServers
from handlers.conducting.reports import Reports
from handlers.conducting.states import ServerStates
from handlers.consoles.consoles import Consoles
from handlers.consoles.lost_proxies import LostProxies, OpenConsoles
from handlers.context import Stamp
from handlers.fleet.hosts import Hosts
from handlers.fleet.liveness import LifeSigns, keep_beating
from handlers.fleet.refusals import Refusals
from handlers.host.image_tickets import ImageTickets
from handlers.log.disorder import Disorder
from handlers.log.ledger_feed import LedgerFeed
from handlers.log.registry import Registry
from handlers.neighbours.images import EmbeddedImages
from handlers.neighbours.networks import EmbeddedNetworks
from handlers.ports import CommandBus, EventStore, Liveness, Vault
from handlers.together import together


class Conducting:
    """Follows the cell, answers its hosts' reports, sees to leftovers and to lost proxies. Several may run."""

    def __init__(
        self,
        *,
        store: EventStore,
        api_store: EventStore,
        bus: CommandBus,
        liveness: Liveness,
        vault: Vault,
        stamp: Stamp,
        read_servers: ReadServers,
        open_consoles: OpenConsoles,
        refusals: Refusals | None = None,
        tickets: ImageTickets | None = None,
        keys_kept: timedelta = AT_ONCE,
    ) -> None:
        """``keys_kept`` is how long what was sealed for a server can still be read when it is deleted."""
        self._bus = bus
        self._liveness = liveness
        self._stamp = stamp
        self._open_consoles = open_consoles
        self._grants = Consoles(store, bus, stamp)
        self._disorder = Disorder()
        kinds: list[Kind[Any]] = [quota.KIND, server_group.KIND, network.KIND, image.KIND]
        self._registry = Registry(api_store, stamp, kinds, self._disorder)
        self._host_registry = Registry(store, stamp, [host.KIND], self._disorder)
        self._feed = LedgerFeed(store, stamp, self._disorder, saves_snapshots=True)
        self._life = LifeSigns(liveness, stamp.clock)
        states = ServerStates(store, stamp, self._disorder)
        hosts = Hosts(self._host_registry)
        networks = EmbeddedNetworks(self._registry)
        keys = Keys(vault, store, stamp, keys_kept)
        holdings = Holdings(store.cell, self._feed.writer, self._registry, networks, keys)
        self._erasures = Erasures(states, keys, stamp, read_servers)
        self._leftovers = Leftovers(states, holdings, stamp, read_servers)
        self._registry.listen(self._leftovers.take_holding)
        networks.listen(store.cell, self._leftovers.take_address)
        self._conductor = Conductor(
            store,
            states,
            holdings,
            hosts,
            self._life.host_up,
            bus,
            stamp,
            read_servers,
            self._leftovers,
            EmbeddedImages(self._registry, stamp),
            tickets,
            self._erasures.take,
        )
        self._host_registry.listen(self._take_host)
        self._refusals = refusals or Refusals()
        self._reports = Reports(states, self._conductor, holdings, hosts, self._refusals, stamp.clock)

    def _take_host(self, recorded: Recorded) -> None:
        if isinstance(recorded.event, HostForcedDown | HostForgotten):
            self._conductor.see_to_those_of(recorded.aggregate.id)

    async def run(self, name: str, on_ready: Callable[[], None]) -> None:
        """Work until cancelled. ``name`` is that of the process, for its signs of life."""
        own = f"conductor/{name}"
        lost_proxies = LostProxies(self._open_consoles, self._grants, self._life, self._stamp, own)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._registry.run())
            group.create_task(self._host_registry.run())
            group.create_task(self._feed.run(self._leftovers.take_holding))
            group.create_task(self._life.run())
            await together(self._registry.ready(), self._host_registry.ready(), self._feed.ready())
            group.create_task(self._conductor.run())
            group.create_task(self._leftovers.run())
            group.create_task(self._erasures.run())
            group.create_task(self._bus.serve_reports(self._reports.handle))
            group.create_task(lost_proxies.run())
            facts = (self._disorder.facts, self._refusals.facts, self._conductor.attention.load)
            group.create_task(keep_beating(self._liveness, self._stamp.clock, own, *facts))
            on_ready()
