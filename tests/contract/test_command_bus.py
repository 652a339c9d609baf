"""What every command bus promises."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from domain.errors import HostFailed, Refused, Unavailable
from handlers.ports import CommandBus, Delivery
from tests.aio import asynchronous
from tests.contract.worlds import ACK_WAIT, World
from tests.waiting import until

HOST = "node1.example.com"


@asynccontextmanager
async def background(*works: object) -> AsyncIterator[list["asyncio.Task[None]"]]:
    tasks = [asyncio.ensure_future(work) for work in works]  # type: ignore[call-overload]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Agent:
    """Takes commands until it is cancelled, and keeps what it was given."""

    def __init__(self, bus: CommandBus, hosts: list[str], *, finish: bool = True) -> None:
        self.bus, self.hosts, self.finish = bus, hosts, finish
        self.bodies: list[bytes] = []
        self.deliveries: list[Delivery] = []

    async def run(self) -> None:
        async with aclosing(self.bus.receive(self.hosts)) as deliveries:
            async for delivery in deliveries:
                self.bodies.append(delivery.body)
                self.deliveries.append(delivery)
                if self.finish:
                    await delivery.done()


class TestCommands:
    @asynchronous
    async def test_come_in_order_also_those_sent_before(self, world: World) -> None:
        async with world:
            sender, agent = await world.bus(), Agent(await world.bus(), [HOST])
            await sender.send(HOST, "1", b"one")
            async with background(agent.run()):
                await until(lambda: agent.bodies == [b"one"])
                for number in range(2, 700):
                    await sender.send(HOST, str(number), b"%d" % number)
                await until(lambda: len(agent.bodies) == 699)
                assert agent.bodies[1:] == [b"%d" % number for number in range(2, 700)]

    @asynchronous
    async def test_go_to_their_host_only(self, world: World) -> None:
        async with world:
            sender = await world.bus()
            one, two = Agent(await world.bus(), ["one"]), Agent(await world.bus(), ["two", "three"])
            async with background(one.run(), two.run()):
                for host in ("one", "two", "three", "four"):
                    await sender.send(host, f"to {host}", host.encode())
                await until(lambda: one.bodies == [b"one"] and sorted(two.bodies) == [b"three", b"two"])

    @asynchronous
    async def test_the_same_id_is_stored_once(self, world: World) -> None:
        async with world:
            sender, agent = await world.bus(), Agent(await world.bus(), [HOST])
            for body in (b"first", b"again"):
                await sender.send(HOST, "a b", body)
            await sender.send(HOST, "2", b"end")
            async with background(agent.run()):
                await until(lambda: agent.bodies == [b"first", b"end"])

    @asynchronous
    async def test_come_again_after_a_crash_of_the_receiver(self, world: World) -> None:
        async with world:
            sender = await world.bus()
            first, second = Agent(await world.bus(), [HOST], finish=False), Agent(await world.bus(), [HOST])
            await sender.send(HOST, "1", b"one")
            async with background(first.run()):
                await until(lambda: first.bodies)
            async with background(second.run()):
                await until(lambda: second.bodies == [b"one"])

    @asynchronous
    async def test_do_not_come_again_once_done(self, world: World) -> None:
        async with world:
            sender, agent = await world.bus(), Agent(await world.bus(), [HOST], finish=False)
            async with background(agent.run()):
                await sender.send(HOST, "1", b"one")
                await sender.send(HOST, "2", b"two")
                await until(lambda: len(agent.bodies) == 2)
                await agent.deliveries[0].done()
                # When the second has come three times, the first would have come again as well.
                await until(lambda: agent.bodies.count(b"two") == 3)
                assert agent.bodies.count(b"one") == 1

    @asynchronous
    async def test_do_not_come_again_while_worked_on(self, world: World) -> None:
        async with world:
            sender, agent = await world.bus(), Agent(await world.bus(), [HOST], finish=False)
            async with background(agent.run()):
                await sender.send(HOST, "1", b"one")
                await sender.send(HOST, "2", b"two")
                await until(lambda: len(agent.bodies) == 2)

                async def two_came_thrice() -> bool:
                    await agent.deliveries[0].working()
                    return agent.bodies.count(b"two") == 3

                await until(two_came_thrice)
                assert agent.bodies.count(b"one") == 1

    @asynchronous
    async def test_come_again_when_asked_for(self, world: World) -> None:
        async with world:
            sender, agent = await world.bus(), Agent(await world.bus(), [HOST], finish=False)
            clock = asyncio.get_running_loop().time
            async with background(agent.run()):
                await sender.send(HOST, "1", b"one")
                await until(lambda: agent.bodies)
                began = clock()
                await agent.deliveries[0].retry(ACK_WAIT / 4)
                await until(lambda: len(agent.bodies) == 2)
                assert ACK_WAIT / 5 < clock() - began < ACK_WAIT

    @asynchronous
    async def test_wait_with_a_slow_receiver_without_coming_twice(self, world: World) -> None:
        async with world:
            sender = await world.bus()
            for number in range(6):
                await sender.send(HOST, str(number), b"%d" % number)
            seen = []
            async with aclosing((await world.bus()).receive([HOST])) as deliveries:
                async for delivery in deliveries:
                    seen.append(delivery.body)
                    await asyncio.sleep(ACK_WAIT / 2)  # The work itself: all six take longer than the deadline.
                    await delivery.done()
                    if len(seen) == 6:
                        await sender.send(HOST, "end", b"end")
                    if len(seen) == 7:
                        break
            assert seen == [*(b"%d" % number for number in range(6)), b"end"]


class TestReports:
    @asynchronous
    async def test_are_answered(self, world: World) -> None:
        async def handle(host: str, body: bytes) -> bytes:
            return f"{host} said {body.decode()}".encode()

        async with world:
            host = await world.bus()
            async with background((await world.bus()).serve_reports(handle)):
                assert await host.report(HOST, b"hi") == b"node1.example.com said hi"

    @asynchronous
    async def test_wait_for_a_conductor_that_is_late(self, world: World) -> None:
        async def handle(host: str, body: bytes) -> bytes:
            return body

        async with world:
            host, conductor = await world.bus(), await world.bus()
            async with background(host.report(HOST, b"hi")) as [report]:
                await asyncio.sleep(0)  # Let it be sent into the void.
                async with background(conductor.serve_reports(handle)):
                    assert await report == b"hi"

    @asynchronous
    async def test_without_a_conductor_fail(self, world: World) -> None:
        async with world:
            with pytest.raises(Unavailable):
                await (await world.bus()).report(HOST, b"hi")

    @asynchronous
    async def test_are_shared(self, world: World) -> None:
        handled: list[str] = []

        def conductor(name: str):
            async def handle(host: str, body: bytes) -> bytes:
                handled.append(name)
                return body

            return handle

        async with world:
            host = await world.bus()
            async with background(*[(await world.bus()).serve_reports(conductor(name)) for name in "ab"]):
                await until(lambda: _answers(host))
                handled.clear()
                await asyncio.gather(*(host.report(HOST, b"%d" % number) for number in range(50)))
                assert len(handled) == 50
                assert set(handled) == {"a", "b"}

    @asynchronous
    async def test_that_fail_are_not_answered(self, world: World) -> None:
        async def handle(host: str, body: bytes) -> bytes:
            raise Refused("no", "no")

        async with world:
            host = await world.bus()
            async with background((await world.bus()).serve_reports(handle)):
                with pytest.raises(Unavailable):
                    await host.report(HOST, b"hi")

    @asynchronous
    async def test_run_beside_each_other(self, world: World) -> None:
        everybody = asyncio.Event()
        inside = 0

        async def handle(host: str, body: bytes) -> bytes:
            nonlocal inside
            inside += 1
            if inside == 5:
                everybody.set()
            await everybody.wait()
            return body

        async with world:
            host = await world.bus()
            async with background((await world.bus()).serve_reports(handle)):
                answers = await asyncio.gather(*(host.report(HOST, b"%d" % number) for number in range(5)))
                assert answers == [b"%d" % number for number in range(5)]


async def _answers(bus: CommandBus) -> bool:
    try:
        await bus.report(HOST, b"there?")
    except Unavailable:
        return False
    return True


class TestQuestions:
    @asynchronous
    async def test_are_answered_by_their_host(self, world: World) -> None:
        async def handle(host: str, body: bytes) -> bytes:
            return f"{host}: {body.decode()}".encode()

        async with world:
            asker = await world.bus()
            async with background((await world.bus()).serve_questions([HOST, "two"], handle)):

                async def listens() -> bool:
                    try:
                        return await asker.ask("two", b"how?") == b"two: how?"
                    except Unavailable:
                        return False

                await until(listens)
                assert await asker.ask(HOST, b"who?") == b"node1.example.com: who?"
                with pytest.raises(Unavailable):
                    await asker.ask("three", b"who?", timeout=0.5)

    @asynchronous
    async def test_what_the_host_says_when_it_fails(self, world: World) -> None:
        async def handle(host: str, body: bytes) -> bytes:
            if body == b"host":
                raise HostFailed("no console", "/var/log/x is missing")
            if body == b"away":
                raise Unavailable("libvirt is away")
            raise RuntimeError("secret words")

        async with world:
            asker = await world.bus()
            async with background((await world.bus()).serve_questions([HOST], handle)):

                async def listens() -> bool:
                    with pytest.raises(Unavailable) as raised:
                        await asker.ask(HOST, b"away")
                    return raised.value.message == "libvirt is away"

                await until(listens)
                with pytest.raises(HostFailed) as failed:
                    await asker.ask(HOST, b"host")
                assert (failed.value.message, failed.value.details) == ("no console", "/var/log/x is missing")
                with pytest.raises(Unavailable) as hidden:
                    await asker.ask(HOST, b"bug")
                assert "secret" not in hidden.value.message

    @asynchronous
    async def test_time_out(self, world: World) -> None:
        async def handle(host: str, body: bytes) -> bytes:
            await asyncio.get_running_loop().create_future()
            raise AssertionError

        async with world:
            asker = await world.bus()
            async with background((await world.bus()).serve_questions([HOST], handle)):
                with pytest.raises(Unavailable):
                    await asker.ask(HOST, b"hello?", timeout=0.2)
