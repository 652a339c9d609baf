"""Two thousand seeds each time. A failing one is printed: ``python -m tests.sim --first SEED --seeds 1``."""

import hashlib
import subprocess
import sys
from pathlib import Path
from random import SystemRandom

import pytest

SEEDS = 2000
ROOT = Path(__file__).parents[2]
SIMULATED = ("domain", "handlers", "projections", "adapters/memory", "adapters/simulated", "tests/sim")


def of_this_code() -> int:
    """The first of the seeds that belong to the code as it is: each change of it meets others, and who runs the tests
    of the same code once more gets the same."""
    digest = hashlib.sha256()
    for path in sorted(path for place in SIMULATED for path in (ROOT / place).rglob("*.py")):
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:5])


@pytest.mark.parametrize("first", [of_this_code, pytest.param(lambda: SystemRandom().randrange(2**40), id="fresh",
                                                              marks=pytest.mark.long)])  # fmt: skip
def test_at_rest_everything_is_in_order(first: object) -> None:
    assert callable(first)
    command = [sys.executable, "-m", "tests.sim", "--seeds", str(SEEDS), "--first", str(first())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
