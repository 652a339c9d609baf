"""Placement's own suites, unchanged, against our service. The real one passes as many."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from ops.bench.placement_service import PlacementService, placement_service
from ops.oracles import environment

RUNNER = Path(__file__).parent / "placement_suites.py"

OPEN_POLICY = """\
# Everybody may do everything.
"service_api": "@"
"admin_or_service_api": "@"
"admin_or_project_reader_or_service_api": "@"
"""


def _outcomes(service: PlacementService, *profiles: str) -> Counter[str]:
    """How many passed and were skipped; every failure fails the test."""
    python = environment("placement") / "python"
    done = subprocess.run(
        [str(python), str(RUNNER), service.url, *profiles], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = json.loads(done.stdout)
    failed = {
        f"{suite}: {test}": outcome
        for suite, tests in outcomes.items()
        for test, outcome in tests
        if outcome not in ("passed", "skipped")
    }
    assert failed == {}
    return Counter(outcome for tests in outcomes.values() for _, outcome in tests)


@pytest.mark.nats
def test_every_suite_for_the_default_policy_passes() -> None:
    with placement_service(workers=2, more="trust_services = true") as service:
        assert _outcomes(service, "default", "secure-rbac")["passed"] >= 1124


@pytest.mark.nats
@pytest.mark.parametrize(
    ("profile", "settings", "passed"),
    [
        ("legacy-rbac", "enforce_new_defaults = false\ntrust_services = true", 146),
        ("open-policy", 'policy_file = "{file}"', 41),
        ("cors", 'allowed_origins = ["http://valid.example.com"]', 4),
    ],
)
def test_the_suites_for_what_an_operator_can_set_pass(
    profile: str, settings: str, passed: int, tmp_path: Path
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(OPEN_POLICY)
    with placement_service(more=settings.format(file=file)) as service:
        assert _outcomes(service, profile)["passed"] >= passed
