"""The fixture of tests that need the real libvirt."""

from collections.abc import Iterator

import pytest

from tests.real_libvirt import Daemons


@pytest.fixture(scope="session")
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    """A libvirtd for the whole run: the machine's if it runs one, else ours until the end."""
    daemons = Daemons(tmp_path_factory.mktemp("libvirtd"))
    daemons.start()
    yield daemons
    daemons.stop()
