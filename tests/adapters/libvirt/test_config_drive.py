"""Config drives: what is on them, and what happens when they cannot be made."""

import asyncio
import base64
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from adapters.libvirt.config_drive import DriveFormat, ensure_config_drive
from adapters.libvirt.metadata_proxy import MetadataUpstream
from adapters.metadata import signing
from domain.errors import HostFailed, Unavailable
from tests.aio import asynchronous

SECRET = b"shared"
FILES = {
    "openstack/latest/meta_data.json": b'{"uuid": "1"}',
    "openstack/2018-08-27/user_data": bytes(range(256)),
    "openstack/content/0000": b"hello",
}


@asynccontextmanager
async def service(
    status: int = 200, files: dict[str, bytes] | None = None
) -> AsyncIterator[tuple[MetadataUpstream, list[str]]]:
    """A metadata service, and the heads of the requests that it got."""
    asked: list[str] = []
    told = {name: base64.b64encode(content).decode() for name, content in (files or FILES).items()}
    body = json.dumps(told).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield MetadataUpstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", SECRET), asked
    finally:
        server.close()


def read_file(drive: Path, form: DriveFormat, name: str) -> bytes:
    commands = {
        "iso9660": ["isoinfo", "-R", "-i", str(drive), "-x", f"/{name}"],
        "vfat": ["mtype", "-i", str(drive), f"::/{name}"],
    }
    return subprocess.run(commands[form], capture_output=True, check=True).stdout


@pytest.mark.parametrize("form", ["iso9660", "vfat"])
@asynchronous
async def test_a_drive(tmp_path: Path, form: DriveFormat) -> None:
    server_id = str(uuid4())
    drive = tmp_path / "config-drive.img"
    async with service() as (upstream, asked):
        await ensure_config_drive(drive, server_id, upstream, form)
        made = drive.read_bytes()
        await ensure_config_drive(drive, server_id, upstream, form)
        assert drive.read_bytes() == made
        assert len(asked) == 1
        assert signing.sign(SECRET, signing.CONFIG_DRIVE + server_id) in asked[0]
    assert {name: read_file(drive, form, name) for name in FILES} == FILES
    label = b"config-2" if form == "iso9660" else b"CONFIG-2"
    assert label in made[: 1 << 20]
    assert drive.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [drive.name]


@asynchronous
async def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    drive = tmp_path / "config-drive.img"
    for status, error in ((404, HostFailed), (503, Unavailable)):
        async with service(status) as (upstream, _):
            with pytest.raises(error):
                await ensure_config_drive(drive, str(uuid4()), upstream, "iso9660")
    async with service(files={"../escaped": b"x"}) as (upstream, _):
        with pytest.raises(HostFailed):
            await ensure_config_drive(drive, str(uuid4()), upstream, "iso9660")
    with pytest.raises(Unavailable):
        await ensure_config_drive(drive, str(uuid4()), MetadataUpstream("http://127.0.0.1:1", SECRET), "iso9660")
    assert list(tmp_path.iterdir()) == []
