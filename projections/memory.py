"""Rows in memory: of what one or few aggregates make; and for tests and the simulation of all."""

from typing import Any

import msgspec

from domain.log.record import Recorded
from projections.table import Key, Projection, Table


class MemoryRows:
    """All rows of some projections, with the position they stand for."""

    def __init__(self, projections: tuple[Projection, ...]) -> None:
        self._projections = projections
        self._rows: dict[str, dict[Key, Any]] = {
            table.name: {} for projection in projections for table in projection.tables
        }
        self.positions: dict[str, int] = {}
        """By cell."""

    def get(self, table: Table, key: Key) -> Any | None:
        return self._rows[table.name].get(key)

    def put(self, table: Table, row: msgspec.Struct) -> None:
        self._rows[table.name][table.key_of(row)] = row

    def all(self, table: Table) -> list[Any]:
        """Every row, in the order of their first insertion."""
        return list(self._rows[table.name].values())

    def apply(self, batch: list[Recorded]) -> None:
        """Apply a batch of one cell; what was applied before is passed over."""
        for recorded in batch:
            if recorded.position <= self.positions.get(recorded.cell, 0):
                continue
            for projection in self._projections:
                projection.apply(recorded, self)
            self.positions[recorded.cell] = recorded.position
