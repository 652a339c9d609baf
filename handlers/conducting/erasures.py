"""Keys that outlive their servers for some time, as the operator wants it: then what was sealed for them is erased.

Several conductors may run, and any may die: whoever starts looks at all keys that are there.
"""

import logging
from datetime import datetime
from itertools import islice

from domain.errors import LightcurveError, OutOfOrder
from domain.log.record import Recorded
from domain.server.deletion import ServerDeleted
from domain.server.state import DELETED, Server
from handlers.conducting.keys import Keys
from handlers.conducting.leftovers import MAX_ASKED, ReadServers
from handlers.conducting.states import ServerStates
from handlers.context import Stamp

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
"""Between two looks whether something is due."""


class Erasures:
    """Erases what was sealed for servers that are gone, in its time."""

    def __init__(self, states: ServerStates, keys: Keys, stamp: Stamp, servers: ReadServers) -> None:
        self._states = states
        self._keys = keys
        self._stamp = stamp
        self._servers = servers
        self._due: dict[str, datetime] = {}
        """When, by server; the earliest first, but for those of before the start."""

    def take(self, recorded: Recorded, state: Server | None) -> None:
        """A server's event: once it is deleted its key has so long to live. The state need not be known."""
        if self._keys.kept and isinstance(recorded.event, ServerDeleted) and (state is None or state.has_key):
            self._due[recorded.aggregate.id] = recorded.meta.time + self._keys.kept

    async def run(self) -> None:
        """Erase until cancelled; or, where no key outlives its server, what is left over from before."""
        while not await self._note_kept():
            await self._stamp.clock.sleep(LOOK_SECONDS)
        while await self.sweep() or self._keys.kept:
            await self._stamp.clock.sleep(LOOK_SECONDS)

    async def sweep(self) -> int:
        """Erase what is due; returns how many are still to come."""
        now = self._stamp.clock.now()
        for server_id in [server_id for server_id, due in self._due.items() if due <= now]:
            try:
                server = await self._states.get(server_id)
                if server and server.vm_state == DELETED and server.has_key:
                    await self._keys.erase(self._stamp.own_context(), server_id)
                    log.info("what was sealed for server %s is erased", server_id)
                del self._due[server_id]
            except LightcurveError as error:
                log.warning("what was sealed for server %s is not erased yet: %s", server_id, error)
        return len(self._due)

    async def _note_kept(self) -> bool:
        """Note the keys of servers that were gone before the start; False if that cannot be told yet."""
        try:
            owners = iter(await self._keys.owners())
            while asked := list(islice(owners, MAX_ASKED)):
                living, _ = await self._servers.living(asked)
                for server_id in asked:
                    if server_id not in living:
                        await self._note(server_id)
        except LightcurveError as error:
            log.info("it is not known yet which keys have outlived their servers: %s", error)
            return False
        return True

    async def _note(self, server_id: str) -> None:
        """The read model may be behind: the log tells."""
        try:
            server = await self._states.get(server_id)
        except OutOfOrder as error:
            log.error("the key of server %s is kept: %s", server_id, error)
            return
        if server and server.vm_state == DELETED and server.terminated_at:
            self._due[server_id] = server.terminated_at + self._keys.kept
