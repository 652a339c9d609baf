"""What the storm says of live migrations that are under way."""

from functools import partial
from random import Random

from domain.server.moves import steering
from domain.server.moves.course import MIGRATING
from domain.server.moves.migration import Migration
from domain.server.moves.orders import ABORT, FORCE_COMPLETE, Policy
from domain.server.moves.steering import Which
from handlers.context import Context
from handlers.servers.servers import Servers
from projections.memory import MemoryRows
from projections.migrations import LAST
from projections.servers import TABLE

SHORT: tuple[Policy | None, ...] = (None, ABORT, FORCE_COMPLETE)
"""Who is told in the middle to keep trying, and cannot, tries for a day: no storm lasts so long. So does one that has
kept trying and is given no other time, which the API does not do."""


def under_way(rows: MemoryRows) -> list[Migration]:
    """Those of servers that are on their way."""
    servers = (row.id for row in rows.all(TABLE) if row.task_state == MIGRATING)
    return [migration for server_id in servers if (migration := rows.get(LAST, (server_id,)))]


async def steer(servers: Servers, context: Context, migration: Migration, random: Random) -> None:
    """Say something of one of them."""
    which = Which(migration.id, migration.uuid, migration.status)
    choice = random.random()
    if choice < 0.4:
        waiting_too = random.random() < 0.7
        decide = partial(steering.abort, migration=which, waiting_too=waiting_too)
        await servers.change(context, migration.server_id, decide)
    elif choice < 0.75:
        decide_so = partial(steering.force_complete, migration=which)
        await servers.change(context, migration.server_id, decide_so)
    else:
        policy, seconds = random.choice(SHORT), random.choice((1.0, 300.0, 1800.0))
        await servers.steer(context, migration.server_id, which, policy, seconds)
