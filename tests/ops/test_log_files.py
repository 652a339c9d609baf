"""Logs are bounded, and tell why a program ended."""

import json
from pathlib import Path

import pytest

from ops import log_files


def test_a_file_that_grows_is_put_aside_under_its_writer(tmp_path: Path) -> None:
    file = tmp_path / "api-1.log"
    with file.open("ab", buffering=0) as program:
        for number in range(6):
            program.write(b"%d" % number * 10)
            log_files.rotate(tmp_path, largest=9, kept=2)
        program.write(b"x")
    assert file.read_text() == "x"
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path != file} == {
        "api-1.log.1": "5" * 10,
        "api-1.log.2": "4" * 10,
    }


def test_a_small_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "api-1.log").write_text("x" * 9)
    log_files.rotate(tmp_path, largest=9)
    assert [path.name for path in tmp_path.iterdir()] == ["api-1.log"]


def test_without_room_for_a_copy_it_is_cut_off_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "api-1.log"
    file.write_text("x" * 10)
    (tmp_path / "api-1.log.1").mkdir()
    log_files.rotate(tmp_path, largest=9, kept=1)
    assert file.read_text() == ""


TABLE = """\
  + Exception Group Traceback (most recent call last):
  |   File "ops/cli.py", line 3, in main
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "adapters/nats/reader.py", line 101, in read
    | adapters.nats.reader.BrokenChain: the log lost its end
    +------------------------------------
"""


def _line(level: str, message: str, **more: str) -> str:
    return json.dumps({"level": level, "message": message, **more}) + "\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "(nothing)"),
        ("the port is taken\n\n", "the port is taken"),
        (TABLE, "adapters.nats.reader.BrokenChain: the log lost its end"),
        (
            _line("ERROR", "it broke", exception=TABLE),
            "it broke: adapters.nats.reader.BrokenChain: the log lost its end",
        ),
        (_line("WARNING", "the database is away") + _line("INFO", "still waiting"), "the database is away"),
        (_line("WARNING", "the database is away") + "Killed\n", "Killed"),
        (_line("INFO", "one") + _line("INFO", "two"), json.dumps({"level": "INFO", "message": "two"})),
        ("[1, 2]\n", "[1, 2]"),
    ],
)
def test_last_words(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "projector.log"
    file.write_text("of an earlier run\n")
    since = log_files.size(file)
    with file.open("a") as more:
        more.write(text)
    assert log_files.last_words(file, since) == f"its log, {file}, ends with: {words}"


def test_last_words_after_the_file_was_put_aside(tmp_path: Path) -> None:
    file = tmp_path / "projector.log"
    file.write_text("new\n")
    assert log_files.last_words(file, 1000).endswith("ends with: new")
    assert "cannot be read" in log_files.last_words(tmp_path / "absent.log")
