"""The fixtures of tests that need the real libvirt."""

from collections.abc import Callable, Iterator

import pytest

from tests.own_hosts import OwnHost, OwnHosts
from tests.real_libvirt import Daemons


@pytest.fixture(scope="session")
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    """A libvirtd for the whole run: the machine's if it runs one, else ours until the end."""
    daemons = Daemons(tmp_path_factory.mktemp("libvirtd"))
    daemons.start()
    yield daemons
    daemons.stop()


@pytest.fixture
def own_hosts() -> Iterator[Callable[[int], list[OwnHost]]]:
    """So many hosts of the test's own, on a network of their own: to be killed, cut off, configured."""
    with OwnHosts() as hosts:
        yield hosts.start


@pytest.fixture
def own_libvirt() -> Iterator[OwnHost]:
    """A libvirt of the test's own in the network of this machine, beside the machine's."""
    with OwnHosts() as hosts:
        yield hosts.start_one_here()
