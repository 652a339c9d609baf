"""The log when the server dies, the wire breaks, and answers are lost."""

import asyncio
from contextlib import aclosing

import pytest

import adapters.nats.log as log_module
from adapters.nats import breaker
from adapters.nats.store import NatsEventStore
from domain.errors import Stale, Unavailable
from domain.log.record import GENESIS, Recorded
from ops.embedded.nats import NatsProcess
from tests.adapters.nats.proxy import Proxy
from tests.aio import asynchronous
from tests.contract.test_command_bus import HOST, Agent, background
from tests.contract.test_event_store import append_some, read
from tests.contract.worlds import MAPPER, Happened, NatsWorld, aggregate, meta
from tests.waiting import until

pytestmark = pytest.mark.nats


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "ANSWER_TIMEOUT", 0.3)


class TestAppend:
    @pytest.mark.parametrize("moment", ["before it was sent", "between publish and ack"])
    @asynchronous
    async def test_server_killed_and_restarted(self, mortal: NatsProcess, moment: str) -> None:
        async with Proxy(mortal.server.port) as proxy, NatsWorld(mortal.server, proxy.url) as world:
            store = await world.store()
            first = await store.append(aggregate(), Happened(), meta(), GENESIS)
            direct = NatsWorld(mortal.server)
            direct.cell = world.cell
            async with direct:
                witness = await direct.store()
                if moment == "before it was sent":
                    proxy.requests_pass = False
                else:
                    proxy.answers_pass = False
                append = asyncio.ensure_future(store.append(aggregate(), Happened(number=2), meta(), first.tail))
                if moment == "before it was sent":
                    await until(lambda: b"HPUB" in proxy.lost_requests)
                else:
                    await until(lambda: _ends_at(witness, 2))
                mortal.kill()
                proxy.answers_pass = proxy.requests_pass = True
                await asyncio.to_thread(mortal.start)
                recorded = await append
                assert recorded.position == 2
                assert await witness.load(aggregate()) == [first, recorded]

    @pytest.mark.parametrize("then", ["nothing", "others append"])
    @asynchronous
    async def test_a_lost_ack(self, mortal: NatsProcess, then: str) -> None:
        async with Proxy(mortal.server.port) as proxy, NatsWorld(mortal.server) as world:
            store = NatsEventStore(await world.connection(url=proxy.url), world.cell, MAPPER)
            witness = await world.store()
            proxy.answers_pass = False
            append = asyncio.ensure_future(store.append(aggregate(), Happened(number=1), meta(), GENESIS))
            await until(lambda: _ends_at(witness, 1))
            stored = await witness.load(aggregate())
            if then == "others append":
                await append_some(witness, aggregate(), 2, stored[0].tail)
            await until(lambda: b"seq" in proxy.lost_answers)
            proxy.answers_pass = True
            assert await append == stored[0]
            assert await witness.last_position() == (3 if then == "others append" else 1)

    @asynchronous
    async def test_a_lost_publish_while_somebody_else_wins(self, mortal: NatsProcess) -> None:
        async with Proxy(mortal.server.port) as proxy, NatsWorld(mortal.server) as world:
            store = NatsEventStore(await world.connection(url=proxy.url), world.cell, MAPPER)
            witness = await world.store()
            proxy.requests_pass = False
            append = asyncio.ensure_future(store.append(aggregate(), Happened(number=1), meta(), GENESIS))
            await until(lambda: b"HPUB" in proxy.lost_requests)
            winner = await append_some(witness, aggregate(), 1)
            proxy.requests_pass = True
            with pytest.raises(Stale):
                await append
            assert await witness.load(aggregate()) == winner

    @asynchronous
    async def test_a_server_that_stays_away_is_unavailable(
        self, mortal: NatsProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(breaker, "PATIENCE_SECONDS", 0.5)
        async with NatsWorld(mortal.server) as world:
            store = await world.store()
            mortal.kill()
            with pytest.raises(Unavailable):
                await store.append(aggregate(), Happened(), meta(), GENESIS)
            with pytest.raises(Unavailable):
                await store.load(aggregate())

    @asynchronous
    async def test_many_appends_over_many_broken_wires(self, mortal: NatsProcess) -> None:
        async with Proxy(mortal.server.port) as proxy, NatsWorld(mortal.server) as world:
            store = NatsEventStore(await world.connection(url=proxy.url), world.cell, MAPPER)
            witness = await world.store()
            work = asyncio.gather(*(append_some(store, aggregate(f"a{n}"), 60) for n in range(10)))
            for count in (50, 200, 350, 500):
                await until(lambda count=count: _has(witness, count))
                proxy.cut()
            written = await work
            stored = await read(witness, 0)
            assert sorted((r for records in written for r in records), key=_position) == stored
            assert len(stored) == 600


class TestFollow:
    @asynchronous
    async def test_goes_on_over_restarts_without_gap_or_double(self, mortal: NatsProcess) -> None:
        async with NatsWorld(mortal.server) as world:
            store = await world.store()
            seen: list[Recorded] = []
            some: list[Recorded] = []
            ends = 0

            async def follow(into: list[Recorded], *kinds: str) -> None:
                nonlocal ends
                async for batch in store.follow(0, *kinds):
                    into.extend(batch)
                    ends += not batch

            async with background(follow(seen), follow(some, "cat")):
                for round_ in range(3):
                    await append_some(store, aggregate(f"dog{round_}", "dog"), 20)
                    await append_some(store, aggregate(f"cat{round_}", "cat"), 20)
                    # Sooner than the missing heartbeats would tell.
                    await until(lambda count=round_: len(seen) == 40 * (count + 1), timeout=2.0)
                    await until(lambda count=round_: len(some) == 20 * (count + 1), timeout=2.0)
                    mortal.kill()
                    await asyncio.to_thread(mortal.start)
                last = await append_some(store, aggregate("last", "cat"), 1)
                await until(lambda: seen[-1:] == last and some[-1:] == last)
            assert [recorded.position for recorded in seen] == list(range(1, 122))
            assert some == [recorded for recorded in seen if recorded.aggregate.kind == "cat"]
            assert ends == 2

    @asynchronous
    async def test_goes_on_when_its_consumer_vanishes(self, mortal: NatsProcess) -> None:
        async with NatsWorld(mortal.server) as world:
            store, operator = await world.store(), await world.connection()
            async with aclosing(store.follow(0)) as batches:
                assert await anext(batches) == []
                found = await operator.api(f"CONSUMER.NAMES.CELL_{world.cell}")
                for name in found["consumers"]:
                    await operator.api(f"CONSUMER.DELETE.CELL_{world.cell}.{name}")
                written = await append_some(store, aggregate(), 3)
                seen: list[Recorded] = []
                while len(seen) < 3:
                    seen += await anext(batches)
                assert seen == written


class TestCommands:
    @asynchronous
    async def test_survive_a_restart_on_both_sides(self, mortal: NatsProcess) -> None:
        async with NatsWorld(mortal.server) as world:
            sender, agent = await world.bus(), Agent(await world.bus(), [HOST])
            async with background(agent.run()):
                await sender.send(HOST, "1", b"one")
                await until(lambda: agent.bodies == [b"one"])
                mortal.kill()
                sending = asyncio.ensure_future(sender.send(HOST, "2", b"two"))
                await asyncio.to_thread(mortal.start)
                await sending
                await until(lambda: b"two" in agent.bodies)
                await sender.send(HOST, "3", b"three")
                await until(lambda: agent.bodies[-1] == b"three")

    @asynchronous
    async def test_reports_and_questions_go_on(self, mortal: NatsProcess) -> None:
        async def echo(host: str, body: bytes) -> bytes:
            return body

        async with NatsWorld(mortal.server) as world:
            one, two = await world.bus(), await world.bus()
            async with background(one.serve_reports(echo), two.serve_questions([HOST], echo)):
                assert await two.report(HOST, b"a") == b"a"
                mortal.kill()
                report = asyncio.ensure_future(two.report(HOST, b"b"))
                await asyncio.to_thread(mortal.start)
                assert await report == b"b"
                assert await one.ask(HOST, b"c") == b"c"


@asynchronous
async def test_signs_of_life_and_positions_come_back(mortal: NatsProcess) -> None:
    async with NatsWorld(mortal.server) as world:
        sender, watcher = await world.liveness(), await world.liveness()
        projector, api = await world.positions(), await world.positions()
        await projector.announce("servers", world.cell, 5)
        assert await api.reached("servers", world.cell, 5, 5.0)
        names: list[str] = []

        async def watch() -> None:
            async for beat in watcher.watch():
                names.append(beat.name)  # noqa: PERF401

        async with background(watch()):
            await sender.beat("api/one", {})
            await until(lambda: "api/one" in names)
            mortal.kill()
            await asyncio.to_thread(mortal.start)

            async def beaten() -> bool:
                await sender.beat("api/two", {})
                return "api/two" in names

            await until(beaten)

        async def newcomer_knows() -> bool:
            return await (await world.positions()).reached("servers", world.cell, 5, 0.05)

        await until(newcomer_knows)
        assert not await api.reached("servers", world.cell, 6, 0.01)
        await projector.announce("servers", world.cell, 6)
        assert await api.reached("servers", world.cell, 6, 5.0)


async def _ends_at(store: NatsEventStore, position: int) -> bool:
    return await store.last_position() == position


async def _has(store: NatsEventStore, count: int) -> bool:
    return await store.last_position() >= count


def _position(recorded: Recorded) -> int:
    return recorded.position
