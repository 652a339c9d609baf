"""The ledger in columns: one row a provider, arrays a resource class; what the search runs over."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from domain.ledger.inventory import Inventory

INITIAL_ROWS = 64
Rows = NDArray[np.bool_]
"""Which rows have something."""


class Column:
    """One resource class over all rows. Without inventory, capacity and max_unit are 0."""

    ARRAYS = ("capacity", "max_unit", "used", "min_unit", "step_size")

    def __init__(self, rows: int) -> None:
        self.capacity = np.zeros(rows, dtype=np.int64)
        self.max_unit = np.zeros(rows, dtype=np.int64)
        self.used = np.zeros(rows, dtype=np.int64)
        self.min_unit = np.ones(rows, dtype=np.int64)
        self.step_size = np.ones(rows, dtype=np.int64)
        self.particular = 0
        """How many rows have another min_unit or step_size than 1: mostly none, and then neither is looked at."""

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` rows."""
        for name in self.ARRAYS:
            old = getattr(self, name)
            new = np.zeros(rows, dtype=np.int64) if name in self.ARRAYS[:3] else np.ones(rows, dtype=np.int64)
            new[: len(old)] = old
            setattr(self, name, new)

    def stock(self, row: int, inventory: Inventory | None) -> None:
        """What the row's provider has now."""
        self.particular -= bool(self.min_unit[row] != 1 or self.step_size[row] != 1)
        if inventory is None:
            self.capacity[row] = self.max_unit[row] = 0
            self.min_unit[row] = self.step_size[row] = 1
            return
        self.capacity[row] = inventory.capacity
        self.max_unit[row] = inventory.max_unit
        self.min_unit[row] = inventory.min_unit
        self.step_size[row] = inventory.step_size
        self.particular += inventory.min_unit != 1 or inventory.step_size != 1


class Columns:
    """Rows of providers. A removed provider's row is used again."""

    def __init__(self) -> None:
        self.row_of: dict[str, int] = {}
        self.provider_at: list[str | None] = []
        self._free: list[int] = []
        self._size = INITIAL_ROWS
        self._columns: dict[str, Column] = {}
        self._root = np.zeros(INITIAL_ROWS, dtype=np.int64)
        self._traits: dict[str, set[int]] = {}
        self._aggregates: dict[str, set[int]] = {}

    def __len__(self) -> int:
        return len(self.provider_at)

    def add(self, provider_id: str, root_id: str) -> None:
        """A row for a new provider in the tree of ``root_id``, which may be itself."""
        if self._free:
            row = self._free.pop()
            self.provider_at[row] = provider_id
        else:
            row = len(self.provider_at)
            self.provider_at.append(provider_id)
        self.row_of[provider_id] = row
        if row >= self._size:
            self._size *= 2
            self._root = np.concatenate([self._root, np.zeros(self._size - len(self._root), dtype=np.int64)])
            for column in self._columns.values():
                column.grow(self._size)
        self.set_root(provider_id, root_id)

    def remove(self, provider_id: str) -> None:
        """Forget a provider, which has no traits and aggregates left."""
        row = self.row_of.pop(provider_id)
        self.provider_at[row] = None
        self._free.append(row)
        for column in self._columns.values():
            column.stock(row, None)
            column.used[row] = 0

    def set_root(self, provider_id: str, root_id: str) -> None:
        """The provider is in the tree of that root."""
        self._root[self.row_of[provider_id]] = self.row_of[root_id]

    def set_inventories(self, provider_id: str, inventories: Mapping[str, Inventory]) -> None:
        """The provider's inventories by resource class; none of every class not named."""
        row = self.row_of[provider_id]
        for name in inventories:
            self._column(name)
        for name, column in self._columns.items():
            column.stock(row, inventories.get(name))

    def set_traits(self, provider_id: str, before: Iterable[str], traits: Iterable[str]) -> None:
        """Replace the provider's traits."""
        _move(self._traits, self.row_of[provider_id], before, traits)

    def set_aggregates(self, provider_id: str, before: Iterable[str], aggregates: Iterable[str]) -> None:
        """Replace the provider's aggregates."""
        _move(self._aggregates, self.row_of[provider_id], before, aggregates)

    def use(self, provider_id: str, amounts: Mapping[str, int], sign: int) -> None:
        """Add to (or, with sign -1, take from) what is used of the provider."""
        row = self.row_of[provider_id]
        for name, amount in amounts.items():
            self._column(name).used[row] += sign * amount

    def rename(self, resource_class: str, new_name: str) -> None:
        """The class has another name now."""
        if resource_class in self._columns:
            self._columns[new_name] = self._columns.pop(resource_class)

    def fits(self, resource_class: str, amount: int) -> Rows:
        """For each row, whether it has room for ``amount`` and gives out claims of that size."""
        column = self._column(resource_class)
        rows = len(self)
        fits: Rows = column.used[:rows] + amount <= column.capacity[:rows]
        fits &= column.max_unit[:rows] >= amount
        if column.particular:
            fits &= column.min_unit[:rows] <= amount
            fits &= amount % column.step_size[:rows] == 0
        return fits

    def free(self, resource_class: str) -> NDArray[np.int64]:
        """For each row, what is left."""
        column = self._column(resource_class)
        rows = len(self)
        return column.capacity[:rows] - column.used[:rows]

    def capacity(self, resource_class: str) -> NDArray[np.int64]:
        """For each row, what may be claimed in all."""
        return self._column(resource_class).capacity[: len(self)]

    def offers(self, resource_class: str) -> bool:
        """Whether any provider has an inventory of the class."""
        column = self._columns.get(resource_class)
        return column is not None and bool(column.max_unit.any())

    def id_at(self, row: int) -> str:
        """The provider of a row, which must be one's."""
        provider_id = self.provider_at[row]
        assert provider_id is not None
        return provider_id

    def live(self) -> Rows:
        """The rows that are a provider's."""
        live = np.ones(len(self), dtype=np.bool_)
        live[self._free] = False
        return live

    def roots(self) -> NDArray[np.int64]:
        """For each row, the row of its tree's root."""
        return self._root[: len(self)]

    def with_trait(self, name: str) -> set[int]:
        """The rows that have a trait."""
        return self._traits.get(name, set())

    def having_any_trait(self, names: Iterable[str]) -> Rows:
        """The rows that have one of the traits."""
        return self._any(self._traits, names)

    def in_any_aggregate(self, aggregates: Iterable[str]) -> Rows:
        """The rows in one of the aggregates."""
        return self._any(self._aggregates, aggregates)

    def in_aggregate(self, aggregate: str) -> set[int]:
        """The rows in an aggregate."""
        return self._aggregates.get(aggregate, set())

    def _any(self, members: dict[str, set[int]], names: Iterable[str]) -> Rows:
        rows = np.zeros(len(self), dtype=np.bool_)
        for name in names:
            if found := members.get(name):
                rows[np.fromiter(found, dtype=np.int64, count=len(found))] = True
        return rows

    def _column(self, name: str) -> Column:
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = Column(self._size)
        return column


def _move(members: dict[str, set[int]], row: int, before: Iterable[str], after: Iterable[str]) -> None:
    for name in before:
        members[name].discard(row)
        if not members[name]:
            del members[name]
    for name in after:
        members.setdefault(name, set()).add(row)
