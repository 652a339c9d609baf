"""Two thousand fresh seeds each time. A failing seed is printed: ``python -m tests.sim --first SEED --seeds 1``."""

import subprocess
import sys

SEEDS = 2000


def test_at_rest_everything_is_in_order() -> None:
    command = [sys.executable, "-m", "tests.sim", "--seeds", str(SEEDS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
