"""TLS between proxy and hypervisor, with certificates on both ends: VeNCrypt, as QEMU speaks it.

The proxy ends the hypervisor's security handshake and offers the viewer none of its own: the viewer has shown
its token. https://github.com/rfbproto/rfbproto/blob/master/rfbproto.rst
"""

import asyncio
import ssl
import struct
from pathlib import Path

from adapters.console.websocket import WebSocketStream
from domain.errors import Invalid, Unavailable

VERSION = b"RFB 003.008\n"
NONE, VENCRYPT = 1, 19
VENCRYPT_VERSION = b"\x00\x02"
X509_NONE = 260
"""TLS with certificates, and no password inside it."""
HANDSHAKE_SECONDS = 10.0
MAX_CHOICES = 64


def client_context(ca: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """What proves a proxy to the hypervisors, and the hypervisors to it. Raises Invalid for unusable files."""
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise Invalid(f"The certificates for VeNCrypt cannot be used: {error}") from None
    return context


async def secure(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: ssl.SSLContext, host: str) -> None:
    """Have the connection to a VNC server encrypted. Raises Unavailable: there is no way around it."""
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            await _negotiate(reader, writer)
            await writer.start_tls(tls, server_hostname=host)
            if await reader.readexactly(4) != bytes(4):
                raise Unavailable("The console's host refused the proxy.")
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise Unavailable(f"The console's host and the proxy do not trust each other: {error}") from error


async def _negotiate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(len(VERSION))
    writer.write(VERSION)
    offered = await reader.readexactly((await reader.readexactly(1))[0])
    if VENCRYPT not in offered:
        raise Unavailable("The console's host does not encrypt, and this proxy must.")
    writer.write(bytes([VENCRYPT]))
    await reader.readexactly(len(VENCRYPT_VERSION))
    writer.write(VENCRYPT_VERSION)
    refused, count = await reader.readexactly(2)
    if refused or count > MAX_CHOICES:
        raise Unavailable("The console's host speaks another VeNCrypt.")
    kinds = struct.unpack(f">{count}I", await reader.readexactly(4 * count))
    if X509_NONE not in kinds:
        raise Unavailable("The console's host does not encrypt with certificates.")
    writer.write(struct.pack(">I", X509_NONE))
    if await reader.readexactly(1) != b"\x01":
        raise Unavailable("The console's host changed its mind.")


async def welcome(viewer: WebSocketStream) -> bytes:
    """Be the VNC server that the viewer greets; returns what it has said beyond the greeting.

    Raises ConnectionError if it does not greet back as it must.
    """
    said = b""

    async def listen(count: int) -> bytes:
        nonlocal said
        while len(said) < count:
            message = await viewer.receive()
            if message is None:
                raise ConnectionError("the viewer went away")
            said += message
        answer, said = said[:count], said[count:]
        return answer

    async with asyncio.timeout(HANDSHAKE_SECONDS):
        await viewer.send(VERSION)
        if await listen(len(VERSION)) != VERSION:
            raise ConnectionError("the viewer speaks another RFB")
        await viewer.send(bytes([1, NONE]))
        if await listen(1) != bytes([NONE]):
            raise ConnectionError("the viewer wants another security")
        await viewer.send(bytes(4))
    return said
