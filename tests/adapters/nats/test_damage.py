"""What was lost of a log is found, told, and gone on without: on the real server, damaged while it is stopped."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.mapper import BrokenChain, EventMapper
from adapters.nats.connection import Connection
from adapters.nats.reader import Reader
from adapters.nats.soundness import DAMAGE, WITNESS, Gaps, Recovered
from adapters.nats.store import NatsEventStore
from domain.errors import OutOfOrder, Unavailable
from domain.log.record import GENESIS
from domain.log.recovery import Missing, RecoveryDecided, ranges, told
from handlers.ports import Snapshot
from ops.embedded.nats import NatsProcess
from tests.adapters.nats.damage import (
    Damage,
    cut_the_end,
    cut_the_end_without_an_index,
    flip_a_byte,
    put_back,
)
from tests.aio import asynchronous
from tests.contract.test_event_store import read
from tests.contract.worlds import Grown, Happened, NatsWorld, aggregate, meta

pytestmark = pytest.mark.nats

MAPPER = EventMapper([Happened, Grown, RecoveryDecided])
AGGREGATES, EVENTS = 5, 300
LONG = "x" * 1000
"""So that a cut of 64 KiB takes some of the events, and a byte in the middle is in a body."""


async def _write(store: NatsEventStore, first: int, count: int) -> None:
    tails = {}
    for number in range(first, first + count):
        at = aggregate(str(number % AGGREGATES))
        history = [] if at in tails else await store.load(at)
        tail = tails.get(at) or (history[-1].tail if history else GENESIS)
        tails[at] = (await store.append(at, Happened(what=LONG, number=number), meta(), tail)).tail


async def _store(world: NatsWorld) -> NatsEventStore:
    store = NatsEventStore(await world.connection(), world.cell, MAPPER)
    await store.soundness.open()
    return store


def _revived(server: NatsProcess, world: NatsWorld) -> NatsWorld:
    """The same cell again."""
    revived = NatsWorld(server.server)
    revived.cell = world.cell
    return revived


@asynccontextmanager
async def _with_a_flipped_byte(server: NatsProcess) -> AsyncIterator[NatsWorld]:
    """A cell with events, one of which was damaged while the server was stopped."""
    async with NatsWorld(server.server) as world:
        await _write(await _store(world), 0, EVENTS)
    server.stop()
    flip_a_byte(server.server.directory, world.cell)
    server.start()
    async with _revived(server, world) as revived:
        yield revived


async def _announce(connection: Connection, world: NatsWorld, position: int) -> None:
    """As the projector does, which remembers in another place."""
    await connection.call(f"cell.{world.cell}.position.{WITNESS}", str(position).encode())


async def _everything(store: NatsEventStore, connection: Connection) -> list[int]:
    class All:
        def __contains__(self, _: object) -> bool:
            return True

    found: list[int] = []
    async for batch in Reader(connection, store.stream, known_missing=All()).batches():
        if not batch:
            break
        found += [position for position, _ in batch]
    return found


DAMAGES: dict[str, tuple[Damage | None, str]] = {
    "a flipped byte": (flip_a_byte, "lacks"),
    "a cut end": (cut_the_end, "lacks"),
    "a cut end without an index": (cut_the_end_without_an_index, "events are gone"),
    "an older copy": (None, "events are gone"),
}


@pytest.mark.parametrize("kind", DAMAGES)
@asynchronous
async def test_damage_is_told_and_closes_the_log_until_the_operator_goes_on(
    mortal: NatsProcess, tmp_path: Path, kind: str
) -> None:
    damage, words = DAMAGES[kind]
    copy = tmp_path / "copy"
    async with NatsWorld(mortal.server) as world:
        await _write(await _store(world), 0, EVENTS)
    if damage is None:
        mortal.stop()
        shutil.copytree(mortal.server.directory, copy)
        mortal.start()
        damage = put_back(copy)
    async with _revived(mortal, world) as again:
        await _write(await _store(again), EVENTS, 10)
    mortal.stop()
    damage(mortal.server.directory, world.cell)
    mortal.start()
    async with _revived(mortal, world) as after:
        connection = await after.connection()
        await _announce(connection, after, EVENTS + 10)
        store = await _store(after)
        if store.soundness.damage is None:
            # The server counts what it cannot deliver; who reads finds out, and tells the others.
            with pytest.raises(BrokenChain):
                await read(store, 0)
            another = await _store(after)
            assert another.soundness.damage == store.soundness.damage
        assert words in str(store.soundness.damage)
        with pytest.raises(Unavailable, match="lightcurve recover"):
            await store.append(aggregate("new"), Happened(), meta(), GENESIS)
        left = await _everything(store, connection)
        end = await store.last_position()
        lost = sorted(set(range(1, end + 1)) - set(left))
        assert bool(lost) == (words == "lacks")
        decided = RecoveryDecided(missing=ranges(lost), end=end, known_end=EVENTS + 10)
        await store.append_recovery(decided, meta())
        store.soundness.mend()
        # As one that has not heard of it yet.
        store.soundness._announce_damage(DAMAGE, str(store.soundness.damage))
        with pytest.raises(Recovered):
            await store.soundness.check()
        await _check_it_goes_on(await _store(after), lost)


async def _check_it_goes_on(store: NatsEventStore, lost: list[int]) -> None:
    assert store.soundness.damage is None
    found = await read(store, 0)
    assert not set(lost) & {recorded.position for recorded in found}
    for number in range(AGGREGATES):
        history = await store.load(aggregate(str(number)))
        added = await store.append(aggregate(str(number)), Happened(what="more"), meta(), history[-1].tail)
        assert (await store.load(aggregate(str(number))))[-1] == added
    assert await read(store, 0, "sample") == [
        recorded for recorded in await read(store, 0) if recorded.aggregate.kind == "sample"
    ]
    await store.soundness.check()


@asynchronous
async def test_a_follower_of_some_kinds_is_ready_though_one_of_its_events_is_damaged(mortal: NatsProcess) -> None:
    async with _with_a_flipped_byte(mortal) as after:
        store = await _store(after)
        assert len(await read(store, 0, "sample")) == EVENTS - 1
        assert "damaged" in str(store.soundness.damage)


@asynchronous
async def test_an_aggregate_that_lacks_an_event_is_out_of_order_and_closes_the_log(mortal: NatsProcess) -> None:
    async with _with_a_flipped_byte(mortal) as after:
        store = await _store(after)
        refused: dict[int, str] = {}
        for number in range(AGGREGATES):
            try:
                await store.load(aggregate(str(number)))
            except OutOfOrder as error:
                refused[number] = error.message
        ((ill, words),) = refused.items()
        assert f"sample.{ill}" in words
        with pytest.raises(Unavailable, match="lightcurve recover"):
            await store.append(aggregate("new"), Happened(), meta(), GENESIS)
        with pytest.raises(Unavailable, match="lightcurve recover"):
            await store.require_writable()


@asynchronous
async def test_a_snapshot_beyond_the_end_is_forgotten(mortal: NatsProcess) -> None:
    async with NatsWorld(mortal.server) as world:
        store = await _store(world)
        await _write(store, 0, EVENTS)
        last = (await store.load(aggregate(str((EVENTS - 1) % AGGREGATES))))[-1]
        await store.save_snapshot(last.aggregate, Snapshot(last.tail, b"of what is gone"))
        assert await store.load_snapshot(last.aggregate)
    mortal.stop()
    cut_the_end(mortal.server.directory, world.cell)
    mortal.start()
    async with _revived(mortal, world) as after:
        assert await (await _store(after)).load_snapshot(last.aggregate) is None


@pytest.mark.parametrize(
    ("missing", "inside", "before"),
    [((), [], 0), ((Missing(first=3, last=3), Missing(first=7, last=9)), [3, 7, 8, 9], 9)],
)
def test_gaps(missing: tuple[Missing, ...], inside: list[int], before: int) -> None:
    gaps = Gaps(missing)
    assert [position for position in range(1, 12) if position in gaps] == inside
    assert gaps.before(11) == before
    assert gaps.before(3) == 0
    assert gaps.before(8) == (3 if missing else 0)
    assert ranges(inside) == missing


@pytest.mark.parametrize(
    ("positions", "words"),
    [
        ([5], "position 5"),
        ([5, 6, 7], "positions 5 to 7"),
        ([1, 3, 4], "positions 1, 3 to 4"),
        ([1, 3, 5, 7, 9, 11, 13], "positions 1, 3, 5, 7, 9 and 2 more ranges"),
    ],
)
def test_positions_in_words(positions: list[int], words: str) -> None:
    assert told(ranges(positions)) == words
