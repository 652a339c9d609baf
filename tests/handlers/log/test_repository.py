"""A command that loses the race is decided again."""

import asyncio

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from adapters.system import SystemClock, SystemIds
from domain.catalogue import keypair
from domain.kinds import EVENTS
from handlers.context import Context, Stamp
from handlers.log.repository import NEVER_WAS, Repository
from tests.aio import asynchronous


@asynchronous
async def test_whoever_decided_on_a_stale_state_decides_again() -> None:
    broker = Broker(SystemClock())
    store = MemoryEventStore(broker, "api", EventMapper(EVENTS))
    repository = Repository(keypair.KIND, store, Stamp(SystemClock(), SystemIds()))
    aggregate = keypair.aggregate("u")

    async def create(name: str) -> None:
        await repository.execute(
            Context(request_id=name),
            aggregate,
            lambda known: keypair.create(known, name=name, key_type="ssh", public_key="k", fingerprint="f"),
            NEVER_WAS,
        )

    await asyncio.gather(*(create(f"k{number}") for number in range(10)))
    keypairs, tail = await repository.load(aggregate)
    assert keypairs
    assert len(keypairs.by_name) == tail.version == 10
    await broker.close()
