"""The microversions have names."""

import re
from pathlib import Path

from adapters.rest import compute
from adapters.rest.kit import microversion, since

NAMED = {name: number for name, number in vars(since).items() if name.isupper()}


def test_each_name_is_of_another_microversion_that_is_spoken() -> None:
    assert len(set(NAMED.values())) == len(NAMED)
    assert list(NAMED.values()) == sorted(NAMED.values())
    assert min(NAMED.values()) > microversion.MINIMUM
    assert max(NAMED.values()) <= microversion.MAXIMUM


def test_compute_asks_by_name() -> None:
    files = {file.name: file.read_text() for file in Path(compute.__file__).parent.rglob("*.py")}
    asked = {name: re.findall(r"minor\s*[<>=]+\s*\d+|(?:first|last)=\d+", text) for name, text in files.items()}
    assert {name: found for name, found in asked.items() if found} == {}
