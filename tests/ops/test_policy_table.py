from pathlib import Path

from adapters.rest import compute, image, network, volume
from adapters.rest.kit.operation import Access
from adapters.rest.kit.policy_checks import read_overrides
from ops.policy_table import FILE, table


def test_the_table_of_policies_is_current() -> None:
    assert FILE.read_text() == table(), "run: python -m ops.policy_table"


def test_an_operation_of_the_same_rule_has_the_same_default() -> None:
    defaults: dict[str, set[Access]] = {}
    for operation in (*compute.operations(), *image.operations(), *network.operations(), *volume.operations()):
        defaults.setdefault(operation.rule, set()).add(operation.access)
    assert {rule for rule, found in defaults.items() if len(found) > 1} == set()


def test_each_line_of_it_can_be_used(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(table().replace('#"', '"'))
    assert len(read_overrides(file)) > 100
