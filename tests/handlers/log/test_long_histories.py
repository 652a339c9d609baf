"""The thousandth change costs what the first did, and what is remembered has an end."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from adapters.system import SystemIds
from domain.errors import Refused
from domain.kinds import EVENTS
from domain.log.record import GENESIS, AggregateId, Recorded, Tail
from domain.server import details
from domain.server.details import ServerRenamed, ServerTagsChanged
from domain.server.fold import KIND, VERSION
from domain.server.state import Server, aggregate, existing
from handlers.context import Context, Stamp
from handlers.log.remembered import Remembered
from handlers.log.repository import SHORT, SNAPSHOT_EVERY, Repository
from handlers.ports import Snapshot
from tests.aio import asynchronous
from tests.clocks import InstantClock
from tests.domain.server.servers import REQUESTED, SERVER_ID

CONTEXT = Context(request_id="req-1")
SERVER = aggregate(SERVER_ID)


class CountingStore(MemoryEventStore):
    """Counts the events that are read."""

    read = 0

    snapshots_asked = 0

    async def load(self, aggregate: AggregateId, after: Tail = GENESIS) -> list[Recorded]:
        records = await super().load(aggregate, after)
        self.read += len(records)
        return records

    async def load_first(self, aggregate: AggregateId, limit: int) -> tuple[list[Recorded], bool]:
        records, more = await super().load_first(aggregate, limit)
        self.read += len(records)
        return records, more

    async def load_snapshot(self, aggregate: AggregateId) -> Snapshot | None:
        self.snapshots_asked += 1
        return await super().load_snapshot(aggregate)


class Cell:
    def __init__(self) -> None:
        self.clock = InstantClock()
        self.broker = Broker(self.clock)
        self.stamp = Stamp(self.clock, SystemIds())
        self.store = self.another_store()

    def another_store(self) -> CountingStore:
        return CountingStore(self.broker, "cell1", EventMapper(EVENTS))

    def repository(self, store: CountingStore | None = None) -> Repository[Server]:
        return Repository(KIND, store or self.store, self.stamp)


def named(number: int) -> Any:
    return lambda server: ServerRenamed(name=f"name {number}") if server else REQUESTED


async def lived(cell: Cell, changes: int) -> Repository[Server]:
    repository = cell.repository()
    for number in range(changes):
        await repository.execute(CONTEXT, SERVER, named(number))
        await asyncio.sleep(0)  # a snapshot is saved beside
    return repository


@asynchronous
async def test_each_change_reads_nothing_that_is_known() -> None:
    cell = Cell()
    repository = await lived(cell, SHORT + 1)
    cell.store.read = 0
    for number in range(1000):
        await repository.execute(CONTEXT, SERVER, named(number))
    assert cell.store.read == 0


@asynchronous
async def test_what_others_did_is_all_that_is_read() -> None:
    cell = Cell()
    mine, theirs = await lived(cell, SHORT + 5), cell.repository(cell.another_store())
    for number in range(7):
        await theirs.execute(CONTEXT, SERVER, named(100 + number))
    cell.store.read = 0
    state, _ = await mine.execute(CONTEXT, SERVER, named(1))
    assert (cell.store.read, state.version if state else 0) == (7, SHORT + 13)


@asynchronous
async def test_of_a_short_history_no_snapshot_is_asked_for() -> None:
    cell = Cell()
    await lived(cell, SHORT)
    store = cell.another_store()
    state, tail = await cell.repository(store).load(SERVER)
    assert state
    assert (state.version, tail.version, store.read, store.snapshots_asked) == (SHORT, SHORT, SHORT, 0)


@asynchronous
async def test_a_newcomer_begins_with_the_snapshot() -> None:
    cell = Cell()
    await lived(cell, 1000 + SNAPSHOT_EVERY // 2)
    store = cell.another_store()
    state, tail = await cell.repository(store).load(SERVER)
    assert state
    assert (state.version, tail.version, state.name) == (1050, 1050, "name 1049")
    assert store.read <= SHORT + SNAPSHOT_EVERY


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"{}",
        b'[1, "nonsense"]',
        msgspec.json.encode((VERSION + 1, {"id": "x"})),
        msgspec.json.encode((VERSION, {"id": "x"})),
    ],
)
@asynchronous
async def test_a_snapshot_that_is_of_no_use_is_not_looked_at(body: bytes) -> None:
    cell = Cell()
    await lived(cell, SHORT + 1)
    recorded = (await cell.store.load(SERVER))[-1]
    await cell.store.save_snapshot(SERVER, Snapshot(recorded.tail, body))
    state, _ = await cell.repository(cell.another_store()).load(SERVER)
    assert state
    assert state.name == f"name {SHORT}"


@asynchronous
async def test_a_snapshot_of_another_history_is_not_looked_at() -> None:
    cell, other = Cell(), Cell()
    await lived(cell, SHORT + 2)
    await lived(other, SHORT + 1)
    state, tail = await other.repository().load(SERVER)
    body = msgspec.json.encode((VERSION, state))
    for elsewhere in (tail, Tail(99, 99, "0" * 64)):
        await cell.store.save_snapshot(SERVER, Snapshot(elsewhere, body))
        found, _ = await cell.repository(cell.another_store()).load(SERVER)
        assert found
        assert found.name == f"name {SHORT + 1}"


@asynchronous
async def test_a_refusal_is_decided_on_what_the_log_has() -> None:
    cell = Cell()
    mine, theirs = await lived(cell, 1), cell.repository(cell.another_store())
    known = await mine.load(SERVER)
    await theirs.execute(CONTEXT, SERVER, lambda _: ServerTagsChanged(tags=("blue",)))

    def remove(server: Server | None) -> Any:
        if server is None or "blue" not in server.tags:
            raise Refused("tag.not_found", "no such tag", status=404)
        return ServerTagsChanged(tags=())

    state, recorded = await mine.execute(CONTEXT, SERVER, remove, known)
    assert recorded
    assert state
    assert state.tags == ()
    with pytest.raises(Refused):
        await mine.execute(CONTEXT, SERVER, remove, known)


@asynchronous
async def test_nothing_to_do_is_decided_on_what_the_log_has() -> None:
    cell = Cell()
    mine, theirs = await lived(cell, 1), cell.repository(cell.another_store())
    known = await mine.load(SERVER)
    await theirs.execute(CONTEXT, SERVER, named(1))
    state, recorded = await mine.execute(
        CONTEXT, SERVER, lambda server: details.rename(existing(server, SERVER_ID), "name 0"), known
    )
    assert recorded
    assert state
    assert state.name == "name 0"


sizes = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40), st.booleans()), max_size=60)


@given(sizes)
def test_what_is_remembered_has_room(steps: list[tuple[int, int, bool]]) -> None:
    memory: Remembered[int] = Remembered(lambda size: size, max_bytes=100)
    model: dict[int, int] = {}
    for key, size, put in steps:
        if put:
            memory.put(str(key), size)
            model.pop(key, None)
            model[key] = size
            while sum(model.values()) > 100 and len(model) > 1:
                del model[next(iter(model))]
        elif key in model:
            assert memory.get(str(key)) == model[key]
            model[key] = model.pop(key)
        else:
            assert memory.get(str(key)) is None
        assert memory.bytes == sum(model.values())
        assert len(memory) == len(model)
