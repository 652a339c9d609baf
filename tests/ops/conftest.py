from tests.adapters.nats.conftest import mortal
from tests.contract.conftest import nats_server

__all__ = ["mortal", "nats_server"]
