"""Nobody outside decides how fast a log grows."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from ops.logs import FOLD_SECONDS, OF_ONE_KIND, OF_ONE_SOURCE, Folding, JsonLines

log = logging.getLogger("tests.logs")


class Lines(logging.Handler):
    """What is written, as a file would have it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.written: list[dict[str, Any]] = []
        self.setFormatter(JsonLines("api", "cell1"))
        self.addFilter(Folding(lambda: self.now))

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(json.loads(self.format(record)))

    def messages(self, words: str) -> list[str]:
        return [line["message"] for line in self.written if words in line["message"]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Lines]:
    caplog.set_level(logging.INFO)
    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield handler
    logging.getLogger().removeHandler(handler)


def test_repeats_are_folded_and_counted(lines: Lines) -> None:
    for number in range(OF_ONE_KIND + 1234):
        log.warning("connection %d is bad", number)
    assert len(lines.messages("is bad")) == OF_ONE_KIND
    log.warning("something else")
    assert lines.messages("something else")
    lines.now += FOLD_SECONDS + 1
    log.warning("connection %d is bad", 0)
    assert "… and 1,234 more like: connection %d is bad" in lines.messages("more like")
    assert lines.messages("is bad")[-1] == "connection 0 is bad"


def test_one_source_does_not_hide_the_others(lines: Lines) -> None:
    for _ in range(50 * OF_ONE_SOURCE):
        log.info("refused %s", "loud", extra={"source": "loud"})
    log.info("refused %s", "quiet", extra={"source": "quiet"})
    assert len(lines.messages("refused loud")) == OF_ONE_SOURCE
    assert lines.messages("refused quiet") == ["refused quiet"]


def test_what_nobody_outside_brings_about_is_written_always(lines: Lines) -> None:
    for _ in range(2 * OF_ONE_KIND):
        log.info("server %s is built", "s")
    assert len(lines.messages("is built")) == 2 * OF_ONE_KIND


def test_many_sources_are_bounded_too(lines: Lines) -> None:
    for number in range(3 * OF_ONE_KIND):
        log.info("refused %s", number, extra={"source": str(number)})
    assert len(lines.messages("refused")) == OF_ONE_KIND


@pytest.mark.parametrize("text", ["plain", 'a "quote"', "caf\u00e9", "\x9b31m", "\x1b[31m", "\ud800", "a\nb"])
def test_a_line_is_printable_ascii_whatever_it_tells(text: str) -> None:
    record = logging.makeLogRecord({"msg": "seen: %s", "args": (text,), "fields": {"path": text}})
    line = JsonLines("api", "cell1").format(record)
    assert line.isascii()
    assert line.isprintable()
    told = json.loads(line)
    assert (told["message"], told["path"]) == (f"seen: {text}", text)


def test_a_field_of_any_type_is_told() -> None:
    record = logging.makeLogRecord({"msg": "seen", "fields": {"what": object}})
    assert json.loads(JsonLines("api", "cell1").format(record))["what"] == str(object)
