"""``lightcurve placement check``: the ledger's promises, proved on the live system from its log.

The sums by provider and by consumer agree; nothing is claimed beyond a capacity; no claim is of a server that is
gone, or for another host or assignment than the server's own events say.
"""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, suppress

from domain.errors import OutOfOrder, Refused
from domain.log.kind import advance, fold
from domain.log.record import GENESIS, Tail
from domain.placement import ledger
from domain.placement.ledger import Claimed, Ledger, imbalances
from domain.server import fold as server_fold
from domain.server.state import DELETED, RESIZED, Server, aggregate
from handlers.ports import EventStore
from handlers.together import together
from ops.roles.plane import COMMAND_SECONDS, Plane, open_plane
from ops.settings import Settings

AT_ONCE = 64
"""Servers read at a time."""
READ_INSTEAD = 10
"""Events that are read in their order in the time in which one server is looked up: a log that has fewer a claim is
read as a whole."""
SECOND_LOOK_SECONDS = 2.0
"""A server on its way between two states may look wrong for a moment: what is found is looked at again."""


async def check(settings: Settings) -> None:
    """Print what was proved. Raises Refused with every finding."""
    async with open_plane(settings, "placement-check", COMMAND_SECONDS) as plane:
        book, found = await _findings(plane)
        if found:
            await asyncio.sleep(SECOND_LOOK_SECONDS)
            book, again = await _findings(plane)
            found = [finding for finding in again if finding in set(found)]
    if found:
        raise Refused("ledger.unsound", "the ledger is not sound:\n  " + "\n  ".join(found))
    servers = sum(1 for claim in book.claims.values() if claim.epoch)
    print(
        f"The ledger is sound: {len(book.providers)} providers, {len(book.claims)} consumers "
        f"({servers} of them servers)."
    )


async def _findings(plane: Plane) -> tuple[Ledger, list[str]]:
    history = await plane.store.load(ledger.aggregate(plane.settings.cell))
    book = fold(ledger.KIND, history) or Ledger()
    found = imbalances(book)
    claims = [claim for claim in book.claims.values() if claim.epoch]
    known: dict[str, Server] = {}
    if await plane.store.last_position() < READ_INSTEAD * len(claims):
        known = await _read_through(plane.store, {claim.consumer_id for claim in claims})
    unknown = [claim for claim in claims if claim.consumer_id not in known]
    for first in range(0, len(unknown), AT_ONCE):
        some = unknown[first : first + AT_ONCE]
        servers = await together(*(_server(plane.store, claim.consumer_id) for claim in some))
        for claim, server in zip(some, servers, strict=True):
            found += _misclaimed(claim, server)
    for claim in claims:
        if server := known.get(claim.consumer_id):
            found += _misclaimed(claim, server)
    return book, found


async def _read_through(store: EventStore, server_ids: set[str]) -> dict[str, Server]:
    """These servers, from one reading of the log; without those whose history has to be looked at more closely."""
    known: dict[str, tuple[Server | None, Tail]] = {}
    try:
        await _read(store, server_ids, known)
    except OutOfOrder:
        return {}  # what is wrong with the log is told when they are looked up one by one
    return {server_id: state for server_id, (state, _) in known.items() if state and server_id in server_ids}


async def _read(store: EventStore, server_ids: set[str], known: dict[str, tuple[Server | None, Tail]]) -> None:
    async with aclosing(store.follow(0, server_fold.KIND.name)) as batches:  # type: ignore[type-var]
        async for batch in batches:
            if not batch:
                break
            for recorded in batch:
                if (server_id := recorded.aggregate.id) not in server_ids:
                    continue
                state, tail = known.get(server_id, (None, GENESIS))
                with suppress(Exception):  # looked up alone it is told what is wrong
                    if recorded.follows(tail):
                        known[server_id] = advance(server_fold.KIND, state, recorded), recorded.tail
                        continue
                server_ids.discard(server_id)
                known.pop(server_id, None)


async def _server(store: EventStore, server_id: str) -> Server | None:
    return fold(server_fold.KIND, await store.load(aggregate(server_id)))


def _misclaimed(claim: Claimed, server: Server | None) -> Iterator[str]:
    """What is wrong with a server's claim, in words."""
    if server is None or server.vm_state == DELETED:
        yield f"consumer {claim.consumer_id} has a claim, but its server is gone"
        return
    hosts = ", ".join(claim.allocations)
    if server.is_nowhere:
        yield f"server {claim.consumer_id} is on no host, but claims {hosts}"
        return
    host_id = server.host_id
    if server.move and (server.action or server.vm_state != RESIZED):
        # Between two hosts: what it claims is the last target's that was tried, until it is settled.
        if claim.epoch > server.newest_epoch + 1:
            yield f"server {claim.consumer_id} claims {hosts} for assignment {claim.epoch}, which was never tried"
        return
    if host_id is not None and (host_id not in claim.allocations or server.newest_epoch != claim.epoch):
        yield (
            f"server {claim.consumer_id} is on {host_id} in its assignment {server.newest_epoch}, "
            f"but its claim is on {hosts} for assignment {claim.epoch}"
        )
