"""Facts as an operator reads them."""

from collections.abc import Sequence


def ago(seconds: float) -> str:
    """A length of time, as exact as it is of use."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    """Print a table, after an empty line."""
    cells = [head, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    print()
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
