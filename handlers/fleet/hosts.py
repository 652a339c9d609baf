"""The hosts of a cell: enrolment, and the operator's switches."""

from collections.abc import Callable, Iterable
from typing import Any

from domain.errors import Refused, Unavailable
from domain.fleet import host as domain_host
from domain.fleet.host import Host, HostEnrolled
from domain.guest import HostDescription
from domain.log.record import Event, Recorded
from domain.placement import ledger
from domain.placement.ledger import Ledger
from handlers.accepted import Accepted
from handlers.context import Context
from handlers.fleet.inventories import inventories
from handlers.log.group_writer import GroupWriter
from handlers.log.registry import Registry


class Hosts:
    """The commands on hosts."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._names: dict[str, str] = {}
        """Names by id; an id never gets another name."""
        for host in registry.all("host"):
            self._names.setdefault(host.id, host.name)
        registry.listen(self._note)

    def _note(self, recorded: Recorded) -> None:
        if isinstance(recorded.event, HostEnrolled):
            self._names.setdefault(recorded.event.host_id, recorded.aggregate.id)

    async def move(self, context: Context, name: str, address: str) -> Accepted:
        """A host has another address. Raises Refused, Invalid."""
        return await self._execute(context, name, lambda host: domain_host.move(host, name, address))

    async def enable(self, context: Context, name: str) -> Accepted:
        """Let new servers go there. Raises Refused (404)."""
        return await self._execute(context, name, lambda host: domain_host.enable(host, name))

    async def disable(self, context: Context, name: str, reason: str | None) -> Accepted:
        """Let no new server go there. Raises Refused (404)."""
        return await self._execute(context, name, lambda host: domain_host.disable(host, name, reason))

    async def force_down(self, context: Context, name: str) -> Accepted:
        """Fence a host that is dead. Raises Refused (404)."""
        return await self._execute(context, name, lambda host: domain_host.force_down(host, name))

    async def let_up(self, context: Context, name: str) -> Accepted:
        """Let it take part again. Raises Refused (404)."""
        return await self._execute(context, name, lambda host: domain_host.let_up(host, name))

    async def forget(self, context: Context, name: str) -> Accepted:
        """Count on it no more."""
        return await self._execute(context, name, domain_host.forget)

    async def enrol(
        self, context: Context, writer: GroupWriter[Ledger], host_id: str, description: HostDescription
    ) -> None:
        """A machine reports for duty. Its first event comes before its inventory, so that nothing is offered
        by a machine that was refused, and nobody may pass for another by its id. Raises Refused, Invalid."""
        _check_id(self.get(host_id), writer.state, host_id, description.name)
        await self._execute(context, description.name, lambda host: domain_host.enrol(host, host_id, description))
        offered = inventories(description)
        await writer.submit(context, lambda state: ledger.offer(state, host_id, description.name, offered))

    def ids(self) -> Iterable[str]:
        return [host.id for host in self._registry.all("host")]

    def named(self, name: str) -> Host | None:
        """The host of that name, if it is known here."""
        return self._registry.of(domain_host.KIND, name)

    def fenced(self, name: str) -> bool:
        """Whether the host of that name was declared dead."""
        host = self.named(name)
        return host is not None and host.forced_down

    def get(self, host_id: str) -> Host | None:
        """The host of that id, if it is known here."""
        name = self._names.get(host_id)
        return self._registry.of(domain_host.KIND, name) if name else None

    def by_id(self, host_id: str) -> Host:
        """The host of that id. Raises Unavailable while this process has not heard of it."""
        host = self.get(host_id)
        if host is None:
            raise Unavailable(f"Host {host_id} is not known here yet.")
        return host

    async def _execute(self, context: Context, name: str, decide: Callable[[Any], Event | None]) -> Accepted:
        return (await self._registry.execute(context, domain_host.aggregate(name), decide))[1]


def _check_id(known: Host | None, resources: Ledger, host_id: str, name: str) -> None:
    if known is not None:
        others = known.name != name
    else:
        provider = resources.providers.get(host_id)
        others = provider is not None and provider.name != name
    if others:
        raise Refused("host.id_taken", f"The id {host_id} is not {name}'s, but of something else that is here.")
