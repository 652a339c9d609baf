from collections.abc import Iterator

import pytest

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "/e2e/" in str(item.path):
            item.add_marker(pytest.mark.e2e)
