"""Group commit: many decisions, one event; each gets its own answer, decided on the certainly present state."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from adapters.system import SystemClock, SystemIds
from domain.catalogue.quota import KIND, Limits, Quota, QuotaChanged, Reserved, aggregate, release, reserve
from domain.errors import Bug, OutOfOrder, Refused, Unavailable
from domain.kinds import EVENTS
from domain.log.record import Metadata, Recorded
from domain.neighbours.token import TokenRevoked
from handlers.context import Context, Stamp
from handlers.log.disorder import FACT, Disorder
from handlers.log.group_writer import GroupWriter
from tests.aio import asynchronous

CONTEXT = Context(request_id="req-1")
AGGREGATE = aggregate("p")
LIMITS = Limits(instances=5, cores=-1, ram_mb=-1)


class Faults:
    """Fails or stalls the next appends."""

    def __init__(self) -> None:
        self.before_append: list[Callable[[], object]] = []
        self.after_append: list[Callable[[], object]] = []

    async def before(self, operation: str) -> None:
        if operation == "append" and self.before_append:
            self.before_append.pop(0)()

    async def after(self, operation: str) -> None:
        if operation == "append" and self.after_append:
            self.after_append.pop(0)()

    def copies(self, operation: str) -> int:
        return 1


def _fail() -> None:
    raise Unavailable("bad weather")


class World:
    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.faults = Faults()
        self.mapper = EventMapper(EVENTS)

    def writer(self, disorder: Disorder | None = None) -> GroupWriter[Quota]:
        store = MemoryEventStore(self.broker, "api", self.mapper, self.faults)
        stamp = Stamp(SystemClock(), SystemIds())
        return GroupWriter(
            KIND, AGGREGATE, store, stamp, lambda changes: QuotaChanged(changes=changes), Quota(), disorder
        )

    async def history(self) -> list[Recorded]:
        return await MemoryEventStore(self.broker, "api", self.mapper).load(AGGREGATE)


@asynccontextmanager
async def _world() -> AsyncIterator[World]:
    broker = Broker(SystemClock())
    try:
        yield World(broker)
    finally:
        await broker.close()


async def _reserve(writer: GroupWriter[Quota], server_id: str) -> int:
    def decide(quota: Quota) -> tuple[Reserved, ...]:
        return reserve(quota, LIMITS, [server_id], cell="c", at_least=1, cores=1, ram_mb=1, request_id=server_id)

    return (await writer.submit(CONTEXT, decide))[1]


@asynchronous
async def test_those_who_wait_together_go_into_one_event_and_no_more_than_fit() -> None:
    async with _world() as world:
        writer = world.writer()
        answers = await asyncio.gather(
            *(_reserve(writer, str(number)) for number in range(8)), return_exceptions=True
        )
        assert [isinstance(answer, Refused) for answer in answers] == [False] * 5 + [True] * 3
        (recorded,) = await world.history()
        assert isinstance(recorded.event, QuotaChanged)
        assert [change.request_id for change in recorded.event.changes] == ["0", "1", "2", "3", "4"]


@asynchronous
async def test_writers_in_several_processes_never_exceed_the_limit() -> None:
    async with _world() as world:
        writers = [world.writer() for _ in range(4)]
        answers = await asyncio.gather(
            *(_reserve(writers[number % 4], str(number)) for number in range(40)), return_exceptions=True
        )
        assert sum(isinstance(answer, int) for answer in answers) == 5
        assert all(isinstance(answer, int | Refused) for answer in answers)
        for writer in writers:
            assert len((await writer.refresh()).reservations) == 5


@asynchronous
async def test_a_refusal_is_decided_on_the_present_state_not_on_a_stale_one() -> None:
    async with _world() as world:
        one, other = world.writer(), world.writer()
        for number in range(5):
            await _reserve(one, str(number))
        await other.refresh()
        await one.submit(CONTEXT, lambda quota: release(quota, "0", None))
        # The other has not heard of the release, and would refuse.
        assert await _reserve(other, "5") > 0


@asynchronous
async def test_what_was_not_stored_is_taken_back() -> None:
    async with _world() as world:
        writer = world.writer()
        world.faults.before_append = [_fail]
        with pytest.raises(Unavailable):
            await _reserve(writer, "1")
        assert writer.state.reservations == {}
        await _reserve(writer, "1")
        assert list(writer.state.reservations) == ["1"]


@asynchronous
async def test_what_was_stored_though_the_answer_was_lost_is_found_again() -> None:
    async with _world() as world:
        writer = world.writer()
        world.faults.after_append = [_fail]
        with pytest.raises(Unavailable):
            await _reserve(writer, "1")
        await _reserve(writer, "2")
        assert sorted(writer.state.reservations) == ["1", "2"]
        assert len(await world.history()) == 2


@asynchronous
async def test_following_the_log_and_writing_do_not_disturb_each_other() -> None:
    async with _world() as world:
        one, other = world.writer(), world.writer()
        for number in range(3):
            await _reserve(one, str(number))
        history = await world.history()
        # Out of order and twice, as a follower that was interrupted may see it.
        for recorded in (history[2], history[0], history[0], history[2], history[1]):
            await other.advance(recorded)
        assert other.state.reservations == one.state.reservations
        assert other.tail == one.tail


@asynchronous
async def test_a_bug_in_a_decision_harms_nobody_else() -> None:
    async with _world() as world:
        writer = world.writer()

        def broken(_: Quota) -> tuple[Reserved, ...]:
            raise ZeroDivisionError

        first, bug, last = await asyncio.gather(
            _reserve(writer, "0"), writer.submit(CONTEXT, broken), _reserve(writer, "1"), return_exceptions=True
        )
        assert isinstance(bug, Bug)
        assert first == last == 1
        assert list(writer.state.reservations) == ["0", "1"]


@asynchronous
async def test_of_a_decision_that_cannot_be_applied_nothing_stays() -> None:
    async with _world() as world:
        writer = world.writer()
        fits = Reserved(server_id="half", cell="c", cores=1, ram_mb=1)
        breaks = Reserved(server_id="broken", cell="c", cores="many", ram_mb=1)  # type: ignore[arg-type]
        answers = await asyncio.gather(
            writer.submit(CONTEXT, lambda _: (fits, breaks)), _reserve(writer, "1"), return_exceptions=True
        )
        assert isinstance(answers[0], Bug)
        assert list(writer.state.reservations) == ["1"]
        assert writer.state.cores == 1
        (recorded,) = await world.history()
        assert isinstance(recorded.event, QuotaChanged)
        assert [change.server_id for change in recorded.event.changes] == ["1"]  # type: ignore[union-attr]


@asynchronous
async def test_what_the_log_cannot_take_in_harms_nobody_else() -> None:
    async with _world() as world:
        writer = world.writer()
        lone = Reserved(server_id="\ud800", cell="c", cores=1, ram_mb=1)
        answers = await asyncio.gather(
            _reserve(writer, "0"),
            writer.submit(CONTEXT, lambda _: (lone,)),
            _reserve(writer, "1"),
            return_exceptions=True,
        )
        assert [isinstance(answer, Bug) for answer in answers] == [False, True, False]
        assert list(writer.state.reservations) == ["0", "1"]


@asynchronous
async def test_a_history_that_does_not_fold_is_told_and_nothing_is_decided_on_it() -> None:
    async with _world() as world:
        good, disorder = world.writer(), Disorder()
        await _reserve(good, "0")
        store = MemoryEventStore(world.broker, "api", world.mapper)
        senseless = TokenRevoked(user_id="u", expires_at=datetime.now(UTC))
        await store.append(AGGREGATE, senseless, good._stamp(CONTEXT), good.tail)
        reader = world.writer(disorder)
        for recorded in await world.history():
            await reader.advance(recorded)
        assert list(reader.state.reservations) == ["0"]
        for attempt in (_reserve(reader, "1"), reader.refresh()):
            with pytest.raises(OutOfOrder, match=r"quota\.p"):
                await attempt
        assert disorder.of(AGGREGATE)
        (told,) = disorder.facts[FACT]  # type: ignore[misc]
        assert "quota.p" in told
        assert len(await world.history()) == 2


def test_metadata_is_of_the_first_in_the_group() -> None:
    @asynchronous
    async def check() -> None:
        async with _world() as world:
            writer = world.writer()
            await _reserve(writer, "1")
            (recorded,) = await world.history()
            assert recorded.meta == Metadata(
                event_id=recorded.meta.event_id, time=recorded.meta.time, request_id="req-1"
            )
            assert recorded.meta.time < datetime.now(UTC)

    check()
