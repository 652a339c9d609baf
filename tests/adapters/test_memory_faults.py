"""The faults that the simulation injects into the log in memory."""

import asyncio
from contextlib import aclosing

import pytest

from domain.errors import Unavailable
from domain.log.record import GENESIS
from tests.aio import asynchronous
from tests.contract.test_command_bus import HOST, Agent, background
from tests.contract.worlds import Happened, MemoryWorld, aggregate, meta
from tests.waiting import until


class Scripted:
    """Fails or repeats what it is told to, once each."""

    def __init__(self, before: str = "", after: str = "", copies: dict[str, int] | None = None) -> None:
        self.fail_before, self.fail_after = before, after
        self.arrivals = copies or {}

    async def before(self, operation: str) -> None:
        if operation == self.fail_before:
            self.fail_before = ""
            raise Unavailable("before")

    async def after(self, operation: str) -> None:
        if operation == self.fail_after:
            self.fail_after = ""
            raise Unavailable("after")

    def copies(self, operation: str) -> int:
        return self.arrivals.pop(operation, 1)


@pytest.mark.parametrize(("faults", "stored"), [(Scripted(before="append"), 0), (Scripted(after="append"), 1)])
@asynchronous
async def test_an_append_that_fails(faults: Scripted, stored: int) -> None:
    async with MemoryWorld(faults) as world:
        store, said = await world.store(), meta()
        with pytest.raises(Unavailable):
            await store.append(aggregate(), Happened(), said, GENESIS)
        assert await store.last_position() == stored
        assert (await store.append(aggregate(), Happened(), said, GENESIS)).position == 1
        assert await store.last_position() == 1


@pytest.mark.parametrize("copies", [0, 2])
@asynchronous
async def test_a_command_that_is_lost_comes_later_and_one_that_is_repeated_comes_twice(copies: int) -> None:
    async with MemoryWorld(Scripted(copies={"command": copies})) as world:
        bus, agent = await world.bus(), Agent(await world.bus(), [HOST])
        async with background(agent.run()):
            await bus.send(HOST, "1", b"one")
            await until(lambda: len(agent.bodies) == max(copies, 1))


@pytest.mark.parametrize("copies", [0, 2])
@asynchronous
async def test_a_report_that_is_lost_or_repeated(copies: int) -> None:
    handled = []

    async def handle(host: str, body: bytes) -> bytes:
        handled.append(body)
        return body

    async with MemoryWorld(Scripted(copies={"report": copies})) as world:
        bus = await world.bus()
        async with background(bus.serve_reports(handle)):
            if copies:
                assert await bus.report(HOST, b"x") == b"x"
            else:
                with pytest.raises(Unavailable):
                    await bus.report(HOST, b"x")
            await until(lambda: len(handled) == copies)


@asynchronous
async def test_a_conductor_that_dies_over_a_report_does_not_answer() -> None:
    async def handle(host: str, body: bytes) -> bytes:
        started.set()
        return await asyncio.get_running_loop().create_future()

    async with MemoryWorld() as world:
        bus, started = await world.bus(), asyncio.Event()
        report = asyncio.ensure_future(bus.report(HOST, b"x"))
        async with background(bus.serve_reports(handle)):
            await started.wait()
        with pytest.raises(Unavailable):
            await report


@asynchronous
async def test_signs_can_be_lost() -> None:
    async with MemoryWorld(Scripted(copies={"beat": 0, "announce": 0})) as world:
        liveness, positions = await world.liveness(), await world.positions()
        await liveness.beat("api/a", {})
        await liveness.beat("api/b", {})
        async with aclosing(liveness.watch()) as beats:
            assert (await anext(beats)).name == "api/b"
        await positions.announce("p", world.cell, 1)
        assert not await positions.reached("p", world.cell, 1, 0.01)
        await positions.announce("p", world.cell, 1)
        assert await positions.reached("p", world.cell, 1, 0.01)
