"""A host cannot write history and cannot be another host, whatever it sends, and still can do its work."""

import hashlib

import pytest

from adapters.nats.commands import NatsCommandBus
from adapters.nats.connection import ApiError, Credentials, NoAnswer, connect
from adapters.nats.liveness import NatsLiveness
from adapters.nats.names import token
from adapters.nats.store import NatsEventStore
from domain.errors import Unavailable
from domain.log.record import GENESIS
from handlers.fleet.refusals import Refusals
from handlers.ports import Liveness
from ops.admission import admit
from ops.embedded.nats import EmbeddedNats
from ops.embedded.nats_accounts import SIMULATED
from tests.aio import asynchronous
from tests.contract.test_command_bus import HOST, Agent, background
from tests.contract.test_event_store import append_some
from tests.contract.worlds import ACK_WAIT, MAPPER, Happened, NatsWorld, aggregate, meta
from tests.waiting import until

pytestmark = pytest.mark.nats


async def _echo(host: str, body: bytes) -> bytes:
    return body


@asynchronous
async def test_a_host_cannot_append(with_hosts: EmbeddedNats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.nats.breaker.PATIENCE_SECONDS", 0.3)
    async with NatsWorld(with_hosts, cell="cell1") as world:
        for connection in (await world.of_host(HOST), await world.connection(SIMULATED)):
            forger = NatsEventStore(connection, world.cell, MAPPER)
            with pytest.raises(Unavailable):
                await forger.append(aggregate(), Happened(), meta(), GENESIS)
        assert await (await world.store()).last_position() == 0


@asynchronous
async def test_a_host_cannot_have_others_write_for_it(with_hosts: EmbeddedNats) -> None:
    async with NatsWorld(with_hosts, cell="cell1") as world:
        control, compute = await world.bus(), await world.of_host(HOST)
        host = NatsCommandBus(compute, world.cell, ack_wait=ACK_WAIT)
        asked, seen = Agent(await _bus(world, "node2"), ["node2"], finish=False), []

        async def handle(name: str, body: bytes) -> bytes:
            seen.append(name)
            return b"" if body == b"nothing" else body

        async with background(control.serve_reports(handle), asked.run(), _watch(await world.liveness(), seen)):
            await until(lambda: _answered(host))
            for number in range(2):
                await control.send(HOST, str(number), b"a command")
            await control.send("node2", "3", b"of another")
            await until(lambda: asked.bodies)
            agent = Agent(host, [HOST], finish=False)
            async with background(agent.run()):
                await until(lambda: agent.bodies)
            seen.clear()
            for place in (
                f"cell.{world.cell}.event.server.forged",
                f"cell.{world.cell}.report.node2",
                f"cell.{world.cell}.question.node2",
                f"cell.{world.cell}.command.node2",
                f"alive.{world.cell}.compute.node2",
                f"alive.{world.cell}.conductor.a",
                asked.deliveries[0]._message.reply,
            ):
                for subject in (
                    f"cell.{world.cell}.report.{token(HOST)}",
                    f"cell.{world.cell}.receiver.{token(HOST)}",
                    f"alive.{world.cell}.compute.{token(HOST)}",
                    f"$JS.API.CONSUMER.MSG.NEXT.COMMANDS_{world.cell}.{token(HOST)}",
                    f"$JS.API.STREAM.INFO.CELL_{world.cell}",
                    f"$JS.API.DIRECT.GET.KV_KEYS_{world.cell}",
                    place,
                ):
                    compute.send(subject, b"nothing", reply=place)
            # Reports are worked through in order, so an answered one shows that those before have arrived.
            await host.report(HOST, b"end")
            # Commands wait: whoever asked for them with a forged place for the answer would get them there now.
            await control.send(HOST, "4", b"another")
            await host.report(HOST, b"end")
            # The other's command was not taken out of its queue: it comes again.
            await until(lambda: len(asked.bodies) > 1)
        assert set(seen) <= {HOST, f"compute/{HOST}"}
        assert set(asked.bodies) == {b"of another"}
        assert await (await world.store()).last_position() == 0


@asynchronous
async def test_a_host_is_no_other(with_hosts: EmbeddedNats) -> None:
    async with NatsWorld(with_hosts, cell="cell1") as world:
        control, operator, refusals = await world.connection(), await world.connection(), Refusals()
        conductor = NatsCommandBus(control, world.cell, ack_wait=ACK_WAIT, refusals=refusals)
        seen: list[str] = []

        async def handle(name: str, body: bytes) -> bytes:
            seen.append(name)
            return body

        evil, node2 = await world.of_host("node3"), await _bus(world, "node2")
        other = Agent(node2, ["node2"])
        async with background(conductor.serve_reports(handle), other.run(), node2.serve_questions(["node2"], _echo)):
            await until(lambda: _answered(node2, "node2"))
            await evil.tap(f"cell.{world.cell}.question.*", lambda message: evil.send(message.reply, b"forged"))
            for subject in (
                "report.node2",
                "report.node1",
                "receiver.node2",
                "receiver.anybody",
                "receiver.simulated",
            ):
                with pytest.raises(NoAnswer):
                    await evil.call(f"cell.{world.cell}.{subject}", b'["node2"]', timeout=0.3)
            for hosts in ('["node2"]', '["node3","node2"]', '["*"]', '["sim-0001","node2"]'):
                answer = await evil.call(f"cell.{world.cell}.receiver.node3", hosts.encode())
                assert b"may not take" in answer.data
            with pytest.raises(NoAnswer):
                await evil.call(f"$JS.API.CONSUMER.MSG.NEXT.COMMANDS_{world.cell}.node2", b"{}", timeout=0.3)
            for name in ("compute/node2", "conductor/a", "compute/node3/x"):
                await NatsLiveness(evil, world.cell).beat(name, {})
            assert await conductor.ask("node2", b"well?") == b"well?"
            await conductor.send("node2", "1", b"one")
            await until(lambda: other.bodies == [b"one"])
        assert set(seen) == {"node2"}
        assert refusals.of("node3") == 4
        names = (await operator.api(f"CONSUMER.NAMES.COMMANDS_{world.cell}"))["consumers"]
        assert names == ["node2"]
        signs = (await operator.api(f"STREAM.INFO.LIVENESS_{world.cell}"))["state"]
        assert signs["messages"] == 0


@asynchronous
async def test_a_host_cannot_read_or_manage(with_hosts: EmbeddedNats) -> None:
    async with NatsWorld(with_hosts, cell="cell1") as world:
        for compute in (await world.of_host(HOST), await world.connection(SIMULATED)):
            for name in ("STREAM.INFO.CELL_", "STREAM.DELETE.CELL_", "CONSUMER.NAMES.CELL_", "STREAM.INFO.KV_KEYS_"):
                with pytest.raises((NoAnswer, ApiError)):
                    await compute.api(f"{name}{world.cell}", timeout=0.3)
        assert await (await world.store()).last_position() == 0


@pytest.mark.parametrize("crowd", [False, True])
@asynchronous
async def test_hosts_can_do_their_work(with_hosts: EmbeddedNats, *, crowd: bool) -> None:
    async with NatsWorld(with_hosts, cell="cell1") as world:
        hosts = ["sim-0001", "sim-0002"] if crowd else [HOST]
        compute = await (world.connection(SIMULATED) if crowd else world.of_host(HOST))
        receiver = SIMULATED if crowd else None
        host = NatsCommandBus(compute, world.cell, ack_wait=ACK_WAIT, name=receiver)
        control, watcher = await world.bus(), await world.liveness()
        agent = Agent(host, hosts)
        names: list[str] = []
        # The agent is there first; it takes commands as soon as a conductor has admitted it.
        async with background(agent.run(), host.serve_questions(hosts, _echo), _watch(watcher, names)):
            for number in range(300):
                await control.send(hosts[number % len(hosts)], str(number), b"%d" % number)
            async with background(control.serve_reports(_echo)):
                await until(lambda: len(agent.bodies) == 300)
                for name in hosts:
                    assert await host.report(name, b"done") == b"done"
                    assert await control.ask(name, b"well?") == b"well?"
            for name in hosts:
                await NatsLiveness(compute, world.cell).beat(f"compute/{name}", {})
            await until(lambda: sorted(names) == sorted(f"compute/{name}" for name in hosts))
        operator = await world.connection()
        await until(lambda: _empty(operator, world.cell))


@asynchronous
async def test_simulated_hosts_are_no_others(with_hosts: EmbeddedNats) -> None:
    async with NatsWorld(with_hosts, cell="cell1") as world:
        crowd, control = await world.connection(SIMULATED), await world.bus()
        async with background(control.serve_reports(_echo)):
            await until(lambda: _answered(NatsCommandBus(crowd, world.cell), "sim-0001"))
            for subject in ("report.sim-0003", "report.node2", "receiver.node2", "receiver.sim-0001"):
                with pytest.raises(NoAnswer):
                    await crowd.call(f"cell.{world.cell}.{subject}", b"[]", timeout=0.3)


@asynchronous
async def test_hosts_come_and_go_while_the_server_runs(with_hosts: EmbeddedNats) -> None:
    async with NatsWorld(with_hosts, cell="cell1") as world:
        control, old = await world.bus(), await world.of_host("node2")
        staying = await _bus(world, HOST)
        async with background(control.serve_reports(_echo)):
            await until(lambda: _answered(staying))
            with_hosts.hosts.remove("node2")
            # Who tells a running server of hosts need not know of the simulated ones.
            with_hosts.simulated = ()
            crowd = await world.connection(SIMULATED)
            assert await admit(with_hosts, with_hosts.hosts.add("new"))
            new = NatsCommandBus(await world.of_host("new"), world.cell)
            assert await new.report("new", b"here") == b"here"
            agent = Agent(new, ["new"])
            async with background(agent.run(), new.serve_questions(["new"], _echo)):
                await control.send("new", "1", b"one")
                await until(lambda: agent.bodies == [b"one"])
                assert await control.ask("new", b"well?") == b"well?"
            assert await staying.report(HOST, b"here") == b"here"
            await until(lambda: not old.is_connected)
            assert await NatsCommandBus(crowd, world.cell).report("sim-0001", b"here") == b"here"
            renewed = with_hosts.hosts.get("new")
            assert renewed
            before = renewed.credentials
            assert await admit(with_hosts, with_hosts.hosts.add("new", renew=True))
            await until(lambda: _is_shut_out(world, before))
            assert await NatsCommandBus(await world.of_host("new"), world.cell).report("new", b"x") == b"x"


async def _is_shut_out(world: NatsWorld, credentials: Credentials) -> bool:
    try:
        await (await connect(world.url, "late", credentials, 0.3)).close()
    except Unavailable:
        return True
    return False


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


async def _bus(world: NatsWorld, host: str) -> NatsCommandBus:
    return NatsCommandBus(await world.of_host(host), world.cell, ack_wait=ACK_WAIT, report_timeout=0.8)


async def _watch(liveness: Liveness, names: list[str]) -> None:
    async for beat in liveness.watch():
        names.append(beat.name)  # noqa: PERF401


async def _answered(bus: NatsCommandBus, host: str = HOST) -> bool:
    try:
        return await bus.report(host, b"there?") == b"there?"
    except Unavailable:
        return False


async def _empty(operator: object, cell: str) -> bool:
    info = await operator.api(f"STREAM.INFO.COMMANDS_{cell}")  # type: ignore[attr-defined]
    return info["state"]["messages"] == 0
