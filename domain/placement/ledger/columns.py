"""The ledger in columns: one row a provider, arrays a resource class; what the search runs over."""

from collections.abc import Iterable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from domain.log.batch import Journal
from domain.placement.ledger.inventory import MAX_FIGURE, Inventory

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
        """Make room for ``rows`` rows; where it failed half-way, the next time completes it."""
        for name in self.ARRAYS:
            old = getattr(self, name)
            if len(old) >= rows:
                continue
            new = np.zeros(rows, dtype=np.int64) if name in self.ARRAYS[:3] else np.ones(rows, dtype=np.int64)
            new[: len(old)] = old
            setattr(self, name, new)

    def stock(self, journal: Journal, row: int, inventory: Inventory | None) -> None:
        """What the row's provider has now."""
        if inventory is None:
            figures = 0, 0, 1, 1
        else:
            figures = inventory.capacity, inventory.max_unit, inventory.min_unit, inventory.step_size
        before = int(self.capacity[row]), int(self.max_unit[row]), int(self.min_unit[row]), int(self.step_size[row])
        journal.note(partial(self._put, row, before, self.particular))
        particular = self.particular - (before[2:] != (1, 1)) + (figures[2:] != (1, 1))
        self._put(row, figures, particular)

    def _put(self, row: int, figures: tuple[int, int, int, int], particular: int) -> None:
        self.capacity[row], self.max_unit[row], self.min_unit[row], self.step_size[row] = figures
        self.particular = particular

    def use(self, journal: Journal, row: int, amount: int) -> None:
        """So much of the row's provider is used now."""
        journal.note(partial(self._put_used, row, int(self.used[row])))
        self._put_used(row, amount)

    def _put_used(self, row: int, amount: int) -> None:
        self.used[row] = amount


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

    def used(self, resource_class: str) -> int:
        """What is used of a class on all providers together."""
        column = self._columns.get(resource_class)
        return int(column.used.sum()) if column else 0

    def add(self, journal: Journal, provider_id: str, root_id: str) -> None:
        """A row for a new provider in the tree of ``root_id``, which may be itself."""
        row = self._free[-1] if self._free else len(self.provider_at)
        self._make_room(row)
        journal.note(partial(self._vacate, provider_id, row))
        self._occupy(provider_id, row)
        self.set_root(journal, provider_id, root_id)

    def remove(self, journal: Journal, provider_id: str) -> None:
        """Forget a provider, which has no traits and aggregates left."""
        row = self.row_of[provider_id]
        for column in self._columns.values():
            column.stock(journal, row, None)
            column.use(journal, row, 0)
        journal.note(partial(self._occupy, provider_id, row))
        self._vacate(provider_id, row)

    def _make_room(self, row: int) -> None:
        """More room is not taken back: nobody sees it."""
        while row >= self._size:
            size = self._size * 2
            for column in self._columns.values():
                column.grow(size)
            self._root = np.concatenate([self._root[: self._size], np.zeros(size - self._size, dtype=np.int64)])
            self._size = size

    def _occupy(self, provider_id: str, row: int) -> None:
        if row == len(self.provider_at):
            self.provider_at.append(None)
            self._free.append(row)
        if row in self._free:
            self._free.remove(row)
        self.provider_at[row] = provider_id
        self.row_of[provider_id] = row

    def _vacate(self, provider_id: str, row: int) -> None:
        self.row_of.pop(provider_id, None)
        if row < len(self.provider_at):
            self.provider_at[row] = None
            if row not in self._free:
                self._free.append(row)

    def set_root(self, journal: Journal, provider_id: str, root_id: str) -> None:
        row, root = self.row_of[provider_id], self.row_of[root_id]
        journal.note(partial(self._put_root, row, int(self._root[row])))
        self._put_root(row, root)

    def _put_root(self, row: int, root: int) -> None:
        self._root[row] = root

    def set_inventories(self, journal: Journal, provider_id: str, inventories: Mapping[str, Inventory]) -> None:
        """The provider's inventories by resource class; none of every class not named."""
        row = self.row_of[provider_id]
        for name in inventories:
            self._column(name)
        for name, column in self._columns.items():
            column.stock(journal, row, inventories.get(name))

    def set_traits(self, journal: Journal, provider_id: str, before: Iterable[str], traits: Iterable[str]) -> None:
        _move(journal, self._traits, self.row_of[provider_id], before, traits)

    def set_aggregates(
        self, journal: Journal, provider_id: str, before: Iterable[str], aggregates: Iterable[str]
    ) -> None:
        _move(journal, self._aggregates, self.row_of[provider_id], before, aggregates)

    def use(self, journal: Journal, provider_id: str, amounts: Mapping[str, int], sign: int) -> None:
        """Add to (or, with sign -1, take from) what is used of the provider."""
        row = self.row_of[provider_id]
        for name, amount in amounts.items():
            column = self._column(name)
            column.use(journal, row, int(column.used[row]) + sign * amount)

    def rename(self, journal: Journal, resource_class: str, new_name: str) -> None:
        if resource_class in self._columns:
            journal.put(self._columns, new_name, journal.drop(self._columns, resource_class))

    def fits(self, resource_class: str, amount: int) -> Rows:
        """For each row, whether it has room for ``amount``, however large, and gives out claims of that size."""
        if amount > MAX_FIGURE:
            return np.zeros(len(self), dtype=np.bool_)
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


def _move(
    journal: Journal, members: dict[str, set[int]], row: int, before: Iterable[str], after: Iterable[str]
) -> None:
    for name in before:
        journal.leave(members[name], row)
        if not members[name]:
            journal.drop(members, name)
    for name in after:
        if name not in members:
            journal.put(members, name, set())
        journal.join(members[name], row)
