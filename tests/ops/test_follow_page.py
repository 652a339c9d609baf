"""The page shows the programs that the tests run."""

import re
from pathlib import Path

import pytest

OPS = Path(__file__).parents[2] / "ops"


@pytest.mark.parametrize("name", ["cloud_events", "usage_by_project"])
def test_the_page_shows_the_program(name: str) -> None:
    shown = re.findall(r"```python\n(.*?)```", (OPS / "docs" / "follow.md").read_text(), re.DOTALL)
    assert (OPS / "examples" / f"{name}.py").read_text() in shown
