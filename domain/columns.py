"""The ledger in columns: one row a provider, one pair of arrays a resource class; what the search runs over."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

INITIAL_ROWS = 64


class Column:
    """One resource class over all rows. Without inventory, capacity and max_unit are 0."""

    def __init__(self, rows: int) -> None:
        self.capacity = np.zeros(rows, dtype=np.int64)
        self.max_unit = np.zeros(rows, dtype=np.int64)
        self.used = np.zeros(rows, dtype=np.int64)

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` rows."""
        for name in ("capacity", "max_unit", "used"):
            old = getattr(self, name)
            new = np.zeros(rows, dtype=np.int64)
            new[: len(old)] = old
            setattr(self, name, new)


class Columns:
    """Rows of providers. A removed provider's row is used again."""

    def __init__(self) -> None:
        self.row_of: dict[str, int] = {}
        self.provider_at: list[str | None] = []
        self._free: list[int] = []
        self._size = INITIAL_ROWS
        self._columns: dict[str, Column] = {}

    def __len__(self) -> int:
        return len(self.provider_at)

    def add(self, provider_id: str) -> None:
        """A row for a new provider."""
        if self._free:
            row = self._free.pop()
            self.provider_at[row] = provider_id
        else:
            row = len(self.provider_at)
            self.provider_at.append(provider_id)
        self.row_of[provider_id] = row
        if row >= self._size:
            self._size *= 2
            for column in self._columns.values():
                column.grow(self._size)

    def remove(self, provider_id: str) -> None:
        """Forget a provider."""
        row = self.row_of.pop(provider_id)
        self.provider_at[row] = None
        self._free.append(row)
        for column in self._columns.values():
            column.capacity[row] = column.max_unit[row] = column.used[row] = 0

    def set_capacity(self, provider_id: str, capacities: Mapping[str, tuple[int, int]]) -> None:
        """The provider's (capacity, max_unit) by resource class; 0 for every class not named."""
        row = self.row_of[provider_id]
        for name in capacities:
            self._column(name)
        for name, column in self._columns.items():
            column.capacity[row], column.max_unit[row] = capacities.get(name, (0, 0))

    def use(self, provider_id: str, amounts: Mapping[str, int], sign: int) -> None:
        """Add to (or, with sign -1, take from) what is used of the provider."""
        row = self.row_of[provider_id]
        for name, amount in amounts.items():
            self._column(name).used[row] += sign * amount

    def fits(self, resource_class: str, amount: int) -> NDArray[np.bool_]:
        """For each row, whether it has room for ``amount``."""
        column = self._column(resource_class)
        rows = len(self)
        fits: NDArray[np.bool_] = column.used[:rows] + amount <= column.capacity[:rows]
        fits &= column.max_unit[:rows] >= amount
        return fits

    def free(self, resource_class: str) -> NDArray[np.int64]:
        """For each row, what is left."""
        column = self._column(resource_class)
        rows = len(self)
        return column.capacity[:rows] - column.used[:rows]

    def _column(self, name: str) -> Column:
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = Column(self._size)
        return column
