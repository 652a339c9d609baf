"""The keys of what was sealed for servers: destroying one is recorded.

It is recorded first. A process that dies in between leaves a key of which the log says that it is destroyed: that is
done again, then, by whoever finishes the deletion, or finds the key.
"""

from datetime import timedelta

from domain.server import erasure
from domain.server.erasure import Erasure
from handlers.context import Context, Stamp
from handlers.log.repository import NEVER_WAS, Repository
from handlers.ports import EventStore, Vault

AT_ONCE = timedelta(0)


class Keys:
    """The keys of one cell's servers."""

    def __init__(self, vault: Vault, store: EventStore, stamp: Stamp, kept: timedelta = AT_ONCE) -> None:
        """``kept`` is how long they outlive their servers."""
        self._vault = vault
        self._erasures: Repository[Erasure] = Repository(erasure.KIND, store, stamp)
        self.kept = kept

    async def erase(self, context: Context, server_id: str) -> None:
        """Make unreadable for ever what was sealed for a deleted server. Raises Unavailable."""
        aggregate = erasure.aggregate(server_id)
        await self._erasures.execute(context, aggregate, lambda state: erasure.decide(state, server_id), NEVER_WAS)
        await self.forget(server_id)

    async def forget(self, server_id: str) -> None:
        """Destroy the key, if there is one, of what never came into the log. Raises Unavailable."""
        await self._vault.destroy(server_id)

    async def owners(self) -> list[str]:
        """The servers that have a key. Raises Unavailable."""
        return await self._vault.owners()
