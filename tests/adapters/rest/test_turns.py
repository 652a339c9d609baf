"""The steps of the requests of one process, each owner in turn."""

import asyncio
from contextvars import ContextVar

import pytest

from adapters.rest.kit import turns as rounds
from adapters.rest.kit.turns import Turns
from handlers.context import current_owner
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.world import BLUE
from tests.aio import asynchronous

STEPS = 10


async def work(done: list[str], name: str) -> str:
    for _ in range(STEPS):
        done.append(name)
        await asyncio.sleep(0)
    return name


@asynchronous
async def test_who_has_one_request_waits_for_a_round_or_two_of_who_has_a_hundred(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rounds, "MOST", 3)
    monkeypatch.setattr(rounds, "LITTLE_SECONDS", 0)
    turns, done = Turns(), list[str]()
    crowd = [asyncio.create_task(turns.run("many", work(done, "many"))) for _ in range(100)]
    await asyncio.sleep(0)
    assert await asyncio.create_task(turns.run("one", work(done, "one"))) == "one"
    between = done[done.index("one") :]
    assert between.count("one") == STEPS
    assert between.count("many") <= 2 * rounds.MOST * STEPS
    await asyncio.gather(*crowd)
    assert done.count("many") == 100 * STEPS


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def spend(self, done: list[str], name: str, seconds: float) -> None:
        for _ in range(STEPS):
            done.append(name)
            self.now += seconds
            await asyncio.sleep(0)


@asynchronous
async def test_who_has_had_little_does_not_wait(monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(rounds, "MOST", 3)
    monkeypatch.setattr(rounds, "perf_counter", clock)
    turns, done = Turns(), list[str]()
    crowd = [asyncio.create_task(turns.run("many", clock.spend(done, "many", 0.06))) for _ in range(100)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    before = len(done)
    await asyncio.create_task(turns.run("one", clock.spend(done, "one", 0.001)))
    between = done[before:]
    assert between.count("one") == STEPS
    assert between.count("many") <= rounds.MOST * (STEPS + 1)
    await asyncio.gather(*crowd)


FOR_EVER = 1e6
"""So many times as long as a round a test would not wait."""


@asynchronous
async def test_who_has_had_much_rests_while_somebody_is_there_who_has_had_little(monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(rounds, "MOST", 3)
    monkeypatch.setattr(rounds, "REST", FOR_EVER)
    monkeypatch.setattr(rounds, "perf_counter", clock)
    turns, done = Turns(), list[str]()
    crowd = [asyncio.create_task(turns.run("many", clock.spend(done, "many", 0.06))) for _ in range(100)]
    await asyncio.sleep(0)
    await asyncio.create_task(turns.run("one", clock.spend(done, "one", 0.001)))
    between = done[done.index("one") : -1]
    assert between.count("many") <= 2 * rounds.MOST
    for task in crowd:
        task.cancel()
    await asyncio.wait(crowd)


@asynchronous
async def test_nobody_rests_alone_or_beside_others_who_have_had_much(monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(rounds, "MOST", 3)
    monkeypatch.setattr(rounds, "REST", FOR_EVER)
    monkeypatch.setattr(rounds, "perf_counter", clock)
    turns = Turns()
    await asyncio.gather(*(turns.run("one", clock.spend([], "one", 0.02)) for _ in range(10)))
    await turns.run("other", clock.spend([], "other", 0.06))
    clock.now += rounds.WINDOW_SECONDS
    await asyncio.gather(*(turns.run(owner, clock.spend([], owner, 0.06)) for owner in ("one", "other") * 10))


@asynchronous
async def test_who_has_had_much_waits_as_all_do_until_it_is_long_ago(monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(rounds, "perf_counter", clock)
    turns = Turns()
    await turns.run("one", clock.spend([], "one", 0.01))
    assert not turns._had_little("one")
    clock.now += 2 * rounds.WINDOW_SECONDS
    await turns.run("another", clock.spend([], "another", 0.001))
    assert turns._had_little("one")


@asynchronous
async def test_one_alone_waits_for_nobody():
    turns, rounds = Turns(), 0

    async def rounds_of_the_loop() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(rounds_of_the_loop())
    await asyncio.create_task(turns.run("one", work([], "one")))
    counting.cancel()
    assert rounds <= 3 * STEPS


@asynchronous
async def test_results_and_errors_are_those_of_the_work():
    turns, at = Turns(), ContextVar("at", default="")

    async def fails() -> None:
        at.set("inside")
        await asyncio.sleep(0)
        raise LookupError

    with pytest.raises(LookupError):
        await turns.run("one", fails())
    assert at.get() == "inside"
    assert await turns.run("one", work([], "done")) == "done"


@asynchronous
async def test_who_is_given_up_is_told_and_holds_nobody_up():
    turns, told = Turns(), list[str]()

    async def waits(name: str) -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            told.append(name)
            raise

    async def begun() -> None:
        await asyncio.sleep(0)

    waiting = asyncio.create_task(turns.run("a", waits("a")))
    await asyncio.sleep(0)
    in_line = [asyncio.create_task(turns.run("a", begun())) for _ in range(5)]
    await asyncio.sleep(0)
    for task in (waiting, *in_line):
        task.cancel()
    await asyncio.wait((waiting, *in_line))
    assert told == ["a"]
    assert all(task.cancelled() for task in (waiting, *in_line))
    assert await turns.run("b", work([], "b")) == "b"


@asynchronous
async def test_for_whom_a_request_is(cloud: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    owners = []
    run = Turns.run
    monkeypatch.setattr(Turns, "run", lambda turns, owner, work: (owners.append(owner), run(turns, owner, work))[1])
    async with cloud() as world:
        await (await world.client("amy")).get("/compute/v2.1/servers")
        assert current_owner.get() == BLUE
        await (await world.client(None, None)).get("/identity/v3")
    assert owners[-2:] == [BLUE, "127.0.0.1"]
