"""What one client of the HTTP faces can hold of a process, and what it is told beyond."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from adapters.rest.kit.event_stream import LASTS
from ops.roles import bounded_http
from ops.roles.bounded_http import Bounds, Crowd
from ops.roles.serving import http_config
from tests.aio import asynchronous
from tests.waiting import until

QUICK = Bounds(
    head_bytes=1000, head_seconds=0.2, body_seconds=0.2, body_bytes=10, reading_seconds=0.2, look_seconds=0.05
)
PATIENT = replace(QUICK, head_seconds=60, body_seconds=60, reading_seconds=60)
ANSWER = b"x" * 1000


class Face:
    """An application that reads the body and answers it, or a megabyte."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.begun = 0
        self.gone = ""
        self.may_end = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun += 1
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.asked.append((scope["path"], body))
        if scope["path"] == "/stream":
            scope[LASTS] = True
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(20_000 if scope["path"] == "/much" else 1):
            await send({"type": "http.response.body", "body": ANSWER, "more_body": True})
        if scope["path"] == "/stream":
            self.gone = (await receive())["type"]
        if scope["path"] == "/slow":
            await self.may_end.wait()
        await send({"type": "http.response.body", "body": b""})


class Client:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, *words: bytes) -> None:
        for part in words:
            self.writer.write(part)
            await self.writer.drain()

    async def status(self) -> int:
        return int((await self.reader.readline()).split()[1])

    async def end(self) -> bytes:
        """All that comes until the server closes."""
        try:
            return await asyncio.wait_for(self.reader.read(), 10)
        except ConnectionResetError:
            return b""


class Server:
    def __init__(self, face: Face, crowd: Crowd, port: int, state: ServerState) -> None:
        self.face, self.crowd, self.port = face, crowd, port
        self._state = state
        self._clients: list[Client] = []

    async def client(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self._clients.append(client)
        return client

    def shut_down(self) -> None:
        """As uvicorn begins it."""
        for connection in list(self._state.connections):
            connection.shutdown()

    def close(self) -> None:
        for client in self._clients:
            client.writer.transport.abort()


@asynccontextmanager
async def serving(bounds: Bounds) -> AsyncIterator[Server]:
    face, crowd = Face(), Crowd(bounds)
    config: uvicorn.Config = http_config(face, crowd)
    config.load()
    state, made = ServerState(), config.http_protocol_class
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: made(config=config, server_state=state, app_state={}), "127.0.0.1", 0  # type: ignore[call-arg]
    )  # fmt: skip
    server = Server(face, crowd, listener.sockets[0].getsockname()[1], state)
    try:
        yield server
    finally:
        server.close()
        listener.close()
        await until(lambda: not state.connections and not state.tasks)
        assert not crowd.by_address


GET = b"GET /a HTTP/1.1\r\nHost: x\r\n"


@asynchronous
async def test_an_ordinary_client_notices_nothing() -> None:
    async with serving(QUICK) as server:
        client = await server.client()
        for _ in range(3):
            await client.say(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", b"hello")
            assert await client.status() == 200
            await client.reader.readuntil(b"\r\n0\r\n\r\n")
        assert server.face.asked == [("/a", b"hello")] * 3


@pytest.mark.parametrize(
    "parts",
    [
        (b"GET /" + b"x" * 1200 + b" HTTP/1.1\r\nHost: x\r\n\r\n",),
        (GET + b"a: " + b"x" * 1200 + b"\r\n\r\n",),
        (GET, *[b"a%d: x\r\n" % number for number in range(300)], b"\r\n"),
        (GET, *[b"a: ", *[b"x" * 100] * 30]),
        (b"GET /", *[b"x" * 100] * 30),
        (b"\r\n" * 50, *[b"\r\n" * 50] * 30),
    ],
    ids=["line", "field", "many fields", "field without an end", "line without an end", "nothing but line ends"],
)
@asynchronous
async def test_a_head_that_is_too_large(parts: tuple[bytes, ...]) -> None:
    async with serving(PATIENT) as server:
        client = await server.client()
        with suppress(ConnectionError):
            await client.say(*parts)
        assert await client.status() == 431
        await client.end()
        assert server.face.begun == 0


@asynchronous
async def test_trailers_without_an_end() -> None:
    async with serving(PATIENT) as server:
        client = await server.client()
        await client.say(b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n0\r\n")
        await until(lambda: server.face.begun == 1)

        async def go_on() -> None:
            await client.say(b"t: ")
            while True:
                await client.say(b"x" * 100)

        with pytest.raises(ConnectionError):
            await go_on()
        assert server.face.asked == []


@asynchronous
async def test_small_trailers_are_no_header_fields_of_the_request() -> None:
    async with serving(PATIENT) as server:
        client = await server.client()
        await client.say(
            b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n0\r\nx: y\r\n\r\n"
        )
        assert await client.status() == 200


@asynchronous
async def test_a_body_in_many_small_pieces_is_no_head() -> None:
    async with serving(PATIENT) as server:
        client = await server.client()
        await client.say(
            b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\na\r\n"] * 1000
        )
        await client.say(b"0\r\n\r\n")
        assert await client.status() == 200
        assert server.face.asked == [("/a", b"a" * 1000)]


@pytest.mark.parametrize("said", [b"", b"GET ", GET + b"a: b"])
@asynchronous
async def test_a_head_that_does_not_come(said: bytes) -> None:
    async with serving(QUICK) as server:
        client = await server.client()
        await client.say(said)
        assert await client.status() == 408
        await client.end()


@asynchronous
async def test_a_second_head_that_does_not_come() -> None:
    async with serving(QUICK) as server:
        client = await server.client()
        await client.say(GET + b"\r\n")
        await client.reader.readuntil(b"\r\n0\r\n\r\n")
        await client.say(GET)
        assert await client.status() == 408


@asynchronous
async def test_a_body_that_does_not_come() -> None:
    async with serving(QUICK) as server:
        client = await server.client()
        await client.say(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", b"hello")
        assert await client.end() == b""
        assert server.face.asked == []


@asynchronous
async def test_an_answer_that_is_not_taken() -> None:
    async with serving(QUICK) as server:
        client = await server.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.say(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: server.crowd.by_address["127.0.0.1"] == 1)
        await until(lambda: not server.crowd.by_address)


@asynchronous
async def test_a_last_answer_that_is_not_taken() -> None:
    """The connection closes behind it, once it is taken; it is not waited for without an end."""
    async with serving(QUICK) as server:
        client = await server.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.say(b"GET /much HTTP/1.0\r\nHost: x\r\n\r\n")
        await until(lambda: server.face.begun == 1)
        await until(lambda: not server.crowd.by_address)


@asynchronous
async def test_too_many_connections_of_one_address() -> None:
    async with serving(replace(PATIENT, of_one_address=2)) as server:
        held = [await server.client() for _ in range(2)]
        await until(lambda: server.crowd.by_address["127.0.0.1"] == 2)
        refused = await server.client()
        assert await refused.status() == 503
        assert b"retry-after: 1\r\n" in await refused.end()
        server.crowd.by_address["192.0.2.1"] = 1
        assert server.crowd.admits("192.0.2.1")
        del server.crowd.by_address["192.0.2.1"]
        held[0].writer.close()
        await until(lambda: server.crowd.by_address["127.0.0.1"] == 1)
        again = await server.client()
        await again.say(GET + b"\r\n")
        assert await again.status() == 200


@asynchronous
async def test_nothing_is_made_for_a_connection_that_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(bounded_http, "BoundedHttp", lambda **facts: made.append(facts))
    async with serving(replace(PATIENT, of_one_address=0)) as server:
        refused = await server.client()
        assert await refused.status() == 503
        await refused.end()
    assert made == []


def test_too_many_connections_of_all() -> None:
    crowd = Crowd(replace(PATIENT, connections=2))
    crowd.by_address.update({"192.0.2.1": 1, "192.0.2.2": 1})
    assert not crowd.admits("192.0.2.3")


@asynchronous
async def test_at_the_end_nobody_waits_for_what_has_no_end_of_its_own() -> None:
    async with serving(PATIENT) as server:
        stream, slow = await server.client(), await server.client()
        for client, path in ((stream, b"stream"), (slow, b"slow")):
            await client.say(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            await client.reader.readuntil(ANSWER)
        server.shut_down()
        await stream.end()
        await until(lambda: server.face.gone == "http.disconnect")
        server.face.may_end.set()
        assert (await slow.end()).endswith(b"0\r\n\r\n")
