"""A moment in the life of the cloud, as its logs count it: how far each had got."""

import re
from collections.abc import Mapping

import msgspec

from domain.errors import Invalid
from domain.text import shortened

_PART = re.compile(r"([a-z0-9][a-z0-9_-]*)=([0-9]{1,18})", re.ASCII)


class Moment(msgspec.Struct, frozen=True):
    """The last position of each log that belongs to the moment, by cell, in the order of their names."""

    positions: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, positions: Mapping[str, int]) -> "Moment":
        """The moment of these positions, by cell."""
        return cls(tuple(sorted(positions.items())))

    @classmethod
    def parse(cls, text: str) -> "Moment":
        """From what ``str`` makes of one. Raises Invalid."""
        parts = [_PART.fullmatch(part.strip()) for part in text.split(",")]
        positions = {part[1]: int(part[2]) for part in parts if part}
        if len(positions) < len(parts):
            raise Invalid(f"{shortened(text)!r} is no moment: it should be as api=12,cell1=345.")
        return cls.of(positions)

    def __str__(self) -> str:
        return ",".join(f"{cell}={position}" for cell, position in self.positions)

    def __getitem__(self, cell: str) -> int:
        """The position in a cell's log; 0 if nothing of it belongs to the moment."""
        return next((position for name, position in self.positions if name == cell), 0)

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells whose logs are named."""
        return tuple(cell for cell, _ in self.positions)
