"""What is newer than somebody knows is found without a search through the log."""

import pytest

from adapters.nats.log import Log
from adapters.nats.store import NatsEventStore
from ops.embedded.nats import EmbeddedNats
from tests.aio import asynchronous
from tests.contract.test_event_store import aggregate, append_some
from tests.contract.worlds import NatsWorld

pytestmark = pytest.mark.nats


@asynchronous
async def test_who_knows_all_but_the_last_event_has_nothing_looked_for(
    nats_server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the middle of a log nats-server reads a whole block to find what comes next on a subject."""
    async with NatsWorld(nats_server) as world:
        store = await world.store()
        assert isinstance(store, NatsEventStore)
        records = await append_some(store, aggregate(), 3)
        await append_some(store, aggregate("another"), 3)

        def look(*_: object) -> None:
            raise AssertionError

        monkeypatch.setattr(Log, "page", look)
        assert await store.load(aggregate(), records[2].tail) == []
        assert await store.load(aggregate(), records[1].tail) == records[2:]
        with pytest.raises(AssertionError):
            await store.load(aggregate(), records[0].tail)
