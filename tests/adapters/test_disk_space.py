"""How much of a disk is for everybody."""

from pathlib import Path

import pytest

from adapters.disk_space import GIB, Level, Space, space, spare

MIB = 1024**2


@pytest.mark.parametrize(
    ("free", "total", "left", "level"),
    [
        (500 * GIB, 1000 * GIB, 499 * GIB, Level.FINE),
        (3 * GIB, 1000 * GIB, 2 * GIB, Level.FINE),
        (3 * GIB - 1, 1000 * GIB, 2 * GIB - 1, Level.LOW),
        (GIB + 1, 1000 * GIB, 1, Level.LOW),
        (GIB, 1000 * GIB, 0, Level.FULL),
        (0, 1000 * GIB, 0, Level.FULL),
        (16 * MIB, 300 * MIB, 1 * MIB, Level.LOW),
        (15 * MIB, 300 * MIB, 0, Level.FULL),
        (0, 0, 0, Level.FULL),
    ],
)
def test_what_is_left_above_the_reserve(free: int, total: int, left: int, level: Level) -> None:
    found = Space(free, total)
    assert (found.spare, found.level) == (left, level)


def test_a_real_disk_also_for_what_is_not_there_yet(tmp_path: Path) -> None:
    found = space(tmp_path / "not" / "yet")
    assert 0 < found.free <= found.total == space(tmp_path).total
    assert spare(tmp_path) <= found.total - found.reserve
