"""Gives back what nobody holds any more: a process may die between taking something and recording why.

Whoever holds a claim, an address or quota is looked up in the log once, after a grace period. A server that is
gone gives it back; one that was never requested is closed first, so that a late request cannot come to life.
"""

import asyncio
import logging

from domain.errors import LightcurveError, not_found
from domain.record import Recorded
from domain.server import decide
from domain.server.events import ServerDeleted, ServerFailed
from domain.server.state import DELETED, ERROR
from handlers.context import Stamp
from handlers.holdings import Holdings
from handlers.server_states import ServerStates

log = logging.getLogger(__name__)

SWEEP_SECONDS = 15.0
GRACE_SECONDS = 60.0
"""Longer than any request takes from reserving quota to recording the server."""


class Leftovers:
    """Watches what is held in one cell."""

    def __init__(self, states: ServerStates, holdings: Holdings, stamp: Stamp) -> None:
        self._states = states
        self._holdings = holdings
        self._stamp = stamp
        self._first_seen: dict[str, float] = {}
        self._verified: set[str] = set()
        """Holders known to be alive; one that ends is looked at again."""

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            await self._stamp.clock.sleep(SWEEP_SECONDS)
            await self.sweep()

    def take(self, recorded: Recorded) -> None:
        """A server's event: one that ended must hold nothing."""
        if isinstance(recorded.event, ServerDeleted | ServerFailed):
            self._verified.discard(recorded.aggregate.id)

    async def sweep(self) -> None:
        """Look up every holder that has been there for the grace period."""
        now = asyncio.get_running_loop().time()
        holders = self._holders()
        self._verified &= holders.keys()
        self._first_seen = {
            server_id: self._first_seen.get(server_id, now) for server_id in holders.keys() - self._verified
        }
        for server_id, since in list(self._first_seen.items()):
            if now - since >= GRACE_SECONDS:
                try:
                    await self._verify(server_id, holders[server_id])
                except LightcurveError as error:
                    log.warning("holder %s could not be verified yet: %s", server_id, error)

    def _holders(self) -> dict[str, str]:
        """Server ids, with the project where it is known."""
        cell, registry = self._holdings.cell, self._holdings.registry
        claims = self._holdings.ledger.state.claims.values()
        # Without an epoch it is a claim of somebody else's, made over the Placement API.
        holders = {claim.consumer_id: claim.project_id for claim in claims if claim.epoch}
        for network in registry.all("network"):
            holders |= {port.server_id: port.project_id for port in network.ports.values() if port.cell == cell}
        for project_id, quota in registry.states("quota"):
            holders |= {
                server_id: project_id
                for server_id, reservation in quota.reservations.items()
                if reservation.cell == cell
            }
        return holders

    async def _verify(self, server_id: str, project_id: str) -> None:
        context = self._stamp.own_context()
        server, _ = await self._states.execute(context, server_id, lambda state: decide.abandon(state, server_id))
        if server is None:
            raise not_found("Instance", server_id)
        if server.vm_state == DELETED:
            log.warning("giving back what server %s left behind", server_id)
            if server.abandoned:
                await self._holdings.release_quota(context, project_id, server_id)
            else:
                await self._holdings.release_all(context, server)
        elif server.vm_state == ERROR and server.host is None:
            await self._holdings.release_claim(context, server_id)
            await self._holdings.release_addresses(context, server)
        self._verified.add(server_id)
