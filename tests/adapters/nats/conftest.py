from collections.abc import Iterator

import pytest

from ops.embedded.nats import EmbeddedNats, NatsProcess, free_port
from ops.host_keys import HostKeys
from tests.contract.conftest import nats_server

__all__ = ["nats_server"]

HOSTS = ("node1.example.com", "node2", "node3")
SIMULATED_HOSTS = ("sim-0001", "sim-0002")


@pytest.fixture
def mortal(tmp_path) -> Iterator[NatsProcess]:
    """A server of one's own, to be killed and started again."""
    process = NatsProcess(EmbeddedNats(tmp_path, free_port()))
    process.start()
    yield process
    process.kill()


@pytest.fixture
def with_hosts(tmp_path) -> Iterator[EmbeddedNats]:
    """A server of one's own with HOSTS, each with its credential, and SIMULATED_HOSTS in the cell ``cell1``."""
    keys = HostKeys(tmp_path / "hosts")
    for host in HOSTS:
        keys.add(host)
    process = NatsProcess(
        EmbeddedNats(tmp_path / "nats", free_port(), hosts=keys, simulated=SIMULATED_HOSTS),
    )
    process.start()
    yield process.server
    process.kill()
