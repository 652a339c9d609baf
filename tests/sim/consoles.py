"""The console proxy of a simulated cell, with its viewers."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from adapters.memory.commands import MemoryCommandBus
from adapters.memory.signs import MemoryLiveness
from domain.errors import LightcurveError
from domain.server.state import Server
from handlers.consoles.consoles import Consoles
from handlers.consoles.lost_proxies import OpenConsole, life_sign
from handlers.consoles.sessions import Doorkeeper, Session
from handlers.fleet.liveness import keep_beating
from handlers.messages import ConsoleAddress
from projections.console_sessions import TABLE, ConsoleSessionRow
from projections.memory import MemoryRows
from projections.servers import TABLE as SERVERS
from projections.servers import decoder
from tests.sim.faults import ProcessFaults

if TYPE_CHECKING:
    from tests.sim.world import World

CELL = "cell1"
VIEWS = (1.0, 20.0, 300.0)
"""How many seconds a viewer looks, at the most."""
BETWEEN_VIEWS = 30.0
"""How many seconds pass between two viewers, at the most."""


class Screens(Consoles):
    """Simulated hosts have nothing to show; here that does not matter."""

    async def address(self, server: Server, console_type: str) -> ConsoleAddress:
        return ConsoleAddress(host="192.0.2.1", port=5900)


class OpenConsolesIn:
    """What conductors ask of the projection."""

    def __init__(self, rows: MemoryRows) -> None:
        self._rows = rows

    async def console_proxies(self) -> list[str]:
        return sorted({row.proxy for row in self._open()})

    async def consoles_of(self, proxy: str) -> list[OpenConsole]:
        return [OpenConsole(row.grant_id, row.session_id) for row in self._open() if row.proxy == proxy]

    def _open(self) -> list[ConsoleSessionRow]:
        return [row for row in self._rows.all(TABLE) if row.closed_at is None]


async def view_consoles(world: "World", faults: ProcessFaults) -> None:
    """Run a proxy, at which viewers come and go as long as the storm lasts."""
    store = world.store(CELL, faults)
    consoles = Screens(store, MemoryCommandBus(world.broker, CELL, faults), world.stamp)
    proxy = f"console/{world.stamp.ids.uuid()}"
    doorkeeper = Doorkeeper(store, consoles, world.stamp, lambda *_: True, proxy)
    liveness = MemoryLiveness(world.broker, CELL, faults)
    async with asyncio.TaskGroup() as group:
        group.create_task(doorkeeper.run())
        group.create_task(keep_beating(liveness, world.clock, life_sign(proxy)))
        while world.weather.stormy:
            await asyncio.sleep(world.random.random() * BETWEEN_VIEWS)
            group.create_task(_view(world, consoles, doorkeeper))


async def _view(world: "World", consoles: Consoles, doorkeeper: Doorkeeper) -> None:
    rows = [row for row in world.rows.all(SERVERS) if not row.deleted and row.launched_at]
    if not rows:
        return
    server = decoder.decode(world.random.choice(rows).state)
    cut, seconds = asyncio.Event(), world.random.random() * world.random.choice(VIEWS)
    with suppress(LightcurveError, TimeoutError):
        session = Session(await consoles.issue(world.context(), server, "novnc"), "192.0.2.2")
        async with doorkeeper.admitted(session), asyncio.timeout(seconds):
            session.on_cut(cut.set)
            await cut.wait()
