"""What text the log can hold, and what can be a name."""

import re

import pytest

from domain import text


@pytest.mark.parametrize("given", ["", "web1", "a\nb", "\ufffe"])
def test_text_that_everybody_can_hold(given: str):
    assert text.is_digestible(given)


@pytest.mark.parametrize("given", ["\0", "a\0b", "\ud800"])
def test_text_that_somebody_cannot_hold(given: str):
    assert not text.is_digestible(given)
    assert not text.can_be_a_name(given)


@pytest.mark.parametrize("given", ["a\nb", "\r", "\x7f", "\x85", "x" * 256])
def test_what_nothing_can_be_called(given: str):
    assert not text.can_be_a_name(given)


@pytest.mark.parametrize("given", ["web1", "a b/c", "日本", "x" * 255])
def test_what_something_can_be_called(given: str):
    assert text.can_be_a_name(given)


@pytest.mark.parametrize(
    "letter",
    ["\0", "\n", "\x7f", "\x85", "\u200b", "\u200d", "\u2028", "\u2029", "\u202e", "\ufeff", "\ufffe", "\ue000",
     "\U0001ffff", "\U000e0001", "\U00100000"],
)  # fmt: skip
def test_not_printable(letter: str):
    assert re.fullmatch(f"[{text.NOT_PRINTABLE}]", letter)


@pytest.mark.parametrize("letter", [" ", "a", "é", "日", "\xa0", "\u3000", "😀", "\u0301", "\U000e0100"])
def test_printable(letter: str):
    assert not re.fullmatch(f"[{text.NOT_PRINTABLE}]", letter)
