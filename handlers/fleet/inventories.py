"""What a host offers to claims: how much is overcommitted, and how much kept for the host itself."""

from domain.guest import HostDescription
from domain.placement.ledger import DISK_GB, MEMORY_MB, VCPU, Inventory

CPU_ALLOCATION_RATIO = 4.0
RESERVED_HOST_MEMORY_MB = 512
"""Nova's defaults (cpu_allocation_ratio, reserved_host_memory_mb)."""


def inventories(description: HostDescription) -> dict[str, Inventory]:
    return {
        VCPU: Inventory(total=description.vcpus, allocation_ratio=CPU_ALLOCATION_RATIO, max_unit=description.vcpus),
        MEMORY_MB: Inventory(
            total=description.memory_mb,
            reserved=min(RESERVED_HOST_MEMORY_MB, description.memory_mb),
            max_unit=description.memory_mb,
        ),
        DISK_GB: Inventory(total=description.disk_gb, max_unit=description.disk_gb),
    }
