from tests.adapters.nats.conftest import mortal
from tests.contract.conftest import nats_server
from tests.projections.conftest import database, postgres

__all__ = ["database", "mortal", "nats_server", "postgres"]
