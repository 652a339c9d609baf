"""What a provider has of one resource class, and what may be claimed of it."""

from collections.abc import Mapping
from math import isfinite

import msgspec

VCPU, MEMORY_MB, DISK_GB = "VCPU", "MEMORY_MB", "DISK_GB"

Amounts = Mapping[str, int]
"""By resource class."""

MAX_FIGURE = 2**31 - 1
"""The largest total, reserve, unit and step; Placement's."""
MAX_CAPACITY = 2**53
"""What may be claimed of one inventory at the most: all of it, and one claim more, fits every column and is exact in
floating point, too."""


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

    def unholdable(self) -> str | None:
        """What of it the ledger could not reckon with, in words; None if all is well."""
        least = {"total": 0, "reserved": 0, "min_unit": 0, "max_unit": 0, "step_size": 1}
        for name, low in least.items():
            figure = getattr(self, name)
            if not low <= figure <= MAX_FIGURE:
                return f"{name} has to be between {low} and {MAX_FIGURE}"
        if not isfinite(self.allocation_ratio) or self.capacity > MAX_CAPACITY:
            return f"(total - reserved) * allocation_ratio may be {MAX_CAPACITY} at the most"
        return None
