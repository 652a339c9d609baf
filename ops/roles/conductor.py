"""The conductor's process: follows the cell, answers the hosts' reports, sees to leftovers."""

import asyncio

from domain import host, network, quota
from handlers.conductor import Conductor
from handlers.holdings import Holdings
from handlers.hosts import Hosts
from handlers.ledger_feed import LedgerFeed
from handlers.leftovers import Leftovers
from handlers.liveness import LifeSigns, keep_beating
from handlers.registry import Registry
from handlers.reports import Reports
from handlers.server_states import ServerStates
from ops import notify
from ops.roles.plane import Plane, open_plane
from ops.settings import Settings
from projections.queries import Queries


class UnfinishedServers:
    """What a starting conductor asks the projection."""

    def __init__(self, queries: Queries, cell: str) -> None:
        self._queries = queries
        self._cell = cell

    async def unfinished(self) -> tuple[list[str], int]:
        """See handlers.conductor.Unfinished."""
        return await self._queries.unfinished(self._cell)


async def run(settings: Settings, name: str) -> None:
    """Work until cancelled."""
    queries = Queries(settings.database.url)
    await queries.open()
    try:
        async with open_plane(settings, name) as plane:
            await _work(plane, queries, name)
    finally:
        await queries.close()


async def _work(plane: Plane, queries: Queries, name: str) -> None:
    stamp, clock = plane.stamp, plane.stamp.clock
    registry = Registry(plane.api_store, stamp, [quota.KIND, network.KIND])
    host_registry = Registry(plane.store, stamp, [host.KIND])
    feed = LedgerFeed(plane.store, stamp, saves_snapshots=True)
    life = LifeSigns(plane.liveness, clock)
    states = ServerStates(plane.store, stamp)
    holdings = Holdings(plane.settings.cell, feed.writer, registry, plane.vault)
    hosts = Hosts(host_registry)
    leftovers = Leftovers(states, holdings, stamp)
    conductor = Conductor(
        plane.store,
        states,
        holdings,
        hosts,
        life.host_up,
        plane.bus,
        stamp,
        UnfinishedServers(queries, plane.settings.cell),
        leftovers,
    )
    reports = Reports(states, conductor, holdings, hosts)

    async with asyncio.TaskGroup() as group:
        group.create_task(registry.run())
        group.create_task(host_registry.run())
        group.create_task(feed.run())
        group.create_task(life.run())
        await asyncio.gather(registry.ready(), host_registry.ready(), feed.ready())
        group.create_task(conductor.run())
        group.create_task(leftovers.run())
        group.create_task(plane.bus.serve_reports(reports.handle))
        group.create_task(keep_beating(plane.liveness, clock, f"conductor/{name}", {}))
        notify.ready()
