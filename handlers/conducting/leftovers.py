"""Gives back what nobody holds any more: a process may die between taking something and recording why.

Whoever takes a claim, an address or quota is noted, and after a grace period looked at once: in the read model, and
where that does not say that the server lives, in the log. A server that is gone gives it back; one that was never
requested is closed first, so that a late request cannot come to life. A sweep costs what is due, not what is held.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from domain.catalogue import quota
from domain.catalogue.quota import QuotaChanged, ReservationChanged, Reserved
from domain.errors import LightcurveError, OutOfOrder, Unavailable, not_found
from domain.log.record import Recorded
from domain.placement.ledger import Claimed, LedgerChanged
from domain.server import creation
from domain.server.creation import ServerFailed
from domain.server.deletion import ServerDeleted
from domain.server.moves import course
from domain.server.reset import ServerStateReset
from domain.server.state import DELETED, Server
from handlers.conducting.holdings import Holdings
from handlers.conducting.states import ServerStates
from handlers.context import Stamp
from handlers.neighbours import PortHolder

log = logging.getLogger(__name__)

SWEEP_SECONDS = 15.0
GRACE_SECONDS = 60.0
"""Longer than any request takes from reserving quota to recording the server."""
MAX_ASKED = 1000
"""Servers that the read model is asked about at once."""


class ReadServers(Protocol):
    """What a conductor asks the read model, which may be behind the log: each answer says for which position it
    holds."""

    async def unfinished(self) -> tuple[list[str], int]:
        """The ids of this cell's servers with an action under way. Raises Unavailable."""
        ...

    async def living(self, server_ids: Sequence[str]) -> tuple[set[str], int]:
        """Those of the servers that are there: neither deleted, nor failed before they were anywhere, nor put away
        without a host. Raises Unavailable."""
        ...


@dataclass(slots=True)
class _Holder:
    """A server that held something."""

    since: float
    """Loop time."""
    known_from: int
    """The position of the cell that an answer about it must not be behind."""
    project_id: str = ""
    networks: set[str] = field(default_factory=set)
    ended: bool = False
    """The log says so: the read model need not be asked."""


class Leftovers:
    """Watches what is held in one cell."""

    def __init__(self, states: ServerStates, holdings: Holdings, stamp: Stamp, servers: ReadServers) -> None:
        self._states = states
        self._holdings = holdings
        self._stamp = stamp
        self._servers = servers
        self._noted: dict[str, _Holder] = {}
        """The oldest first."""
        self._running = False
        self._position = 0
        """Of the newest event of a server that was taken."""

    async def run(self) -> None:
        """Sweep until cancelled. What is held already must be known by now."""
        self._running = True
        await self._note_all()
        while True:
            await self._stamp.clock.sleep(SWEEP_SECONDS)
            await self.sweep()

    def take(self, recorded: Recorded, state: Server | None) -> None:
        """A server's event: one that ended must hold nothing. A reset may have ended a creation."""
        self._position = recorded.position
        if isinstance(recorded.event, ServerDeleted | ServerFailed | ServerStateReset) or (
            state and state.is_nowhere
        ):
            before = self._noted.pop(recorded.aggregate.id, None)
            holder = self._note(recorded.aggregate.id, state.project_id if state else "")
            holder.ended = True
            holder.networks |= {request.network_id for request in state.networks} if state else set()
            if before is not None:
                # The state need not be known here; what was taken is.
                holder.project_id = holder.project_id or before.project_id
                holder.networks |= before.networks

    def take_holding(self, recorded: Recorded) -> None:
        """An event of the ledger or of a quota: whoever took something is looked at in time."""
        if not self._running:
            return  # what is held at the start is found by a look at everything
        event, cell = recorded.event, self._holdings.cell
        match event:
            case LedgerChanged():
                for change in event.changes:
                    # Without an epoch it is a claim of somebody else's, made over the Placement API.
                    if isinstance(change, Claimed) and change.epoch:
                        self._note(change.consumer_id, change.project_id)
            case QuotaChanged():
                for reserved in event.changes:
                    if isinstance(reserved, Reserved) and reserved.cell == cell:
                        self._note(reserved.server_id, recorded.aggregate.id)
                    elif isinstance(reserved, ReservationChanged) and self._counts(reserved, recorded.aggregate.id):
                        self._note_anew(reserved.server_id, recorded.aggregate.id)

    def _counts(self, changed: ReservationChanged, project_id: str) -> bool:
        held = self._holdings.registry.of(quota.KIND, project_id)
        reservation = held.reservations.get(changed.server_id) if held else None
        return reservation is not None and reservation.cell == self._holdings.cell

    def _note_anew(self, server_id: str, project_id: str) -> None:
        """It counts for more, or less, than before: whoever asked for it may have died before a move was recorded.
        That it lives is no answer, so the log is asked."""
        self._noted.pop(server_id, None)
        self._note(server_id, project_id).ended = True

    def take_address(self, holder: PortHolder) -> None:
        """A server has got an address: it is looked at in time, too."""
        if self._running:
            self._note_address(holder)

    async def _note_all(self) -> None:
        """Everything that is held now."""
        cell, registry = self._holdings.cell, self._holdings.registry
        for claim in self._holdings.ledger.state.claims.values():
            if claim.epoch:
                self._note(claim.consumer_id, claim.project_id)
        for project_id, held in registry.states("quota"):
            for server_id, reservation in held.reservations.items():
                if reservation.cell == cell:
                    self._note(server_id, project_id).ended = reservation.changed
        for holder in await self._holdings.networks.holders(cell):
            self._note_address(holder)

    def _note_address(self, holder: PortHolder) -> None:
        self._note(holder.server_id, holder.project_id).networks.add(holder.network_id)

    def _note(self, server_id: str, project_id: str) -> _Holder:
        holder = self._noted.get(server_id)
        if holder is None:
            now = asyncio.get_running_loop().time()
            holder = self._noted[server_id] = _Holder(now, self._position, project_id)
        holder.project_id = holder.project_id or project_id
        return holder

    async def sweep(self) -> None:
        """Look at every holder that was noted a grace period ago."""
        due_from = asyncio.get_running_loop().time() - GRACE_SECONDS
        due = [server_id for server_id, holder in self._noted.items() if holder.since <= due_from]
        for server_id in due:
            holder = self._noted.get(server_id)
            if holder and not await self._holds(server_id, holder):
                self._noted.pop(server_id, None)
        holding = [(server_id, self._noted[server_id].ended) for server_id in due if server_id in self._noted]
        doubtful = [server_id for server_id, ended in holding if ended]
        others = iter([server_id for server_id, ended in holding if not ended])
        while asked := list(islice(others, MAX_ASKED)):
            doubtful += await self._not_living(asked)
        for server_id in doubtful:
            await self._settle(server_id)

    async def _not_living(self, server_ids: list[str]) -> list[str]:
        """Those that the read model does not know to live. About whom its answer is too old it is asked later."""
        try:
            living, position = await self._servers.living(server_ids)
        except Unavailable as error:
            log.info("holders are looked at later: %s", error)
            return []
        missing = []
        for server_id in server_ids:
            holder = self._noted.get(server_id)
            if holder is None or holder.known_from > position:
                continue
            if server_id in living:
                del self._noted[server_id]
            else:
                missing.append(server_id)
        return missing

    async def _settle(self, server_id: str) -> None:
        holder = self._noted.get(server_id)
        if holder is None:
            return
        try:
            await self._verify(server_id, holder)
        except OutOfOrder as error:
            # What it was is not known for certain: it keeps what it holds, and the operator is told.
            log.error("holder %s keeps what it holds: %s", server_id, error)
            self._noted.pop(server_id, None)
        except LightcurveError as error:
            log.warning("holder %s could not be verified yet: %s", server_id, error)
        else:
            if self._noted.get(server_id) is holder:
                del self._noted[server_id]

    async def _holds(self, server_id: str, holder: _Holder) -> bool:
        """Whether it still holds anything, as far as can be told here and now: of one whose project is not known the
        log tells more."""
        if not holder.project_id:
            return True
        registry = self._holdings.registry
        claim = self._holdings.ledger.state.claims.get(server_id)
        if claim is not None and claim.epoch:
            return True
        held = registry.of(quota.KIND, holder.project_id)
        if held is not None and server_id in held.reservations:
            return True
        try:
            return await self._holdings.networks.holds(server_id, holder.networks)
        except Unavailable:
            return True

    async def _verify(self, server_id: str, holder: _Holder) -> None:
        context = self._stamp.own_context()
        server, _ = await self._states.execute(context, server_id, lambda state: creation.abandon(state, server_id))
        if server is None:
            raise not_found("Instance", server_id)
        if server.vm_state == DELETED:
            log.warning("giving back what server %s left behind", server_id)
            if server.abandoned:
                await self._holdings.release_all_of(context, server_id, holder.project_id, holder.networks)
            else:
                await self._holdings.release_all(context, server)
            return
        await self._holdings.settle_quota(context, server, course.flavors(server))
        if server.is_nowhere:
            await self._holdings.release_assignment(context, server)
        if server.never_came:
            await self._holdings.release_claim(context, server_id)
            await self._holdings.release_addresses(context, server)
