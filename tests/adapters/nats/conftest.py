from collections.abc import Iterator

import pytest

from ops.embedded.nats import EmbeddedNats, NatsProcess, free_port
from tests.contract.conftest import nats_server

__all__ = ["nats_server"]


@pytest.fixture
def mortal(tmp_path) -> Iterator[NatsProcess]:
    """A server of one's own, to be killed and started again."""
    process = NatsProcess(EmbeddedNats(tmp_path, free_port()))
    process.start()
    yield process
    process.kill()
