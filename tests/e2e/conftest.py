from collections.abc import Iterator

import pytest

from ops.identity import project_id
from tests.e2e.live_stack import LiveStack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """One stack for all end-to-end tests; each leaves it empty."""
    live = LiveStack(tmp_path_factory.mktemp("stack"))
    try:
        live.up()
        yield live
    finally:
        live.down()


@pytest.fixture
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """A stack of its own for one test, with simulated hosts."""
    live = LiveStack(tmp_path_factory.mktemp("simulated"), "--simulated-hosts", "3")
    try:
        live.up()
        yield live
    finally:
        live.down()


@pytest.fixture(scope="module")
def expendable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """A stack whose log is damaged by the tests of a module. Its project has no limits: what was lost counts for a
    while yet."""
    live = LiveStack(tmp_path_factory.mktemp("expendable"), "--simulated-hosts", "3")
    try:
        live.up()
        unlimited = {"quota_set": {"instances": -1, "cores": -1, "ram": -1}}
        answer = live.call("PUT", f"/compute/v2.1/os-quota-sets/{project_id('admin')}", unlimited)
        assert answer.status == 200, answer
        yield live
    finally:
        live.down()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/e2e/" in str(item.path):
            item.add_marker(pytest.mark.e2e)
