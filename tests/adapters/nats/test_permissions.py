"""A host cannot write history, whatever it sends, and still can do its work."""

import hashlib

import pytest

from adapters.nats.commands import NatsCommandBus
from adapters.nats.connection import ApiError, NoAnswer
from adapters.nats.liveness import NatsLiveness
from adapters.nats.store import NatsEventStore
from domain.errors import Unavailable
from domain.record import GENESIS
from ops.embedded.nats import COMPUTE, EmbeddedNats
from tests.aio import asynchronous
from tests.contract.test_command_bus import HOST, Agent, background
from tests.contract.test_event_store import append_some
from tests.contract.worlds import ACK_WAIT, MAPPER, Happened, NatsWorld, aggregate, meta
from tests.waiting import until

pytestmark = pytest.mark.nats


async def _echo(host: str, body: bytes) -> bytes:
    return body


@asynchronous
async def test_compute_cannot_append(nats_server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.nats.log.APPEND_TIMEOUT", 0.3)
    async with NatsWorld(nats_server) as world:
        forger = NatsEventStore(await world.connection(COMPUTE), world.cell, MAPPER)
        with pytest.raises(Unavailable):
            await forger.append(aggregate(), Happened(), meta(), GENESIS)
        assert await (await world.store()).last_position() == 0


@asynchronous
async def test_compute_cannot_have_others_write_for_it(nats_server: EmbeddedNats) -> None:
    async with NatsWorld(nats_server) as world:
        control, compute = await world.bus(), await world.connection(COMPUTE)
        host = NatsCommandBus(compute, world.cell, ack_wait=ACK_WAIT)
        forged = f"cell.{world.cell}.event.server.forged"
        async with background(control.serve_reports(_echo)):
            await until(lambda: _answered(host))
            await control.send(HOST, "1", b"a command")
            agent = Agent(host, [HOST], finish=False)
            async with background(agent.run()):
                await until(lambda: agent.bodies)
            for subject in (
                f"cell.{world.cell}.report.{HOST}",
                f"cell.{world.cell}.receiver.evil",
                f"alive.{world.cell}.compute.evil",
                f"$JS.API.CONSUMER.MSG.NEXT.COMMANDS_{world.cell}.node1=2Eexample=2Ecom",
                f"$JS.API.STREAM.INFO.CELL_{world.cell}",
                f"$JS.API.DIRECT.GET.KV_KEYS_{world.cell}",
            ):
                compute.send(subject, b"[]", reply=forged)
            # Reports are worked through in order, so an answered one shows that those before have arrived.
            await host.report(HOST, b"end")
            # Commands wait: whoever asked for them with a forged place for the answer would get them there now.
            await control.send(HOST, "2", b"another")
            await host.report(HOST, b"end")
        assert await (await world.store()).last_position() == 0


@asynchronous
async def test_compute_cannot_read_or_manage(nats_server: EmbeddedNats) -> None:
    async with NatsWorld(nats_server) as world:
        compute = await world.connection(COMPUTE)
        for name in ("STREAM.INFO.CELL_", "STREAM.DELETE.CELL_", "CONSUMER.NAMES.CELL_", "STREAM.INFO.KV_KEYS_"):
            with pytest.raises((NoAnswer, ApiError)):
                await compute.api(f"{name}{world.cell}", timeout=0.3)
        assert await (await world.store()).last_position() == 0


@asynchronous
async def test_compute_can_do_its_work(nats_server: EmbeddedNats) -> None:
    async with NatsWorld(nats_server) as world:
        control, compute = await world.bus(), await world.connection(COMPUTE)
        host, watcher = NatsCommandBus(compute, world.cell, ack_wait=ACK_WAIT), await world.liveness()
        agent = Agent(host, [HOST])
        names: list[str] = []

        async def watch() -> None:
            async for beat in watcher.watch():
                names.append(beat.name)  # noqa: PERF401

        # The agent is there first; it takes commands as soon as a conductor has admitted it.
        async with background(agent.run(), host.serve_questions([HOST], _echo), watch()):
            for number in range(300):
                await control.send(HOST, str(number), b"%d" % number)
            async with background(control.serve_reports(_echo)):
                await until(lambda: len(agent.bodies) == 300)
                assert await host.report(HOST, b"done") == b"done"
                assert await control.ask(HOST, b"well?") == b"well?"
            await NatsLiveness(compute, world.cell).beat("compute/node1", {})
            await until(lambda: names == ["compute/node1"])
        operator = await world.connection()
        await until(lambda: _empty(operator, world.cell))


@asynchronous
async def test_destroyed_keys_are_overwritten_on_disk(nats_server: EmbeddedNats) -> None:
    async with NatsWorld(nats_server) as world:
        vault, operator = await world.vault(), await world.connection()
        for owner in ("server.0", "server.1", "server.2"):
            await vault.seal(owner, b"x")
        found = await operator.call(f"$JS.API.DIRECT.GET.KV_KEYS_{world.cell}.$KV.KEYS_{world.cell}.server=2E1")
        files = [file for file in nats_server.directory.rglob("*") if f"KV_KEYS_{world.cell}" in str(file)]

        def on_disk() -> bool:
            return any(found.data in file.read_bytes() for file in files if file.is_file())

        assert len(hashlib.sha256(found.data).digest()) == len(found.data)
        await until(on_disk)
        await vault.destroy("server.1")
        await until(lambda: not on_disk())


@asynchronous
async def test_events_cannot_be_deleted_even_by_control(nats_server: EmbeddedNats) -> None:
    async with NatsWorld(nats_server) as world:
        store, operator = await world.store(), await world.connection()
        await append_some(store, aggregate(), 2)
        for name, request in (("STREAM.MSG.DELETE", {"seq": 1}), ("STREAM.PURGE", {})):
            with pytest.raises(ApiError):
                await operator.api(f"{name}.CELL_{world.cell}", request)
        assert len(await store.load(aggregate())) == 2


async def _answered(bus: NatsCommandBus) -> bool:
    return await bus.report(HOST, b"there?") == b"there?"


async def _empty(operator: object, cell: str) -> bool:
    info = await operator.api(f"STREAM.INFO.COMMANDS_{cell}")  # type: ignore[attr-defined]
    return info["state"]["messages"] == 0
