"""How servers leave a host: each is asked to move, and is waited for, by what the log says of it.

Each of it is an action like those that users ask for. Whoever is killed on the way and begins again goes on: what is
on its way is waited for, and what has left is on the host no more.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import NamedTuple

import msgspec

from domain.errors import Refused
from domain.log.kind import advance
from domain.log.record import Recorded, Tail
from domain.placement.scheduling import NO_VALID_HOST
from domain.server.fold import KIND
from domain.server.moves.cold import MIGRATE
from domain.server.moves.live import LIVE_MIGRATE
from domain.server.moves.move import EVACUATION
from domain.server.moves.orders import Policy
from domain.server.state import DELETED, Server, aggregate
from handlers.accepted import Accepted
from handlers.cells import Cells
from handlers.context import Context, Stamp
from handlers.ports import EventStore
from handlers.servers.requests import Evacuation
from handlers.servers.servers import Servers

CONFIRM_SECONDS = 1.0
"""After which a cold migration counts as confirmed: nobody is there to say so."""


class Left(NamedTuple):
    """How it went with one server."""

    id: str
    name: str
    to: str | None
    """The host where it is now; None if it is where it was, or gone."""
    how: str
    reason: str = ""
    """Why it is where it was."""


class Watched:
    """Servers as the log has them now."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._known: dict[str, tuple[Server | None, Tail]] = {}
        self._news: dict[str, asyncio.Event] = {}
        self._stale: set[str] = set()
        """Those of which something was heard while they were read."""

    @asynccontextmanager
    async def following(self, store: EventStore) -> AsyncIterator[None]:
        """What happens meanwhile is heard."""
        after = await store.last_position()
        task = asyncio.create_task(self._follow(store, after))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self, store: EventStore, after: int) -> None:
        async with aclosing(store.follow(after, KIND.name)) as batches:  # type: ignore[type-var]
            async for batch in batches:
                for recorded in batch:
                    self._take(recorded)

    def _take(self, recorded: Recorded) -> None:
        server_id = recorded.aggregate.id
        if server_id not in self._news:
            return
        known = self._known.get(server_id)
        if known is None:
            self._stale.add(server_id)
        elif recorded.follows(known[1]):
            self._known[server_id] = advance(KIND, known[0], recorded), recorded.tail
        elif recorded.version > known[1].version:
            del self._known[server_id]
        self._news[server_id].set()

    async def of(self, server_id: str) -> Server | None:
        """The server; None if it is gone. Raises Unavailable."""
        self._news.setdefault(server_id, asyncio.Event())
        while server_id not in self._known:
            self._stale.discard(server_id)
            cell = await self._cells.of(server_id)
            known = await cell.servers.load(aggregate(server_id))
            if server_id not in self._stale:
                self._known[server_id] = known
        server = self._known[server_id][0]
        return None if server is None or server.vm_state == DELETED else server

    def position(self, server_id: str) -> int:
        """Of its newest event, as far as that is known here."""
        return self._known[server_id][1].position

    async def end(self, server_id: str, since: int = 0) -> Server | None:
        """The server, once nothing is under way, and something has happened to it at the position ``since`` or behind
        it; None if it is gone."""
        while (server := await self.of(server_id)) is not None:
            if self.position(server_id) >= since and at_rest(server):
                break
            await self._news[server_id].wait()
            self._news[server_id].clear()
        return server


def at_rest(server: Server) -> bool:
    """Whether nothing is under way that ends by itself."""
    return server.action is None and (server.move is None or server.move.confirm_at is None)


class Leaving:
    """Has servers leave one host."""

    def __init__(
        self, host: str, servers: Servers, watched: Watched, stamp: Stamp, alive: Policy, seconds: float
    ) -> None:
        """A migration of what runs has so much time, and ends as ``alive`` says if that is over."""
        self._host = host
        self._servers = servers
        self._watched = watched
        self._stamp = stamp
        self._policy = alive
        self._seconds = seconds

    async def evacuate(self, server_id: str) -> Left | None:
        """Have it made anew elsewhere; None if it was on the host no more. Raises Unavailable."""
        server = await self._watched.of(server_id)
        if server is None or server.host != self._host:
            return None
        position = 0
        if server.move is None or server.move.kind != EVACUATION:
            try:
                accepted = await self._servers.evacuate(
                    self._context(), server_id, Evacuation(), lambda name: name == self._host
                )
            except Refused as refusal:
                return Left(server_id, server.name, None, "evacuated", refusal.message)
            position = accepted.position
        return self._outcome(server, await self._watched.end(server_id, position), "evacuated")

    async def drain(self, server_id: str) -> Left | None:
        """Have it move: alive if that can be, else powered off meanwhile. None if it was on the host no more. Raises
        Unavailable."""
        server = await self._watched.end(server_id)
        if server is None or server.host != self._host:
            return None
        left = Left(server_id, server.name, None, "not moved", f"A server that is {server.vm_state} is not moved.")
        for how, ask in (("live", self._alive), ("cold", self._off)):
            allowed = {"live": LIVE_MIGRATE, "cold": MIGRATE}[how].allowed
            if server.vm_state not in allowed or NO_VALID_HOST in left.reason:
                continue
            try:
                accepted = await ask(server_id)
            except Refused as refusal:
                left = left._replace(how=how, reason=refusal.message)
                continue
            now = await self._watched.end(server_id, accepted.position)
            left = self._outcome(server, now, how)
            if now is None or left.to:
                break
            server = now
        return left

    async def _alive(self, server_id: str) -> Accepted:
        return await self._servers.live_migrate(self._context(), server_id, None, self._seconds, self._policy)

    async def _off(self, server_id: str) -> Accepted:
        return await self._servers.migrate(self._context(), server_id, None, CONFIRM_SECONDS)

    def _outcome(self, before: Server, now: Server | None, how: str) -> Left:
        if now is None:
            return Left(before.id, before.name, None, "deleted")
        if now.host != self._host:
            return Left(now.id, now.name, now.host, how)
        fault = now.fault
        reason = f"{fault.message} {fault.details}".strip() if fault else "It came to nothing."
        return Left(now.id, now.name, None, how, reason)

    def _context(self) -> Context:
        return msgspec.structs.replace(self._stamp.own_context(), roles=("admin",))
