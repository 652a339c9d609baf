"""Viewers that are slow, many, or enemies: the proxy keeps its bounds, and the others notice nothing."""

import asyncio
from pathlib import Path

import pytest

from adapters.console import requests, websocket
from adapters.console.websocket import CHUNK, MAX_MESSAGE, TOO_BIG, WRITE_LIMIT
from ops.listening import allow_many_files
from tests.adapters.console.site import site
from tests.adapters.console.viewer import Viewer, denied
from tests.aio import asynchronous
from tests.waiting import until


@asynchronous
async def test_frames_that_are_too_big_or_wrong(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        proxy = await here.proxy()
        token = await here.token(await here.server())
        liar = await Viewer.connect(proxy.port, token)
        await liar.send(b"", length=1 << 62)
        feeding = asyncio.create_task(_feed(liar))
        await liar.ended()
        feeding.cancel()
        assert liar.close_code == TOO_BIG
        texter = await Viewer.connect(proxy.port, token)
        await texter.send(b"text", opcode=0x1)
        await texter.ended()
        strange = await Viewer.connect(proxy.port, token)
        await strange.send(b"", opcode=0x7)
        await strange.ended()
        unmasked = await Viewer.connect(proxy.port, token)
        unmasked.writer.write(b"\x82\x02hi")
        await unmasked.ended()
        assert here.typed == b""


async def _feed(viewer: Viewer) -> None:
    for _ in range(2 * MAX_MESSAGE // (1 << 16)):
        viewer.writer.write(bytes(1 << 16))
        await viewer.writer.drain()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\n\r\n", 400),
        (b"GET /vnc lite HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET /../secret HTTP/1.1\r\n\r\n", 404),
        (b"GET /%2e%2e/secret HTTP/1.1\r\n\r\n", 404),
        (b"GET /core/..%2f..%2fsecret HTTP/1.1\r\n\r\n", 404),
        (b"GET //etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"GET /core HTTP/1.1\r\n\r\n", 404),
        (b"GET /vnc_lite.html%00.js HTTP/1.1\r\n\r\n", 404),
        (b"GET //[ HTTP/1.1\r\n\r\n", 400),
        (b"GET /?path=//[ HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nOrigin: http://[\r\n\r\n", 400),
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\n\r\n", 200),
        (b"GET /core/rfb.js HTTP/1.1\r\n\r\n", 200),
        (b"HEAD / HTTP/1.1\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 403),
    ],
)
@asynchronous
async def test_requests(tmp_path: Path, sent: bytes, status: int, caplog: pytest.LogCaptureFixture) -> None:
    async with site(tmp_path) as here:
        proxy = await here.proxy()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(sent)
        answer = await reader.read()
        assert int(answer.split()[1]) == status, answer
        assert b"X-Openstack-Request-Id: req-" in answer
        assert b"secret" not in answer
        assert not [record for record in caplog.records if record.exc_info]
        writer.close()


@asynchronous
async def test_slow_and_idle_clients_disturb_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "HEAD_SECONDS", 1.0)
    allow_many_files()
    async with site(tmp_path) as here:
        proxy = await here.proxy(max_connections=1010)
        token = await here.token(await here.server())
        idle = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(1000)))
        for _, writer in idle[:500]:
            writer.write(b"GET / HT")
        viewer = await Viewer.connect(proxy.port, token)
        assert await viewer.echo(b"hello") == b"hello"
        answers = await asyncio.gather(*(reader.read() for reader, _ in idle))
        assert {answer.split()[1] for answer in answers} == {b"408"}
        assert await viewer.echo(b"still") == b"still"
        for _, writer in idle:
            writer.close()
        viewer.close()


@asynchronous
async def test_a_crowd_is_turned_away(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        proxy = await here.proxy(max_connections=2)
        token = await here.token(await here.server())
        viewers = [await Viewer.connect(proxy.port, token) for _ in range(2)]
        assert await denied(proxy.port, token) == 503
        viewers.pop().close()
        await until(lambda: proxy.proxy.sessions == 1)
        await until(lambda: len(proxy.proxy._connections) == 1)
        viewers.append(await Viewer.connect(proxy.port, token))
        for viewer in viewers:
            assert await viewer.echo(b"in") == b"in"
            viewer.close()


@asynchronous
async def test_who_only_knocks_does_not_keep_out_those_who_may_come_in(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        proxy = await here.proxy(max_connections=3)
        token = await here.token(await here.server())
        viewer = await Viewer.connect(proxy.port, token)
        knocking = [await asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(2)]
        await until(lambda: len(proxy.proxy._knocking) == 2)
        second = await Viewer.connect(proxy.port, token)
        assert await knocking[0][0].read() == b""
        for one in (viewer, second):
            assert await one.echo(b"in") == b"in"
            one.close()
        for _, writer in knocking:
            writer.close()


@asynchronous
async def test_pings_are_answered_no_faster_than_the_answers_are_taken(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        proxy = await here.proxy()
        viewer = await Viewer.connect(proxy.port, await here.token(await here.server()))
        (writer,) = proxy.proxy._connections
        viewer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sent = 0

        async def flood() -> None:
            nonlocal sent
            while True:
                viewer.writer.write((b"\x89\xfd\0\0\0\0" + b"x" * 125) * 500 + b"\x82\x81\0\0\0\0y")
                await viewer.writer.drain()
                sent += 500 * 131

        flooding = asyncio.create_task(flood())
        await until(lambda: writer.transport.get_write_buffer_size() > WRITE_LIMIT)
        # All pipes are full once the viewer itself can send no more, which is soon.
        await until(lambda: viewer.writer.transport.get_write_buffer_size() > CHUNK)
        assert writer.transport.get_write_buffer_size() <= WRITE_LIMIT + 4 * CHUNK
        assert sent < 64 << 20
        flooding.cancel()
        viewer.writer.transport.abort()


@asynchronous
async def test_a_viewer_that_reads_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "READING_SECONDS", 0.2)
    async with site(tmp_path) as here:
        proxy = await here.proxy()
        viewer = await Viewer.connect(proxy.port, await here.token(await here.server()))
        viewer.writer.transport.pause_reading()  # type: ignore[attr-defined]

        async def type_on() -> None:
            while True:
                await viewer.send(b"x" * 60_000)

        typing = asyncio.create_task(type_on())
        await until(lambda: proxy.proxy.sessions == 0)
        typing.cancel()
        await asyncio.gather(typing, return_exceptions=True)
