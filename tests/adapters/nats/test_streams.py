"""Streams are made once and checked ever after."""

import pytest

from adapters.nats.connection import Credentials, connect
from adapters.nats.names import Names, token, untoken
from adapters.nats.streams import WrongStream, durable, ensure, ensure_cell
from domain.errors import Invalid, Unavailable
from ops.embedded.nats import EmbeddedNats, free_port
from tests.aio import asynchronous
from tests.contract.worlds import NatsWorld


@pytest.mark.parametrize("cell", ["", "Cell", "a.b", "a b", "a*", "a_b", "x" * 64])
def test_a_cell_has_a_plain_name(cell: str) -> None:
    with pytest.raises(Invalid):
        Names(cell)


@pytest.mark.parametrize("text", ["a", "a.b", "=", "=2E", "ä ö>*", "a=2Eb", "\x00"])
def test_tokens_are_reversible_and_plain(text: str) -> None:
    assert untoken(token(text)) == text
    assert not set(token(text)) & set(". *>/\\%\t")


def test_no_name_is_refused() -> None:
    with pytest.raises(Invalid):
        token("")


@pytest.mark.nats
@asynchronous
async def test_a_wrong_setting_is_named(nats_server: EmbeddedNats) -> None:
    async with NatsWorld(nats_server) as world:
        connection = await world.connection()
        await ensure_cell(connection, world.cell)
        events = durable(Names(world.cell))[0]
        await connection.api(f"STREAM.UPDATE.{events['name']}", events | {"max_msg_size": 1000})
        with pytest.raises(WrongStream) as raised:
            await ensure_cell(connection, world.cell)
        error = raised.value
        assert (error.stream, error.setting) == (events["name"], "max_msg_size")
        assert (error.found, error.wanted) == (1000, events["max_msg_size"])
        for word in (error.stream, error.setting, "1000", str(error.wanted)):
            assert word in error.message


@pytest.mark.nats
@asynchronous
async def test_a_stranger_is_not_let_in(nats_server: EmbeddedNats) -> None:
    with pytest.raises(Unavailable, match=r"(?i)authorization"):
        await connect(nats_server.url, "x", Credentials("control", "wrong"), timeout=0.5)


@asynchronous
async def test_nobody_there() -> None:
    with pytest.raises(Unavailable):
        await connect(f"nats://127.0.0.1:{free_port()}", "x", timeout=0.3)


@pytest.mark.nats
@asynchronous
async def test_a_message_that_is_too_large_harms_nobody(nats_server: EmbeddedNats) -> None:
    async with NatsWorld(nats_server) as world:
        connection = await world.connection()
        with pytest.raises(Invalid):
            connection.send("alive.x", b"x" * 9_000_000)
        await ensure(connection, durable(Names(world.cell)))
