"""``lightcurve holdings``: what servers hold, as JSON, folded from the log: for checks and for the worried."""

import json

from domain.catalogue import quota
from domain.log.kind import fold
from domain.neighbours import network
from domain.placement import ledger
from domain.placement.ledger import imbalances
from handlers.log.registry import Registry
from ops.roles.plane import COMMAND_SECONDS, open_plane
from ops.settings import Settings


async def show(settings: Settings) -> None:
    """Print claims by host, ports and reservations by server, and every imbalance."""
    async with open_plane(settings, "holdings", COMMAND_SECONDS) as plane:
        registry = Registry(plane.api_store, plane.stamp, [quota.KIND, network.KIND])
        await registry.read_once()
        book = fold(ledger.KIND, await plane.store.load(ledger.aggregate(settings.cell))) or ledger.Ledger()
    held = {
        "claims": {claim.consumer_id: claim.allocations for claim in book.claims.values()},
        "imbalances": imbalances(book),
        "ports": {port.server_id: port.ip_address for net in registry.all("network") for port in net.ports.values()},
        "reservations": {
            server_id: project_id for project_id, held in registry.states("quota") for server_id in held.reservations
        },
    }
    print(json.dumps(held, indent=2, sort_keys=True))
