"""What a projection is: tables of rows, and how each event changes them. Pure: it knows not where rows live."""

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from domain.log.record import Recorded

R = TypeVar("R", bound=msgspec.Struct)
Key = tuple[Any, ...]


class Table(NamedTuple):
    """A table: ``row``'s fields are its columns, of the SQL types given; ``key`` are the first of them."""

    name: str
    row: type[msgspec.Struct]
    key: tuple[str, ...]
    columns: dict[str, str]
    """SQL type of each column, in the order of the row's fields."""
    indexes: tuple[str, ...] = ()
    """Each the part after ``ON table``, as ``(project_id, created_at)``."""
    append_only: bool = False
    """Whether its rows are put once and never asked for by ``Rows.get``."""

    def key_of(self, row: msgspec.Struct) -> Key:
        return tuple(getattr(row, name) for name in self.key)


class Rows(Protocol):
    """The rows that a batch of events works on."""

    def get(self, table: Table, key: Key) -> Any | None:
        """The row as it is after all that was put so far; None if there is none. Only keys that the projection
        named by ``reads`` may be asked for."""
        ...

    def put(self, table: Table, row: msgspec.Struct) -> None:
        """Insert or replace."""
        ...


class Projection(Protocol):
    """Answers one question. ``version`` is raised when rows change their meaning: all are then built anew."""

    @property
    def name(self) -> str:
        """The question, in a word; also the name of its build."""
        ...

    @property
    def version(self) -> int:
        """Of the meaning of its rows."""
        ...

    @property
    def folds(self) -> bool:
        """Whether what an event changes depends on the earlier events of its aggregate."""
        ...

    @property
    def tables(self) -> tuple[Table, ...]:
        """Where its rows are."""
        ...

    def reads(self, recorded: Recorded, /) -> Iterable[tuple[Table, Key]]:
        """The rows that ``apply`` may ask for; those not there yet need not be named."""
        ...

    def apply(self, recorded: Recorded, rows: Rows, /) -> None:
        """Change the rows as the event says."""
        ...
