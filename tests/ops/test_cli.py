"""What the command says when it ends by an error."""

import errno
import os
from collections.abc import Iterator

import pytest

from domain.errors import Unavailable
from ops import cli


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """The command keeps its files to itself; the other tests of this process do not."""
    before = os.umask(0)
    os.umask(before)
    yield
    os.umask(before)


class _Parser:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def parse_args(self, _words: list[str]) -> "_Parser":
        return self

    def command(self, _: object) -> None:
        raise self._error


def _ends(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(cli, "_parser", lambda: _Parser(error))
    cli.main()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_nothing_is_one_line(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    with pytest.raises(SystemExit, match=r"^lightcurve: .*here"):
        _ends(monkeypatch, OSError(number, "there is no room", "here"))


def test_errors_of_tasks_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    group = ExceptionGroup("tasks", [ExceptionGroup("inner", [Unavailable("the log is gone")])])
    with pytest.raises(SystemExit, match=r"^lightcurve: the log is gone$"):
        _ends(monkeypatch, group)
    assert capsys.readouterr().err == ""


def test_what_was_not_foreseen_has_a_traceback_and_ends_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^lightcurve: KeyError\('x'\)$"):
        _ends(monkeypatch, ExceptionGroup("tasks", [KeyError("x")]))
    assert "KeyError" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", ["at now servers --limit -1", "diff now --limit 0", "log x --limit 99999999999999999999"]
)
def test_a_limit_that_is_none_is_refused_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    monkeypatch.setattr("sys.argv", ["lightcurve", *words.split()])
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main()
    assert "is not a number from 1 to 1,000,000,000" in capsys.readouterr().err


def test_words_that_are_no_text_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["lightcurve", "trace", "\udcff"])
    with pytest.raises(SystemExit, match="is not UTF-8"):
        cli.main()


@pytest.mark.parametrize("command", ["account", "export", "import", "restore", "lost"])
def test_usage_names_the_command_as_it_is_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setattr("sys.argv", ["lightcurve", "log", command, "--help"])
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main()
    assert capsys.readouterr().out.startswith(f"usage: lightcurve log {command} [-h]")
