"""The console's log, of which a tenant asks for the end."""

from pathlib import Path

import pytest

from adapters.libvirt.console import read_console


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (None, "one\r\ntwo\r\n\nthree"),
        (0, ""),
        (1, "three"),
        (2, "\nthree"),
        (3, "two\r\n\nthree"),
        (4, "one\r\ntwo\r\n\nthree"),
        (99, "one\r\ntwo\r\n\nthree"),
    ],
)
def test_the_last_lines(tmp_path: Path, lines: int | None, expected: str) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"one\r\ntwo\r\n\nthree")
    assert read_console(log, lines) == expected


def test_a_line_that_is_ended_is_one_line(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"one\ntwo\n")
    assert read_console(log, 1) == "two\n"


def test_rotated_enormous_and_strange(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    assert read_console(log, None) == ""
    (tmp_path / "console.log.0").write_bytes(b"earlier\n")
    log.write_bytes(b"later \xff\x00\x1b[2J\n")
    assert read_console(log, None) == "earlier\nlater \ufffd\x00\x1b[2J\n"
    log.write_bytes(b"x" * 5000)
    assert read_console(log, None, limit=100) == "x" * 100
