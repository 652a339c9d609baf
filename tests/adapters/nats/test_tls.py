"""NATS inside TLS, by configuration: with real certificates, on the real server."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.nats.connection import Credentials, connect
from domain.errors import Invalid, Unavailable
from ops.admission import admit
from ops.embedded.nats import EmbeddedNats, NatsProcess, ServerTls, free_port
from ops.embedded.nats_accounts import CONTROL
from ops.roles.plane import open_connection, tls_context
from ops.settings import NatsSettings
from ops.stack import Stack
from tests.aio import asynchronous
from tests.certificates import Authority

pytestmark = pytest.mark.nats


@pytest.fixture(params=[False, True], ids=["password", "certificate"])
def secure(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[EmbeddedNats, NatsSettings]]:
    """A server that speaks nothing but TLS, with or without certificates of its clients, and how one of them is
    configured."""
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("server")
    client = authority.issue("client") if request.param else (None, None)
    password = tmp_path / "password"
    mine = NatsSettings(
        url="tls://unused",
        user=CONTROL,
        password_file=password,
        ca_file=authority.certificate,
        certificate_file=client[0],
        key_file=client[1],
    )
    context = tls_context(mine)
    assert context
    tls = ServerTls(certificate, key, authority.certificate if request.param else None, context)
    process = NatsProcess(EmbeddedNats(tmp_path / "nats", free_port(), tls=tls))
    process.start()
    server = process.server
    password.write_text(server.credentials(CONTROL).password)
    yield server, NatsSettings(**{name: getattr(mine, name) for name in mine.__struct_fields__} | {"url": server.url})
    process.kill()


@asynchronous
async def test_who_has_the_certificates_gets_in(secure: tuple[EmbeddedNats, NatsSettings]) -> None:
    server, settings = secure
    await server.ready()
    connection = await open_connection(settings, "test")
    assert (await connection.api("INFO"))["streams"] == 0
    await connection.close()
    assert await admit(server, server.hosts.add("node1"))


@asynchronous
async def test_nobody_else_does(secure: tuple[EmbeddedNats, NatsSettings], tmp_path: Path) -> None:
    server, settings = secure
    credentials = server.credentials(CONTROL)
    of_others = ssl.create_default_context(cafile=Authority(tmp_path / "others").certificate)
    attempts: list[ssl.SSLContext | None] = [of_others, ssl.create_default_context()]
    if settings.certificate_file:
        attempts.append(ssl.create_default_context(cafile=settings.ca_file))
    for tls in attempts:
        with pytest.raises(Unavailable):
            await connect(server.url, "test", credentials, 0.5, tls)


@asynchronous
async def test_nobody_talks_us_out_of_it(tmp_path: Path) -> None:
    heard = b""

    async def without_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        writer.write(b"INFO " + json.dumps({"server_id": "x", "max_payload": 1, "auth_required": True}).encode())
        writer.write(b"\r\n")
        heard += await reader.read(1000)
        writer.close()

    server = await asyncio.start_server(without_tls, "127.0.0.1", 0)
    context = ssl.create_default_context(cafile=Authority(tmp_path).certificate)
    for scheme in ("nats", "tls"):
        url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(Unavailable, match="does not speak TLS"):
            await connect(url, "test", Credentials("user", "secret"), 0.5, context)
    server.close()
    assert heard == b""


def test_the_stacks_own_server(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.issue("server")
    stack = Stack(tmp_path / "state")
    stack.set_up(nats_port=free_port(), api_port=free_port())
    text = stack.config_file.read_text()
    server = f"server_certificate_file = {json.dumps(str(certificate))}\nserver_key_file = {json.dumps(str(key))}\n"
    ca = f"ca_file = {json.dumps(str(authority.certificate))}\n"
    stack.config_file.write_text(text.replace("[nats]\n", f"[nats]\n{server}{ca}"))
    nats = stack.nats(stack.settings())
    assert nats.tls
    assert nats.url.startswith("tls://")
    stack.config_file.write_text(text.replace("[nats]\n", f"[nats]\n{server}"))
    with pytest.raises(Invalid, match="go together"):
        stack.nats(stack.settings())


@pytest.mark.parametrize(
    "settings",
    [
        NatsSettings(ca_file=Path("/nowhere")),
        NatsSettings(certificate_file=Path("/nowhere")),
        NatsSettings(url="tls://x", certificate_file=Path("/nowhere"), key_file=Path("/nowhere")),
    ],
)
def test_files_that_are_not_there(settings: NatsSettings) -> None:
    with pytest.raises(Invalid, match=r"\[nats\]"):
        tls_context(settings)
