"""What tests of all folders share."""

import pytest

from tests.libvirt_fixtures import libvirtd

__all__ = ["libvirtd"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under xdist (``--dist loadgroup``) one worker has libvirtd, which may be killed by a test, for itself."""
    for item in items:
        if item.get_closest_marker("libvirt"):
            item.add_marker(pytest.mark.xdist_group("libvirt"))
