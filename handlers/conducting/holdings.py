"""What a server holds beside its own events: claim, addresses, quota, key. Taking them and giving them back."""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from domain.catalogue import quota, server_group
from domain.catalogue.flavor import Flavor
from domain.guest import Nic
from domain.placement import ledger
from domain.placement.ledger import Claimed, Ledger
from domain.placement.moving import claim_target, settle
from domain.placement.scheduling import Demand, HostView, place
from domain.server.moves import course
from domain.server.state import Server
from handlers.conducting.keys import Keys
from handlers.context import Context
from handlers.log.group_writer import GroupWriter
from handlers.log.registry import Registry
from handlers.neighbours import Networks
from handlers.together import together


class Holdings:
    """Each operation is idempotent: where a process has died in the middle, the next one does all of it again."""

    def __init__(
        self, cell: str, ledger_writer: GroupWriter[Ledger], registry: Registry, networks: Networks, keys: Keys
    ) -> None:
        """``registry`` holds the quotas and the server groups."""
        self.cell = cell
        self.ledger = ledger_writer
        self.registry = registry
        self.networks = networks
        self._keys = keys

    async def claim(self, context: Context, hosts: Mapping[str, HostView], demand: Demand) -> Claimed:
        """Choose a host and take its resources, in one event. Raises NoCapacity."""
        present = self._as_held(demand)

        def decide(state: Ledger) -> tuple[Claimed, ...]:
            claim = place(state, hosts, present)
            return () if state.claims.get(demand.server_id) is claim else (claim,)

        changes, _ = await self.ledger.submit(context, decide)
        claim = changes[0] if changes else self.ledger.state.claims[demand.server_id]
        assert isinstance(claim, Claimed)
        return claim

    async def claim_target(
        self, context: Context, hosts: Mapping[str, HostView], demand: Demand, move_id: str, *, may_stay: bool
    ) -> Claimed:
        """Choose a host to move to, and take its resources beside those that the server has. Raises NoCapacity."""
        present = self._as_held(demand)

        def decide(state: Ledger) -> tuple[Claimed, ...]:
            return claim_target(state, hosts, present, move_id, may_stay=may_stay)

        changes, _ = await self.ledger.submit(context, decide)
        claim = changes[-1] if changes else self.ledger.state.claims[demand.server_id]
        assert isinstance(claim, Claimed)
        return claim

    def _as_held(self, demand: Demand) -> Demand:
        """Without the policy of a group that was deleted."""
        if demand.group is None:
            return demand
        groups = self.registry.of(server_group.KIND, demand.project_id)
        kept = server_group.in_force(groups, demand.group)
        return demand if kept else msgspec.structs.replace(demand, group=None)

    async def settle_move(self, context: Context, server: Server) -> None:
        """Leave a server whose move ends what it shall have, and give the other back, unless something may be left
        there: claim and quota."""
        rest, move, left_on = course.at_rest(server), course.moving(server), course.left_on(server)
        await together(
            self.ledger.submit(
                context,
                lambda state: settle(
                    state, server.id, move.id, rest.host_id, rest.amounts, rest.epoch, context.request_id, left_on
                ),
            ),
            self.settle_quota(context, server, (rest.flavor,)),
        )

    async def settle_quota(self, context: Context, server: Server, flavors: Collection[Flavor]) -> None:
        """Have a server count for what those flavors are: of each resource the most."""
        cores = max(flavor.vcpus for flavor in flavors)
        ram_mb = max(flavor.ram_mb for flavor in flavors)
        await self.registry.writer(quota.aggregate(server.project_id)).submit(
            context,
            lambda state: quota.settle(state, server.id, cores=cores, ram_mb=ram_mb, request_id=context.request_id),
        )

    async def allocate_addresses(self, context: Context, server: Server) -> tuple[Nic, ...]:
        """A port for each interface that the server asked for. Raises Refused where a network has no more."""
        return tuple(
            await together(
                *(self.networks.allocate(context, self.cell, server, i) for i in range(len(server.networks)))
            )
        )

    async def leave_group(self, context: Context, move_id: str) -> None:
        """What a server has left on a dead host, and claims there until it is removed, is no member of its group any
        more. Costs nothing where that is known."""
        claim = self.ledger.state.claims.get(move_id)
        if claim and claim.member:
            await self.ledger.submit(context, lambda state: ledger.leave_group(state, move_id, context.request_id))

    async def release_claim(self, context: Context, server_id: str) -> None:
        await self.ledger.submit(context, lambda state: ledger.release(state, server_id, context.request_id))

    async def release_assignment(self, context: Context, server: Server) -> None:
        """Give back what a server claims that has no host: for whatever assignment that is over."""
        await self.ledger.submit(
            context,
            lambda state: ledger.release_assignment(state, server.id, server.newest_epoch, context.request_id),
        )

    async def release_addresses(self, context: Context, server: Server) -> None:
        await self.networks.release(context, server)

    async def release_quota(self, context: Context, project_id: str, server_id: str) -> None:
        await self.registry.writer(quota.aggregate(project_id)).submit(
            context, lambda state: quota.release(state, server_id, context.request_id)
        )

    async def release_all_of(
        self, context: Context, server_id: str, project_id: str, networks: Iterable[str]
    ) -> None:
        """Give back everything of a server of which no event tells (any more) what it holds. ``networks`` are the ids
        of those in which it may have ports."""
        await together(
            self.release_claim(context, server_id),
            self.release_quota(context, project_id, server_id),
            self.networks.release_all(context, server_id, networks),
        )
        await self._keys.forget(server_id)

    async def release_all(self, context: Context, server: Server) -> None:
        """Give back everything; what was sealed for it is erased, unless that has time."""
        for move_id in (*((server.move.id,) if server.move else ()), *(left.move_id for left in server.remains)):
            await self.release_claim(context, move_id)
        await together(
            self.release_claim(context, server.id),
            self.release_addresses(context, server),
            self.release_quota(context, server.project_id, server.id),
        )
        if server.has_key and not self._keys.kept:
            await self._keys.erase(context, server.id)
