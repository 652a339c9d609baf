"""What a provider has of one resource class, and what may be claimed of it."""

from collections.abc import Mapping

import msgspec

VCPU, MEMORY_MB, DISK_GB = "VCPU", "MEMORY_MB", "DISK_GB"

Amounts = Mapping[str, int]
"""By resource class."""


class Inventory(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a provider has of one resource class; Placement's fields."""

    total: int
    reserved: int = 0
    allocation_ratio: float = 1.0
    min_unit: int = 1
    max_unit: int = 2147483647
    step_size: int = 1

    @property
    def capacity(self) -> int:
        """What may be claimed in all."""
        return int((self.total - self.reserved) * self.allocation_ratio)

    def admits(self, amount: int) -> bool:
        """Whether one claim may be of this size, wherever it goes."""
        return self.min_unit <= amount <= self.max_unit and amount % self.step_size == 0
