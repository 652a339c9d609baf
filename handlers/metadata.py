"""What the metadata service knows of servers: present states in memory, secrets unsealed when they are asked for."""

import asyncio
from contextlib import aclosing

from domain.server.password import clear_password, set_password
from domain.server.state import DELETED, Server, aggregate
from handlers.accepted import Accepted
from handlers.cells import Cells
from handlers.conducting.states import ServerStates
from handlers.context import Context, Stamp
from handlers.ports import EventStore, Vault
from handlers.servers.guest_secrets import Secrets, unseal


class ServerFacts:
    """The servers of one cell, as current as the log was a moment ago."""

    def __init__(self, store: EventStore, vault: Vault, stamp: Stamp) -> None:
        self._store = store
        self._vault = vault
        self._states = ServerStates(store, stamp)
        self._following = asyncio.Event()

    async def run(self) -> None:
        """Follow the log until cancelled."""
        begin = await self._store.last_position()
        async with aclosing(self._store.follow(begin, "server")) as batches:  # type: ignore[type-var]
            async for batch in batches:
                for recorded in batch:
                    self._states.advance(recorded)
                self._following.set()

    async def ready(self) -> None:
        """Wait until changes are noticed."""
        await self._following.wait()

    async def server(self, server_id: str) -> Server | None:
        """A server that exists. Raises Unavailable."""
        return _existing(await self._states.get(server_id))

    async def present(self, server_id: str) -> Server | None:
        """A server that exists, with all that the log has of it at this moment. Raises Unavailable."""
        self._states.forget(server_id)
        return await self.server(server_id)

    async def secrets(self, server: Server) -> Secrets:
        """What was sealed for it; nothing once the key was destroyed. Raises Unavailable."""
        return await unseal(self._vault, server)


def _existing(server: Server | None) -> Server | None:
    return None if server is None or server.vm_state == DELETED else server


class Passwords:
    """What guests post as their administrators' passwords, for the owners of their SSH keys to read."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    async def read(self, server: Server) -> str:
        """What the guest posted; empty if nothing. Raises Unavailable."""
        sealed = server.sealed_password
        vault = (await self._cells.of(server.id)).vault
        opened = await vault.unseal(server.id, sealed) if sealed else None
        return (opened or b"").decode()

    async def post(self, context: Context, server_id: str, password: str) -> None:
        """Keep what the guest posts. Raises Refused (409) if there is one."""
        cell = await self._cells.of(server_id)
        sealed = await cell.vault.seal(server_id, password.encode())
        await cell.servers.execute(
            context, aggregate(server_id), lambda server: set_password(server, server_id, sealed)
        )

    async def clear(self, context: Context, server_id: str) -> Accepted:
        """Forget it, if there is one."""
        cell = await self._cells.of(server_id)
        _, recorded = await cell.servers.execute(
            context, aggregate(server_id), lambda server: clear_password(server, server_id)
        )
        return cell.accepted(server_id, recorded)
