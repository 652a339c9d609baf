"""Where PostgreSQL is reached is a directory of ours, or nothing is started."""

import os
from pathlib import Path

import pytest

from domain.errors import Unavailable
from ops.embedded.postgres import _make_private


def test_a_directory_of_ours_is_private(tmp_path: Path) -> None:
    for _ in range(2):
        _make_private(tmp_path / "a" / "socket", {os.geteuid()})
        assert (tmp_path / "a" / "socket").stat().st_mode & 0o777 == 0o700
        (tmp_path / "a" / "socket").chmod(0o755)


def test_a_link_that_waits_there_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    (tmp_path / "socket").symlink_to(victim)
    with pytest.raises(Unavailable, match="not a directory of ours"):
        _make_private(tmp_path / "socket", {os.geteuid()})
    assert victim.stat().st_mode & 0o777 == 0o755


def test_a_directory_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "socket").mkdir()
    with pytest.raises(Unavailable, match="not a directory of ours"):
        _make_private(tmp_path / "socket", {os.geteuid() + 1})
