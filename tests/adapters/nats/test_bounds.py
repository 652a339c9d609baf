"""What hosts ask too much, or what is no name or no sign, ends nothing and holds up nobody else."""

import asyncio
import time
from contextlib import aclosing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.nats import serving
from adapters.nats.commands import NatsCommandBus
from adapters.nats.connection import NoAnswer
from adapters.nats.liveness import NatsLiveness
from adapters.nats.names import MAX_TOKEN, SIMULATED, Names, token, untoken
from adapters.nats.serving import MAX_OF_ONE, MAX_WAITING
from adapters.nats.streams import MAX_SIGN_BYTES, ensure, fleeting
from domain.errors import Invalid, Unavailable
from domain.fleet.host import is_name
from domain.log.record import AggregateId
from handlers.fleet.refusals import Refusals
from ops.embedded.nats import EmbeddedNats
from tests.aio import asynchronous
from tests.contract.test_command_bus import background
from tests.contract.worlds import NatsWorld
from tests.waiting import until

nats = pytest.mark.nats


@given(st.text(min_size=1, max_size=300))
def test_a_name_becomes_a_token_and_back(text: str) -> None:
    try:
        made = token(text)
    except Invalid:
        assert any("\ud800" <= character <= "\udfff" for character in text) or len(text.encode()) * 3 > MAX_TOKEN
        return
    assert len(made) <= MAX_TOKEN
    assert untoken(made) == text


@pytest.mark.parametrize("text", ["", "x" * (MAX_TOKEN + 1), "." * MAX_TOKEN, "\ud800"])
def test_what_can_be_no_name(text: str) -> None:
    for use in (token, Names("c").report, Names("c").receiver, lambda name: Names("c").event(AggregateId("k", name))):
        with pytest.raises(Invalid):
            use(text)


@nats
@asynchronous
async def test_a_subject_that_is_too_long_does_not_end_the_connection(nats_server: EmbeddedNats) -> None:
    async with NatsWorld(nats_server) as world:
        connection = await world.connection()
        for subject, reply in (("a" * 4_050, ""), ("a", "b" * 4_050)):
            with pytest.raises(Invalid):
                connection.send(subject, b"", reply=reply)
        with pytest.raises(Invalid):
            await connection.call("a." * 2_020 + "b")
        with pytest.raises(NoAnswer):
            # As long as may be; the connection is there to tell that nobody listens.
            await connection.call("a" * 3_900)
        assert connection.is_connected


@nats
@asynchronous
async def test_one_who_asks_without_end_holds_up_nobody(nats_server: EmbeddedNats) -> None:
    begun: list[str] = []
    go_on = asyncio.Event()

    async def handle(host: str, body: bytes) -> bytes:
        begun.append(host)
        if host == "greedy":
            await go_on.wait()
        return body

    async with NatsWorld(nats_server) as world:
        refusals, names = Refusals(), Names(world.cell)
        conductor = NatsCommandBus(await world.connection(), world.cell, refusals=refusals)
        greedy, honest = await world.connection(), await world.bus()
        async with background(conductor.serve_reports(handle)):
            await until(lambda: _answered(honest))
            for _ in range(MAX_OF_ONE + MAX_WAITING + 100):
                greedy.send(names.report("greedy"), b"again")
            await until(lambda: refusals.of("greedy") == 100)
            assert begun.count("greedy") == MAX_OF_ONE
            assert await honest.report("honest", b"hello") == b"hello"
            with pytest.raises(Unavailable, match="Too much"):
                await honest.report("greedy", b"hello")
            with pytest.raises(Unavailable, match="Too much"):
                await honest.report("large", bytes(2 << 20))
            go_on.set()
            await until(lambda: begun.count("greedy") == MAX_OF_ONE + MAX_WAITING)
            assert await honest.report("greedy", b"hello") == b"hello"
        assert (refusals.of("honest"), refusals.of("large")) == (0, 1)


@nats
@asynchronous
async def test_what_has_waited_longer_than_who_asked_is_not_worked_on(
    nats_server: EmbeddedNats, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who has fallen behind once would do nothing any more but answer nobody."""
    begun = 0
    go_on = asyncio.Event()

    async def handle(_host: str, body: bytes) -> bytes:
        nonlocal begun
        begun += 1
        if body == b"again":
            await go_on.wait()
        return body

    async with NatsWorld(nats_server) as world:
        names = Names(world.cell)
        conductor = NatsCommandBus(await world.connection(), world.cell)
        host, other = await world.connection(), await world.bus()
        async with background(conductor.serve_reports(handle)):
            await until(lambda: _answered(other))
            before = begun
            for _ in range(MAX_OF_ONE + 10):
                host.send(names.report("node1"), b"again")
            await until(lambda: begun == before + MAX_OF_ONE)
            # What was sent on one connection comes in order: the ten wait now.
            await host.call(names.report("node2"), b"there?")
            waiting_since = time.monotonic()
            monkeypatch.setattr(serving, "PATIENCE_SECONDS", 0.02)
            await until(lambda: time.monotonic() > waiting_since + 0.05)
            go_on.set()
            await host.call(names.report("node2"), b"there?")
            monkeypatch.undo()
            assert await other.report("node1", b"hello") == b"hello"
        assert begun == before + MAX_OF_ONE + 3


async def _answered(bus: object) -> bool:
    return await bus.report("honest", b"there?") == b"there?"  # type: ignore[attr-defined]


@nats
@asynchronous
async def test_receivers_are_admitted_for_themselves(nats_server: EmbeddedNats) -> None:
    async with NatsWorld(nats_server) as world:
        refusals, names, operator = Refusals(), Names(world.cell), await world.connection()
        conductor = NatsCommandBus(operator, world.cell, refusals=refusals)
        host = await world.connection()

        async def admitted(name: str, wish: object) -> str | None:
            answer = await host.call(names.receiver(name), msgspec.json.encode(wish))
            return answer.headers().get("Lightcurve-Error")

        async with background(conductor.serve_reports(_nothing)):
            await until(lambda: _is_admitted(admitted))
            assert await admitted("crowd", ["sim-0001", "sim-0002"]) is None
            for name, wish in (
                ("node1", ["node2"]),
                ("node1", ["node1", "node2"]),
                ("node1", ["*"]),
                ("node1", []),
                ("node1", "node1"),
                ("node1", ["sim-0001", "node2"]),
                ("node1", {"a": "\0"}),
            ):
                assert await admitted(name, wish) == "unavailable"
        assert refusals.of("node1") == 7
        consumers = (await operator.api(f"CONSUMER.NAMES.{names.commands}"))["consumers"]
        assert sorted(consumers) == ["crowd", "node1"]
        crowd = (await operator.api(f"CONSUMER.INFO.{names.commands}.crowd"))["config"]
        # One queue, however many they are.
        assert crowd["filter_subjects"] == [names.command("sim-0001")] == [names.command("sim-100000")]
        assert not is_name(SIMULATED)


async def _is_admitted(admitted: "object") -> bool:
    try:
        return await admitted("node1", ["node1"]) is None  # type: ignore[operator, no-any-return]
    except NoAnswer:
        return False


async def _nothing(_host: str, body: bytes) -> bytes:
    return body


@nats
@asynchronous
async def test_signs_that_cannot_be_read_are_left_out(nats_server: EmbeddedNats) -> None:
    async with NatsWorld(nats_server) as world:
        sender, refusals = await world.connection(), Refusals()
        for subject, body in (
            ("compute.evil", b"x"),
            ("compute.evil.=FF", b"{}"),
            ("compute.deep", b'{"facts":' * 50_000),
            ("compute.large", b'{"facts":{"a":"' + b"x" * MAX_SIGN_BYTES + b'"}}'),
            ("compute.node1", msgspec.json.encode({"name": "compute/node2", "facts": {"host_id": "1"}})),
        ):
            sender.send(f"alive.{world.cell}.{subject}", body)
        await (await world.liveness()).beat("conductor/a", {})
        found = {}
        async with aclosing(NatsLiveness(await world.connection(), world.cell, refusals).watch()) as beats:
            async for beat in beats:
                found[beat.name] = beat.facts
                if beat.name == "conductor/a":
                    break
        assert found == {"compute/node1": {"host_id": "1"}, "conductor/a": {}}
        assert refusals.of("evil") == 1


@nats
@asynchronous
async def test_signs_of_an_older_stack_get_their_bounds(nats_server: EmbeddedNats) -> None:
    async with NatsWorld(nats_server) as world:
        connection, names = await world.connection(), Names(world.cell)
        signs = fleeting(names)
        await connection.api(f"STREAM.UPDATE.{names.liveness}", signs[0] | {"max_msgs": -1, "max_msg_size": -1})
        await ensure(connection, signs)
        config = (await connection.api(f"STREAM.INFO.{names.liveness}"))["config"]
        assert config["max_msg_size"] == MAX_SIGN_BYTES
