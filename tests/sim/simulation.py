"""One simulation: a storm of requests, faults and kills, then calm; at rest everything must be in order."""

import asyncio
from datetime import datetime

from domain.errors import LightcurveError
from domain.guest import PowerState
from domain.server import reset
from domain.server.actions.all import ACTIONS
from domain.server.actions.create_image import CREATE_IMAGE
from domain.server.actions.shelve import SHELVE
from domain.server.actions.unshelve import UNSHELVE
from domain.server.moves.all import ENDINGS, MOVES
from domain.server.moves.live import LIVE_MIGRATE
from domain.server.parts import NetworkRequest
from handlers.servers.guest_secrets import Secrets
from projections.servers import TABLE
from tests.new_servers import new_server
from tests.sim.arguments import ask
from tests.sim.checks import violations
from tests.sim.disasters import strike, zombies
from tests.sim.steering import steer, under_way
from tests.sim.virtual_time import run
from tests.sim.world import CELL, FLAVOR, GROUPS, NETWORK, World

STORM_ACTIONS = 25
LONG_WAYS = (*MOVES, CREATE_IMAGE, SHELVE, UNSHELVE)
EVERYTHING = (*ACTIONS, *MOVES, *ENDINGS, *LONG_WAYS)
"""What has a long way is asked for twice as often as other actions: more can go wrong on it."""
REST_SECONDS = 4500.0
"""Longer than every deadline, every grace period and every retry together."""
SILENCE_SECONDS = 150.0
"""Without an event: longer than a command waits until it is sent again for the first time."""
DAY_SECONDS = 86_400.0


async def _act(world: World) -> None:
    """One random request of a user, or one guest that changes by itself."""
    random = world.random
    servers, images = await world.api()
    rows = [row for row in world.rows.all(TABLE) if not row.deleted][-world.focus :]
    moving = under_way(world.rows)
    if moving and random.random() < 0.5:
        await steer(servers, world.context(), random.choice(moving), random)
        return
    choice = random.random()
    if not rows or choice < (0.4 if world.focus > 3 else 0.1):
        count = random.choice((1, 1, 1, 3))
        new = new_server(
            FLAVOR,
            networks=(NetworkRequest(network_id=NETWORK),) if random.random() < 0.7 else (),
            secrets=Secrets(admin_pass="secret") if random.random() < 0.2 else None,
            max_count=count,
            group=random.choice((None, None, *GROUPS)),
        )
        if random.random() < 0.05:
            await world.delete_group()
        await servers.create(world.context(), new)
        return
    row = random.choice(rows)
    server_id = row.id
    if random.random() < world.travels:
        await ask(servers, images, world.context(), server_id, LIVE_MIGRATE, random)
        return
    if choice < (0.6 if world.focus > 3 else 0.15):
        await servers.delete(world.context(), server_id)
    elif choice < 0.63:
        vm_state = random.choice(("active", "error"))
        await servers.change(world.context(), server_id, lambda server: reset.request(server, vm_state))
    elif choice < 0.96:
        fitting = [action for action in EVERYTHING if row.vm_state in action.allowed]
        action = random.choice(fitting if fitting and random.random() < 0.85 else EVERYTHING)
        await ask(servers, images, world.context(), server_id, action, random)
    else:
        for hypervisor in world.hypervisors.values():
            if server_id in hypervisor._guests:
                guest = hypervisor._guests[server_id]
                if guest.power_state is not PowerState.NOSTATE:
                    world.changed_by_itself.add(server_id)
                    hypervisor.happen(server_id, random.choice((PowerState.SHUTDOWN, PowerState.RUNNING)))


async def _request(world: World) -> None:
    try:
        await _act(world)
    except LightcurveError:
        # Refused, or the answer was lost: whatever happened, it must be in order at the end.
        return


async def _kill(world: World) -> None:
    await world.kill_one()


async def _look(world: World, host: str, began: datetime) -> None:
    """What must not be on a host has ended before it takes part."""
    if not world.hypervisors[host].behaviour["discard"].failure:
        world.found_early += await zombies(world, host, began)


async def _rest(world: World) -> None:
    """Until everything is in order and nothing happens; one world in ten waits for all that can ever be due."""
    left = REST_SECONDS
    told = -1
    patient = world.random.random() < 0.1
    while left > 0:
        await asyncio.sleep(SILENCE_SECONDS)
        left -= SILENCE_SECONDS
        before, told = told, await world.store(CELL).last_position()
        if told == before and not patient and not await violations(world):
            return


async def simulate(seed: int) -> list[str]:
    """Run one seed; returns what was not in order at the end."""
    world = World(seed)
    await world.found()
    for process in world.processes:
        process.start()
    tasks, disasters = [], []
    world.look = _look
    for _ in range(STORM_ACTIONS):
        tasks.append(asyncio.create_task(_request(world)))
        if world.random.random() < world.deadly:
            await _kill(world)
        if world.random.random() < world.disastrous:
            disasters.append(asyncio.create_task(strike(world)))
        await asyncio.sleep(world.random.random() * world.pause)
    world.weather.calm()
    await asyncio.gather(*disasters)
    for hypervisor in world.hypervisors.values():
        for behaviour in hypervisor.behaviour.values():
            behaviour.failure = 0.0
    await _rest(world)
    if world.lost and any(row.unfinished for row in world.rows.all(TABLE)):
        # A live migration from a host that is dead for ever may have a day.
        await asyncio.sleep(DAY_SECONDS + REST_SECONDS)
    for task in tasks:
        if not task.done():
            task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    found = [f"a request failed: {outcome!r}" for outcome in outcomes if isinstance(outcome, Exception)]
    found += world.found_early
    found += await violations(world)
    for process in world.processes:
        await process.kill()
    await world.broker.close()
    return found


def run_seed(seed: int) -> list[str]:
    """One seed on a virtual loop."""
    return run(simulate(seed))
