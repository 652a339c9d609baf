"""``lightcurve placement check``: the ledger's promises, proved on the live system from its log.

The sums by provider and by consumer agree; nothing is claimed beyond a capacity; no claim is of a server that is
gone, or for another host or assignment than the server's own events say.
"""

import asyncio
from collections.abc import Iterator

from domain import ledger
from domain.errors import Refused
from domain.kind import fold
from domain.ledger import Claimed, Ledger, imbalances
from domain.server import state as server_state
from domain.server.state import DELETED, Server
from ops.roles.plane import Plane, open_plane
from ops.settings import Settings

AT_ONCE = 64
"""Servers read at a time."""
SECOND_LOOK_SECONDS = 2.0
"""A server on its way between two states may look wrong for a moment: what is found is looked at again."""


async def check(settings: Settings) -> None:
    """Print what was proved. Raises Refused with every finding."""
    async with open_plane(settings, "placement-check") as plane:
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
    for first in range(0, len(claims), AT_ONCE):
        some = claims[first : first + AT_ONCE]
        servers = await asyncio.gather(*(_server(plane, claim.consumer_id) for claim in some))
        for claim, server in zip(some, servers, strict=True):
            found += _misclaimed(claim, server)
    return book, found


async def _server(plane: Plane, server_id: str) -> Server | None:
    return fold(server_state.KIND, await plane.store.load(server_state.aggregate(server_id)))


def _misclaimed(claim: Claimed, server: Server | None) -> Iterator[str]:
    """What is wrong with a server's claim, in words."""
    if server is None or server.vm_state == DELETED:
        yield f"consumer {claim.consumer_id} has a claim, but its server is gone"
        return
    hosts = ", ".join(claim.allocations)
    if server.host_id is not None and (server.host_id not in claim.allocations or server.epoch != claim.epoch):
        yield (
            f"server {claim.consumer_id} is on {server.host_id} in its assignment {server.epoch}, "
            f"but its claim is on {hosts} for assignment {claim.epoch}"
        )
