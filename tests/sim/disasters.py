"""Hosts that die, or seem to: killed, cut off while their guests run on, declared dead by mistake; and are back."""

import asyncio
from datetime import datetime

from domain.errors import LightcurveError, Refused
from domain.log.kind import fold
from domain.server.fold import KIND
from domain.server.state import Server, aggregate
from handlers.servers.requests import Evacuation
from projections.servers import TABLE
from tests.sim.world import CELL, World

AGES = (1.0, 30.0, 200.0, 2500.0)
"""Seconds that a host may be away."""


async def strike(world: World) -> None:
    """One host is out of reach, or declared dead, or both; some of its servers are evacuated; some day it is back."""
    random = world.random
    host = random.choice(list(world.hypervisors))
    if host in world.struck:
        return
    world.struck.add(host)
    kind = random.choice(("killed", "cut off", "declared"))
    process = world.agent_of(host)
    if kind == "killed":
        await process.kill()
    elif kind == "cut off":
        process.cut_off(away=True)
    if kind == "declared" or random.random() < 0.6:
        await _say(world, host, dead=True)
    else:
        await asyncio.sleep(random.choice((0.0, 25.0)))
        world.silent.add(host)
    age = random.choice(AGES)
    for _ in range(3):
        # Some were being built, or were at something else, when they were asked for first.
        await _evacuate_some(world, host)
        await asyncio.sleep(age / 3)
    if random.random() < 0.15:
        world.lost.add(host)
        await _say(world, host, dead=True)
        if kind == "declared":
            await process.kill()
        await _forget(world, host)
        return
    await bring_back(world, host)


async def _forget(world: World, host: str) -> None:
    """Until it is heard."""
    while True:
        try:
            await (await world.hosts()).forget(world.context(), host)
        except LightcurveError:
            await asyncio.sleep(1.0)
        else:
            return


async def bring_back(world: World, host: str) -> None:
    """It takes part again."""
    world.silent.discard(host)
    process = world.agent_of(host)
    process.cut_off(away=False)
    if process.faults.dead:
        process.start()
    await _say(world, host, dead=False)
    world.struck.discard(host)


async def _evacuate_some(world: World, host: str) -> None:
    (servers, _), random = await world.api(), world.random
    for row in list(world.rows.all(TABLE)):
        if row.host == host and not row.deleted and random.random() < 0.7:
            wanted = Evacuation(
                host=random.choice((None, None, *world.hypervisors)), admin_pass="new", stopped=random.random() < 0.3
            )
            try:
                await servers.evacuate(world.context(), row.id, wanted, world.is_dead)
            except LightcurveError:
                continue


async def _say(world: World, host: str, *, dead: bool) -> None:
    """Until it is heard: who declares a host dead, or alive, looks whether it is so."""
    while True:
        hosts = await world.hosts()
        try:
            await (hosts.force_down if dead else hosts.let_up)(world.context(), host)
        except Refused:
            return  # it was never here
        except LightcurveError:
            await asyncio.sleep(1.0)
        else:
            (world.declared.add if dead else world.declared.discard)(host)
            return


async def zombies(world: World, host: str, began: datetime) -> list[str]:
    """Guests that run on a host though they were made anew elsewhere before its agent began."""
    found = []
    for guest in await world.hypervisors[host].guests():
        history = await world.store(CELL).load(aggregate(guest.server_id))
        server = fold(KIND, [recorded for recorded in history if recorded.meta.time < began])
        if isinstance(server, Server) and any(
            (left.place.host, left.place.epoch) == (host, guest.epoch) for left in server.remains
        ):
            found.append(f"{host} takes part, and has what is left of server {guest.server_id}")
    return found
