"""What tests of all folders share."""

import hypothesis
import pytest

from tests.libvirt_fixtures import libvirtd, own_hosts, own_libvirt
from tests.postgres_fixtures import database, postgres

# How long an example takes says something of the machine only.
hypothesis.settings.register_profile("lightcurve", deadline=None)
hypothesis.settings.load_profile("lightcurve")

__all__ = ["database", "libvirtd", "own_hosts", "own_libvirt", "postgres"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under xdist (``--dist loadgroup``) one worker has libvirtd, which may be killed by a test, for itself."""
    for item in items:
        if item.get_closest_marker("libvirt"):
            item.add_marker(pytest.mark.xdist_group("libvirt"))
