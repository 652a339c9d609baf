from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.embedded.nats import EmbeddedNats, NatsProcess, free_port
from tests.contract.hypervisor import Host, LibvirtHost, SimulatedHost
from tests.contract.worlds import MemoryWorld, NatsWorld, World


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNats]:
    """A real server that no test may harm; each test has a cell of its own on it."""
    process = NatsProcess(EmbeddedNats(tmp_path_factory.mktemp("nats"), free_port()))
    process.start()
    yield process.server
    process.kill()


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.nats)])
def world(request: pytest.FixtureRequest) -> World:
    """One contract, each place where it has to hold."""
    if request.param == "memory":
        return MemoryWorld()
    return NatsWorld(request.getfixturevalue("nats_server"))


@pytest.fixture(params=["simulated", pytest.param("libvirt", marks=pytest.mark.libvirt)])
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    """One contract, each place where it has to hold."""
    if request.param == "simulated":
        return SimulatedHost()
    request.getfixturevalue("libvirtd")
    return LibvirtHost(tmp_path)
