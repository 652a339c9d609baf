"""The hosts of a cell: enrolment, the operator's switches, and what the scheduler sees of them."""

from collections.abc import Callable
from typing import Any

from domain import host as domain_host
from domain import ledger
from domain.guest import HostDescription
from domain.host import Host
from domain.ledger import DISK_GB, MEMORY_MB, VCPU, Inventory, Ledger
from domain.record import Event
from domain.scheduling import HostView
from handlers.context import Context
from handlers.group_writer import GroupWriter
from handlers.registry import Registry

CPU_ALLOCATION_RATIO = 4.0
RESERVED_HOST_MEMORY_MB = 512
"""Nova's defaults (cpu_allocation_ratio, reserved_host_memory_mb)."""


class Hosts:
    """The commands on hosts."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def enable(self, context: Context, name: str) -> int:
        """Let new servers go there; returns the event's position."""
        return await self._execute(context, name, lambda host: domain_host.enable(host, name))

    async def disable(self, context: Context, name: str, reason: str | None) -> int:
        """Let no new server go there; returns the event's position."""
        return await self._execute(context, name, lambda host: domain_host.disable(host, name, reason))

    async def enrol(
        self, context: Context, writer: GroupWriter[Ledger], host_id: str, description: HostDescription
    ) -> None:
        """A machine reports for duty. Its first event comes before its inventory, so that nothing is offered
        by a machine that was refused."""
        await self._execute(context, description.name, lambda host: domain_host.enrol(host, host_id, description))
        offered = inventories(description)
        await writer.submit(context, lambda state: ledger.offer(state, host_id, description.name, offered))

    def views(self, is_up: Callable[[str], bool]) -> dict[str, HostView]:
        """What the scheduler sees, by host id."""
        hosts: list[Host] = list(self._registry.all("host"))
        return {
            host.id: HostView(
                id=host.id,
                name=host.name,
                availability_zone=host.availability_zone,
                enabled=host.enabled,
                up=is_up(host.name),
            )
            for host in hosts
        }

    def by_id(self, host_id: str) -> Host:
        """The host whose claim it is."""
        hosts: list[Host] = list(self._registry.all("host"))
        return next(host for host in hosts if host.id == host_id)

    async def _execute(self, context: Context, name: str, decide: Callable[[Any], Event | None]) -> int:
        return (await self._registry.execute(context, domain_host.aggregate(name), decide))[1]


def inventories(description: HostDescription) -> dict[str, Inventory]:
    """What a host offers to claims."""
    return {
        VCPU: Inventory(total=description.vcpus, allocation_ratio=CPU_ALLOCATION_RATIO, max_unit=description.vcpus),
        MEMORY_MB: Inventory(
            total=description.memory_mb,
            reserved=min(RESERVED_HOST_MEMORY_MB, description.memory_mb),
            max_unit=description.memory_mb,
        ),
        DISK_GB: Inventory(total=description.disk_gb, max_unit=description.disk_gb),
    }
