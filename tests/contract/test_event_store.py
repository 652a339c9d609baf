"""What every event store promises."""

import asyncio
import hashlib
from contextlib import aclosing

import pytest

from adapters.mapper import EventMapper
from domain.errors import Invalid, Stale
from domain.log.record import GENESIS, AggregateId, Event, Recorded, Tail, Unreadable
from handlers.ports import EventStore, Snapshot
from tests.aio import asynchronous
from tests.contract.worlds import MAPPER, Grown, Happened, World, aggregate, meta


async def append_some(store: EventStore, at: AggregateId, count: int, tail: Tail = GENESIS) -> list[Recorded]:
    records = []
    for number in range(count):
        records.append(await store.append(at, Happened(what="it", number=number), meta(), tail))
        tail = records[-1].tail
    return records


async def read(store: EventStore, after: int, *kinds: str) -> list[Recorded]:
    """The backlog: everything up to the empty batch."""
    found: list[Recorded] = []
    async with aclosing(store.follow(after, *kinds)) as batches:
        async for batch in batches:
            if not batch:
                break
            found += batch
    return found


class TestEventAt:
    @asynchronous
    async def test_is_the_event_that_stands_there(self, world: World) -> None:
        async with world:
            store = await world.store()
            events = await append_some(store, aggregate("an id with dots. and blanks"), 2)
            assert [await store.event_at(position) for position in (0, 1, 2, 3)] == [None, *events, None]


class TestLoadFirst:
    @pytest.mark.parametrize(("limit", "found", "more"), [(1, 1, True), (2, 2, True), (3, 3, False), (4, 3, False)])
    @asynchronous
    async def test_returns_the_beginning_and_whether_it_is_all(
        self, world: World, limit: int, found: int, more: bool
    ) -> None:
        async with world:
            store = await world.store()
            events = await append_some(store, aggregate("long"), 3)
            await append_some(store, aggregate("other"), 1)
            assert await store.load_first(aggregate("long"), limit) == (events[:found], more)
            assert await store.load_first(aggregate("nobody"), limit) == ([], False)


class TestUnreadable:
    @asynchronous
    async def test_stands_for_what_this_program_cannot_read_and_the_others_come_all_the_same(
        self, world: World
    ) -> None:
        async with world:
            later = await world.store()
            await append_some(later, aggregate("one"), 1)
            grown = await later.append(aggregate("two"), Grown(by=1), meta(), GENESIS)
            await append_some(later, aggregate("three"), 1)
            store = await world.store(EventMapper([Happened]))
            found = await read(store, 0)
            assert [type(recorded.event) for recorded in found] == [Happened, Unreadable, Happened]
            assert [recorded.aggregate.id for recorded in found] == ["one", "two", "three"]
            assert found[1].tail == grown.tail
            (loaded,) = await store.load(aggregate("two"))
            assert isinstance(loaded.event, Unreadable)
            assert loaded.event.type_name == "sample.grown"


class TestAppend:
    @asynchronous
    async def test_returns_what_load_returns(self, world: World) -> None:
        async with world:
            store = await world.store()
            said = meta(global_request_id="req-2", causation_id="cause 1", user_id='Zoë "%" 日本', project_id=None)
            recorded = await store.append(aggregate(), Happened(what="born", number=7), said, GENESIS)
            assert recorded.cell == world.cell
            assert recorded.meta == said
            assert (recorded.version, recorded.previous) == (1, GENESIS.digest)
            assert await (await world.store()).load(aggregate()) == [recorded]

    @asynchronous
    async def test_numbers_positions_over_all_aggregates_and_versions_in_each(self, world: World) -> None:
        async with world:
            store = await world.store()
            first = await append_some(store, aggregate("a"), 2)
            second = await append_some(store, aggregate("b"), 2)
            assert [r.position for r in first + second] == [1, 2, 3, 4]
            assert [r.version for r in first + second] == [1, 2, 1, 2]
            assert await store.last_position() == 4

    @asynchronous
    async def test_refuses_a_tail_that_is_not_the_end(self, world: World) -> None:
        async with world:
            store = await world.store()
            first, second = await append_some(store, aggregate(), 2)
            for tail in (GENESIS, first.tail, second.tail._replace(position=99)):
                with pytest.raises(Stale):
                    await store.append(aggregate(), Happened(), meta(), tail)
            assert await store.last_position() == 2

    @asynchronous
    async def test_lets_exactly_one_of_many_at_once_win(self, world: World) -> None:
        async with world:
            stores = [await world.store() for _ in range(4)]
            attempts = [stores[n % 4].append(aggregate(), Grown(by=n), meta(), GENESIS) for n in range(20)]
            results = await asyncio.gather(*attempts, return_exceptions=True)
            won = [result for result in results if isinstance(result, Recorded)]
            assert len(won) == 1
            assert sum(isinstance(result, Stale) for result in results) == 19
            assert await stores[0].load(aggregate()) == won

    @asynchronous
    async def test_stores_the_same_event_once(self, world: World) -> None:
        async with world:
            store = await world.store()
            said = meta()
            first = await store.append(aggregate(), Happened(), said, GENESIS)
            await append_some(store, aggregate(), 2, first.tail)
            assert await store.append(aggregate(), Happened(), said, GENESIS) == first
            assert await store.last_position() == 3

    @asynchronous
    async def test_refuses_an_event_id_that_another_event_has(self, world: World) -> None:
        async with world:
            store = await world.store()
            said = meta()
            await store.append(aggregate("a"), Happened(), said, GENESIS)
            with pytest.raises(Invalid):
                await store.append(aggregate("b"), Happened(), said, GENESIS)
            assert await store.last_position() == 1

    @asynchronous
    async def test_many_aggregates_at_once(self, world: World) -> None:
        async with world:
            store = await world.store()
            made = await asyncio.gather(*(append_some(store, aggregate(f"a{n}"), 5) for n in range(40)))
            assert sorted(r.position for records in made for r in records) == list(range(1, 201))
            assert await store.load(aggregate("a7")) == made[7]

    @pytest.mark.parametrize("id_", ["node1.example.com", "a b", "*", "ü>", "user=7", "x" * 200, "a/b:c%41"])
    @asynchronous
    async def test_any_text_names_an_aggregate(self, world: World, id_: str) -> None:
        async with world:
            store = await world.store()
            records = await append_some(store, aggregate(id_), 2)
            await append_some(store, aggregate(id_ + "x"), 1)
            assert await store.load(aggregate(id_)) == records
            assert [r.aggregate.id for r in await read(store, 0)] == [id_, id_, id_ + "x"]


class TestLoad:
    @asynchronous
    async def test_nothing(self, world: World) -> None:
        async with world:
            assert await (await world.store()).load(aggregate()) == []

    @asynchronous
    async def test_only_what_comes_after(self, world: World) -> None:
        async with world:
            store = await world.store()
            records = await append_some(store, aggregate(), 5)
            for known in range(5):
                assert await store.load(aggregate(), records[known].tail) == records[known + 1 :]

    @asynchronous
    async def test_more_than_one_page(self, world: World) -> None:
        async with world:
            store = await world.store()
            records = await append_some(store, aggregate(), 2100)
            assert await store.load(aggregate()) == records

    @asynchronous
    async def test_each_event_carries_the_digest_of_the_one_before(self, world: World) -> None:
        async with world:
            store = await world.store()
            await append_some(store, aggregate(), 3)
            before = GENESIS.digest
            for recorded in await store.load(aggregate()):
                assert recorded.previous == before
                stored = MAPPER.encode(
                    recorded.cell,
                    recorded.aggregate,
                    recorded.event,
                    recorded.meta,
                    Tail(recorded.version - 1, 0, recorded.previous),
                )
                lines = "".join(f"{name}:{value}\n" for name, value in sorted(stored.headers.items()))
                assert recorded.digest == hashlib.sha256(lines.encode() + stored.body).hexdigest()
                before = recorded.digest


class TestFollow:
    @asynchronous
    async def test_an_empty_log_ends_at_once(self, world: World) -> None:
        async with world:
            assert await read(await world.store(), 0) == []

    @asynchronous
    async def test_the_backlog_then_its_end_then_the_news(self, world: World) -> None:
        async with world:
            store = await world.store()
            old = await append_some(store, aggregate("a"), 1200)
            async with aclosing((await world.store()).follow(3)) as batches:
                seen: list[Recorded] = []
                while batch := await anext(batches):
                    seen += batch
                    assert len(batch) <= 1000
                assert seen == old[3:]
                new = await append_some(store, aggregate("b"), 3)
                while len(new) > len(seen) - 1197:
                    batch = await anext(batches)
                    assert batch, "the end is said once"
                    seen += batch
                assert seen[1197:] == new

    @asynchronous
    async def test_only_some_kinds(self, world: World) -> None:
        async with world:
            store = await world.store()
            cats = await append_some(store, aggregate("tom", "cat"), 2)
            await append_some(store, aggregate("rex", "dog"), 2)
            owls = await append_some(store, aggregate("eul", "owl"), 1)
            assert await read(store, 0, "cat", "owl") == cats + owls
            assert await read(store, 1, "cat") == cats[1:]
            assert await read(store, 0, "ant") == []

    @asynchronous
    async def test_news_of_one_kind_after_other_news(self, world: World) -> None:
        async with world:
            store = await world.store()
            await append_some(store, aggregate("rex", "dog"), 2)
            async with aclosing(store.follow(0, "cat")) as batches:
                assert await anext(batches) == []
                await append_some(store, aggregate("pit", "dog"), 2)
                cats = await append_some(store, aggregate("tom", "cat"), 1)
                assert await anext(batches) == cats

    @asynchronous
    async def test_several_followers_each_see_everything(self, world: World) -> None:
        async with world:
            store = await world.store()
            written = asyncio.gather(*(append_some(store, aggregate(f"a{n}"), 20) for n in range(10)))

            async def follow_all() -> list[int]:
                seen: list[int] = []
                async with aclosing((await world.store()).follow(0)) as batches:
                    while len(seen) < 200:
                        seen += [recorded.position for recorded in await anext(batches)]
                return seen

            seen = await asyncio.gather(*(follow_all() for _ in range(3)))
            await written
            assert seen == [list(range(1, 201))] * 3


class TestSnapshots:
    @asynchronous
    async def test_none_at_first(self, world: World) -> None:
        async with world:
            assert await (await world.store()).load_snapshot(aggregate()) is None

    @pytest.mark.parametrize("size", [0, 10, 5_000_000])
    @asynchronous
    async def test_what_is_saved_is_loaded(self, world: World, size: int) -> None:
        body = hashlib.shake_128(b"seed").digest(size)
        async with world:
            store = await world.store()
            snapshot = Snapshot((await append_some(store, aggregate("a.b"), 3))[-1].tail, body)
            await store.save_snapshot(aggregate("a.b"), snapshot)
            assert await (await world.store()).load_snapshot(aggregate("a.b")) == snapshot
            assert await (await world.store()).load_snapshot(aggregate("a")) is None

    @asynchronous
    async def test_the_newer_tail_stays(self, world: World) -> None:
        large = hashlib.shake_128(b"seed").digest(2_000_000)
        async with world:
            store = await world.store()
            tails = [recorded.tail for recorded in await append_some(store, aggregate(), 6)]
            for version, body, kept in [(5, large, large), (4, b"old", large), (6, b"six", b"six")]:
                await store.save_snapshot(aggregate(), Snapshot(tails[version - 1], body))
                found = await store.load_snapshot(aggregate())
                assert found is not None
                assert found.body == kept

    @asynchronous
    async def test_the_newest_of_many_at_once_stays(self, world: World) -> None:
        async with world:
            stores = [await world.store() for _ in range(3)]
            events = await append_some(stores[0], aggregate(), 3)
            snapshots = [Snapshot(event.tail, b"%d" % event.version) for event in events]
            saves = [store.save_snapshot(aggregate(), one) for store, one in zip(stores, snapshots, strict=True)]
            await asyncio.gather(*saves)
            assert await stores[0].load_snapshot(aggregate()) == snapshots[2]

    @pytest.mark.parametrize("wrong", [Tail(9, 9, "d" * 64), Tail(3, 3, "d" * 64), Tail(2, 4, "d" * 64)])
    @asynchronous
    async def test_one_that_the_log_does_not_bear_out_is_forgotten(self, world: World, wrong: Tail) -> None:
        async with world:
            store = await world.store()
            events = await append_some(store, aggregate(), 3)
            await append_some(store, aggregate("another"), 1)
            await store.save_snapshot(aggregate(), Snapshot(wrong, b"of another log" * 100_000))
            assert await store.load_snapshot(aggregate()) is None
            await store.save_snapshot(aggregate(), Snapshot(events[0].tail, b"right"))
            assert await store.load_snapshot(aggregate()) == Snapshot(events[0].tail, b"right")


@asynchronous
async def test_the_log_of_an_older_program_is_read_through_upcasters(world: World) -> None:
    class Renamed(Event, tag="sample.happened"):
        schema_version = 2
        name: str
        number: int = 0

    newer = EventMapper(
        [Renamed], {("sample.happened", 1): lambda body: {**body, "name": body.get("what", "").upper()}}
    )
    async with world:
        await append_some(await world.store(), aggregate(), 1)
        store = await world.store(newer)
        loaded = await store.load(aggregate())
        assert [recorded.event for recorded in loaded] == [Renamed(name="IT")]
        added = await store.append(aggregate(), Renamed(name="new"), meta(), loaded[0].tail)
        assert await store.load(aggregate()) == [*loaded, added]
