"""How a host fetches images: by the ticket of the command, from the configured service and nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path

import pytest

from adapters import image_files
from adapters.image_files import HttpImageFiles
from domain.errors import HostFailed, Unavailable
from tests.aio import asynchronous


@asynccontextmanager
async def service(answer: bytes) -> AsyncIterator[tuple[str, list[str]]]:
    """An image service that says the same to everybody, and the heads of the requests that it got."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 " + answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/image", asked
    finally:
        server.close()


@asynchronous
async def test_by_ticket(tmp_path: Path) -> None:
    async with service(b"200 OK\r\nContent-Length: 5\r\n\r\nhello") as (url, asked):
        files = HttpImageFiles(url, url, "user", "password")
        files.keep({"image-1": "old"})
        files.keep({"image-1": "1.2.node1"})
        await files.download("image-1", tmp_path / "image")
        assert (tmp_path / "image").read_bytes() == b"hello"
        assert asked[0].startswith("GET /image/lightcurve/image-1/file ")
        assert "x-lightcurve-image-ticket: 1.2.node1\r\n" in asked[0].lower()
        assert len(asked) == 1


@asynchronous
async def test_without_a_ticket_and_without_a_user(tmp_path: Path) -> None:
    async with service(b"200 OK\r\n\r\n") as (url, asked):
        with pytest.raises(HostFailed):
            await HttpImageFiles(url).download("image-1", tmp_path / "image")
        assert not asked


@asynchronous
async def test_nobody_is_followed_elsewhere(tmp_path: Path) -> None:
    async with (
        service(b"200 OK\r\n\r\n") as (elsewhere, asked),
        service(b"302 Found\r\nLocation: %s\r\n\r\n" % elsewhere.encode()) as (url, _),
    ):
        files = HttpImageFiles(url)
        files.keep({"image-1": "secret"})
        with pytest.raises(Unavailable):
            await files.download("image-1", tmp_path / "image")
        assert not asked


def test_tickets_do_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "MAX_TICKETS", 3)
    files = HttpImageFiles("")
    for number in range(10):
        files.keep({str(number): "ticket"})
    assert list(files._tickets) == ["7", "8", "9"]


@asynchronous
async def test_an_image_is_sent_by_ticket_whole_and_with_its_length() -> None:
    async with service(b"204 No Content\r\n\r\n") as (url, asked):
        files = HttpImageFiles(url)
        with pytest.raises(HostFailed):
            await files.upload("image-1", BytesIO(b"hello"))
        files.keep({"image-1": "1.2.node1"})
        source = BytesIO(b"hello")
        source.read(3)
        await files.upload("image-1", source)
        (head,) = asked
        assert head.startswith("PUT /image/lightcurve/image-1/file ")
        assert "x-lightcurve-image-ticket: 1.2.node1\r\n" in head.lower()
        assert "content-length: 5\r\n" in head.lower()


@pytest.mark.parametrize(("answer", "raised"), [
    (b"404 Not Found", HostFailed), (b"413 Too Large", HostFailed), (b"400 Bad Request", HostFailed),
    (b"409 Conflict", Unavailable), (b"503 Not Now", Unavailable), (b"302 Found", Unavailable),
])  # fmt: skip
@asynchronous
async def test_what_is_not_taken_fails_or_is_tried_again(answer: bytes, raised: type[Exception]) -> None:
    async with service(answer + b"\r\nContent-Length: 5\r\n\r\nwords") as (url, _):
        files = HttpImageFiles(url)
        files.keep({"image-1": "ticket"})
        with pytest.raises(raised):
            await files.upload("image-1", BytesIO(b"hello"))
