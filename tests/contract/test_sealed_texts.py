"""What every event store promises of texts that are sealed in the log."""

from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.mapper import EventMapper
from adapters.sealed_texts import ERASED, MARK
from domain.catalogue import keypair
from domain.catalogue.keypair import KeypairCreated, KeypairDeleted
from domain.kinds import EVENTS
from domain.log.record import GENESIS, AggregateId, Event, Recorded
from domain.personal import WORDS
from domain.server import state
from domain.server.creation import ServerRequested
from domain.server.details import ServerDescribed
from handlers.ports import EventStore, Snapshot
from tests.aio import asynchronous
from tests.contract.test_event_store import read
from tests.contract.worlds import World, meta
from tests.domain.server.servers import FLAVOR

MAPPER = EventMapper(EVENTS)
SERVER = "1f0e3dad-9990-4bd5-a1f6-2f1d5b0f7a01"
KEY = KeypairCreated(name="mine", key_type="ssh", public_key="ssh-ed25519 AAAA me@home", fingerprint="aa:bb")


def requested(**more: Any) -> ServerRequested:
    return ServerRequested(
        server_id=SERVER, name="web1", project_id="blue", user_id="alice", flavor=FLAVOR,
        deadline=datetime(2026, 1, 1, tzinfo=UTC), **more,
    )  # fmt: skip


async def record(store: EventStore, aggregate: AggregateId, *events: Event) -> list[Recorded]:
    records: list[Recorded] = []
    for event in events:
        records.append(await store.append(aggregate, event, meta(), records[-1].tail if records else GENESIS))
    return records


async def told(store: EventStore, aggregate: AggregateId) -> list[list[Event]]:
    """The events by each way on which they can be read."""
    events = await read(store, 0, aggregate.kind)
    one_by_one = [await store.event_at(recorded.position) for recorded in events]
    first, _ = await store.load_first(aggregate, 100)
    ways = (events, await store.load(aggregate), first, one_by_one)
    return [[recorded.event for recorded in way if recorded] for way in ways]


async def stored(world: World, aggregate: AggregateId) -> list[Any]:
    """The events as the log has them."""
    return [recorded.event for recorded in await (await world.store(MAPPER)).load(aggregate)]


@asynchronous
async def test_are_sealed_in_the_log_and_plain_to_who_reads_it(world: World) -> None:
    async with world:
        store, aggregate = await world.store(MAPPER, seals=WORDS), state.aggregate(SERVER)
        await (await world.vault()).seal(SERVER, b"{}")
        wish = requested(description="words", key_name="mine", access_ipv4="198.51.100.1")
        events = [wish, ServerDescribed(description=None)]
        records = await record(store, aggregate, *events)
        assert [recorded.event for recorded in records] == events
        assert await told(store, aggregate) == [events] * 4
        kept, _ = await stored(world, aggregate)
        assert all(text.startswith(MARK) for text in (kept.description, kept.key_name, kept.access_ipv4))
        assert kept.name == "web1"
        assert await told(await world.store(MAPPER, seals=()), aggregate) == [events] * 4


@asynchronous
async def test_are_erased_with_their_key(world: World) -> None:
    async with world:
        store, vault, aggregate = await world.store(MAPPER, seals=WORDS), await world.vault(), state.aggregate(SERVER)
        await vault.seal(SERVER, b"{}")
        await record(store, aggregate, requested(description="words"), ServerDescribed(description="words"))
        before = await stored(world, aggregate)
        await vault.destroy(SERVER)
        ways = await told(store, aggregate)
        assert ways == [ways[0]] * 4
        first, second = (getattr(event, "description", "") for event in ways[0])
        assert first.startswith(ERASED)
        assert first == second, "equal texts are still equal"
        assert await stored(world, aggregate) == before
        await vault.seal(SERVER, b"{}")
        assert await told(store, aggregate) == ways, "another key opens nothing"


@asynchronous
async def test_only_what_was_named_is_sealed(world: World) -> None:
    async with world:
        store, aggregate = await world.store(MAPPER, seals=("descriptions",)), state.aggregate(SERVER)
        await (await world.vault()).seal(SERVER, b"{}")
        await record(store, aggregate, requested(description="words", key_name="mine"))
        (kept,) = await stored(world, aggregate)
        assert (kept.description[:7], kept.key_name) == (MARK, "mine")


@asynchronous
async def test_what_belongs_to_a_server_without_a_key_stays_plain(world: World) -> None:
    async with world:
        store, vault, aggregate = await world.store(MAPPER, seals=WORDS), await world.vault(), state.aggregate(SERVER)
        await record(store, aggregate, requested(description="words"))
        assert await stored(world, aggregate) == [requested(description="words")]
        assert await vault.owners() == [], "nobody would destroy it"


@asynchronous
async def test_keypairs_are_sealed_with_a_key_of_their_user(world: World) -> None:
    async with world:
        store, aggregate = await world.store(MAPPER, seals=WORDS), keypair.aggregate("alice")
        await record(store, aggregate, KEY, KeypairDeleted(name="mine"))
        created, deleted = await stored(world, aggregate)
        assert created.name == deleted.name
        assert created.name.startswith(MARK)
        assert await (await world.vault()).owners() == ["alice"]
        assert await told(store, aggregate) == [[KEY, KeypairDeleted(name="mine")]] * 4


@pytest.mark.parametrize("seals", [(), WORDS])
@pytest.mark.parametrize("has_key", [False, True])
@pytest.mark.parametrize(
    "text", ["sealed:", "sealed:v1.0123456789abcdef.AAAA", "sealed:plain.", "sealed:plain.sealed:"]
)
@asynchronous
async def test_what_only_looks_sealed_stays_what_it_is(
    world: World, text: str, has_key: bool, seals: tuple[str, ...]
) -> None:
    async with world:
        store, aggregate = await world.store(MAPPER, seals=seals), state.aggregate(SERVER)
        if has_key:
            await (await world.vault()).seal(SERVER, b"{}")
        await record(store, aggregate, requested(description=text))
        assert await told(store, aggregate) == [[requested(description=text)]] * 4


@asynchronous
async def test_what_nobody_sealed_so_is_shown_as_it_is(world: World) -> None:
    async with world:
        plain, aggregate = await world.store(MAPPER), state.aggregate(SERVER)
        await (await world.vault()).seal(SERVER, b"{}")
        await record(plain, aggregate, requested(description="sealed:nonsense"))
        store = await world.store(MAPPER, seals=WORDS)
        assert await told(store, aggregate) == [[requested(description="sealed:nonsense")]] * 4


@asynchronous
async def test_snapshots_are_sealed_and_gone_with_the_key(world: World) -> None:
    async with world:
        store, vault, aggregate = await world.store(MAPPER, seals=WORDS), await world.vault(), state.aggregate(SERVER)
        await vault.seal(SERVER, b"{}")
        (recorded,) = await record(store, aggregate, requested(description="words"))
        await store.save_snapshot(aggregate, Snapshot(recorded.tail, b'["words"]'))
        assert await store.load_snapshot(aggregate) == Snapshot(recorded.tail, b'["words"]')
        kept = await (await world.store(MAPPER)).load_snapshot(aggregate)
        assert kept
        assert b"words" not in kept.body
        await vault.destroy(SERVER)
        assert await store.load_snapshot(aggregate) is None
