"""What a server holds beside its own events: claim, addresses, quota, key. Taking them and giving them back."""

import asyncio
from collections.abc import Iterable, Mapping
from uuid import UUID, uuid5

from domain import ledger, network, quota
from domain.guest import Nic
from domain.ledger import Claimed, Ledger
from domain.scheduling import HostView, Wanted, place
from domain.server.state import Server
from handlers.context import Context
from handlers.group_writer import GroupWriter
from handlers.ports import Vault
from handlers.registry import Registry


class Holdings:
    """Each operation is idempotent, so that whoever died in between can be followed by another."""

    def __init__(self, cell: str, ledger_writer: GroupWriter[Ledger], registry: Registry, vault: Vault) -> None:
        self.cell = cell
        self.ledger = ledger_writer
        self.registry = registry
        self._vault = vault

    async def claim(self, context: Context, hosts: Mapping[str, HostView], wanted: Wanted) -> Claimed:
        """Choose a host and take its resources, in one event. Raises NoCapacity."""

        def decide(state: Ledger) -> tuple[Claimed, ...]:
            claim = place(state, hosts, wanted)
            return () if state.claims.get(wanted.server_id) is claim else (claim,)

        changes, _ = await self.ledger.submit(context, decide)
        claim = changes[0] if changes else self.ledger.state.claims[wanted.server_id]
        assert isinstance(claim, Claimed)
        return claim

    async def allocate_addresses(self, context: Context, server: Server) -> tuple[Nic, ...]:
        """A port for each interface that the server asked for. Raises Refused where a network has no more."""
        return tuple(await asyncio.gather(*(self._allocate(context, server, i) for i in range(len(server.networks)))))

    async def _allocate(self, context: Context, server: Server, index: int) -> Nic:
        wanted = server.networks[index]
        writer: GroupWriter[network.Network] = self.registry.writer(network.aggregate(wanted.network_id))
        port_id = str(uuid5(UUID(server.id), f"port-{index}"))
        await writer.submit(
            context,
            lambda state: network.allocate(
                state,
                port_id=port_id,
                server_id=server.id,
                cell=self.cell,
                project_id=server.project_id,
                index=index,
                ip_address=wanted.fixed_ip,
                request_id=context.request_id,
            ),
        )
        return writer.state.nic(writer.state.ports[port_id])

    async def release_claim(self, context: Context, server_id: str) -> None:
        """Give back the server's resources."""
        await self.ledger.submit(context, lambda state: ledger.release(state, server_id, context.request_id))

    async def release_addresses(self, context: Context, server: Server) -> None:
        """Give back the server's addresses."""
        await asyncio.gather(
            *(
                self.registry.writer(network.aggregate(network_id)).submit(
                    context,
                    lambda state: network.release(state, server.id, len(server.networks), context.request_id),
                )
                for network_id in {request.network_id for request in server.networks}
            )
        )

    async def release_quota(self, context: Context, project_id: str, server_id: str) -> None:
        """Let the server count no longer."""
        await self.registry.writer(quota.aggregate(project_id)).submit(
            context, lambda state: quota.release(state, server_id, context.request_id)
        )

    async def release_all_of(
        self, context: Context, server_id: str, project_id: str, networks: Iterable[str]
    ) -> None:
        """Give back everything of a server of which no event tells (any more) what it holds. ``networks`` are the ids
        of those in which it may have ports."""
        await asyncio.gather(
            self.release_claim(context, server_id),
            self.release_quota(context, project_id, server_id),
            *(self._release_ports(context, network_id, server_id) for network_id in networks),
        )
        await self.destroy_key(server_id)

    async def _release_ports(self, context: Context, network_id: str, server_id: str) -> None:
        def release(state: network.Network) -> tuple[network.PortDeleted, ...]:
            count = max((port.index + 1 for port in state.ports.values() if port.server_id == server_id), default=0)
            return network.release(state, server_id, count, context.request_id)

        await self.registry.writer(network.aggregate(network_id)).submit(context, release)

    async def release_all(self, context: Context, server: Server) -> None:
        """Give back everything, and destroy the key of what was sealed for it."""
        await asyncio.gather(
            self.release_claim(context, server.id),
            self.release_addresses(context, server),
            self.release_quota(context, server.project_id, server.id),
        )
        if server.has_key:
            await self.destroy_key(server.id)

    async def destroy_key(self, server_id: str) -> None:
        """Erase for ever what was sealed for the server, if anything was."""
        await self._vault.destroy(server_id)
