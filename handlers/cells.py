"""The cells whose servers this process speaks of."""

from domain.log.record import Recorded
from domain.server.fold import KIND
from domain.server.state import Server, aggregate
from handlers.accepted import Accepted, accepted
from handlers.context import Stamp
from handlers.log.repository import Repository
from handlers.ports import CommandBus, EventStore, Vault


class Cell:
    """What can be reached of one cell."""

    def __init__(
        self, store: EventStore, bus: CommandBus, vault: Vault, stamp: Stamp, *, seals_texts: bool = False
    ) -> None:
        """``seals_texts``: what comes into the log of a server that has a key is partly sealed with it."""
        self.name = store.cell
        self._store = store
        self.servers: Repository[Server] = Repository(KIND, store, stamp)
        self.bus = bus
        self.vault = vault
        self.seals_texts = seals_texts

    async def require_writable(self) -> None:
        """Raise Unavailable if its log takes nothing in: so that nothing is reserved for what cannot be requested."""
        await self._store.require_writable()

    def accepted(self, server_id: str, recorded: Recorded | None) -> Accepted:
        return accepted(self.name, aggregate(server_id), recorded)


class Cells:
    """Where each server is. There is one cell, so it is there; callers do not count on it."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    async def of(self, server_id: str) -> Cell:
        """The cell of a server, also of one that never was. Raises Unavailable while that cannot be told."""
        return self._cell

    async def for_new(self) -> Cell:
        """The cell for servers that are about to be requested. Raises Unavailable if none takes them in."""
        await self._cell.require_writable()
        return self._cell
