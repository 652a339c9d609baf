"""What people are told to open is there."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("CONTRIBUTING.md", "README.md", *sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("ops/docs/*.md")))
FOLDERS = ("domain/", "handlers/", "projections/", "adapters/", "ops/", "tests/")


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    named = {word.strip(".,;:()") for word in re.findall(r"`([^`\s]+)`", text) if word.startswith(FOLDERS)}
    linked = {(ROOT / page).parent / link for link in re.findall(r"\]\(([^)#:]+)\)", text)}
    missing = {name for name in named if not (ROOT / name).exists()} | {str(at) for at in linked if not at.exists()}
    assert missing == set()


def test_the_fast_checks_know_their_arguments() -> None:
    refused = subprocess.run([ROOT / "ops" / "test", "--nonsense"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--fast" in refused.stderr


def test_the_route_is_short() -> None:
    stops = re.findall(r"^\| \d+ \| `([^`]+)`", (ROOT / "ops/docs/route.md").read_text(), re.MULTILINE)
    assert 0 < len(stops) == len(set(stops)) <= 10
