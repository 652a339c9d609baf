"""Placement's own suites, unchanged, against our service. With its default policy the real one passes 1,124."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from ops.bench.placement_service import placement_service
from ops.oracles import environment

RUNNER = Path(__file__).parent / "placement_suites.py"
PASSED = 1124


@pytest.mark.nats
def test_every_suite_for_the_default_policy_passes() -> None:
    python = environment("placement") / "python"
    with placement_service(workers=2) as service:
        done = subprocess.run([str(python), str(RUNNER), service.url], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = json.loads(done.stdout)
    failed = {
        f"{suite}: {test}": outcome
        for suite, tests in outcomes.items()
        for test, outcome in tests
        if outcome not in ("passed", "skipped")
    }
    assert failed == {}
    counts = Counter(outcome for tests in outcomes.values() for _, outcome in tests)
    assert counts["passed"] >= PASSED, counts
