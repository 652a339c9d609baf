"""A WebSocket client that can also misbehave."""

import asyncio
import base64
import os
import struct
from typing import Self

import pytest

BINARY, CLOSE, PING, PONG = 0x2, 0x8, 0x9, 0xA


class Denied(Exception):
    """The handshake was refused."""

    def __init__(self, status: int, head: str) -> None:
        super().__init__(f"{status} {head}")
        self.status = status
        self.head = head


class Viewer:
    """One connection to a console proxy."""

    open_now: "set[asyncio.StreamWriter]" = set()
    """Those that nobody has closed: the end of a test does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.close_code: int | None = None

    @classmethod
    async def connect(cls, port: int, token: str, *, path: str | None = None, **headers: str) -> Self:
        """Open a console; raises Denied."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        cls.open_now.add(writer)
        told = {
            "Host": f"127.0.0.1:{port}",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Protocol": "binary",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"GET {path or f'/?token={token}'} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            writer.close()
            raise Denied(0, "closed") from error
        status = int(head.split()[1])
        if status != 101:
            writer.close()
            raise Denied(status, head)
        return cls(reader, writer)

    async def send(self, payload: bytes, opcode: int = BINARY, *, length: int | None = None) -> None:
        """One frame; ``length`` is what it claims."""
        claimed = len(payload) if length is None else length
        if claimed < 126:
            head = struct.pack(">BB", 0x80 | opcode, 0x80 | claimed)
        elif claimed < 1 << 16:
            head = struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, claimed)
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, 0x80 | 127, claimed)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        self.writer.write(head + mask + masked)
        await self.writer.drain()

    async def receive(self) -> bytes | None:
        """The next message; None at the end."""
        try:
            while True:
                first, second = await self.reader.readexactly(2)
                length = second & 0x7F
                if length >= 126:
                    size = 2 if length == 126 else 8
                    length = int.from_bytes(await self.reader.readexactly(size))
                payload = await self.reader.readexactly(length)
                if first & 0x0F == BINARY:
                    return payload
                if first & 0x0F == CLOSE:
                    self.close_code = int.from_bytes(payload[:2])
                    return None
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def read(self, size: int) -> bytes:
        """So many bytes, in however many messages."""
        got = b""
        while len(got) < size:
            message = await self.receive()
            assert message is not None, "the console was closed"
            got += message
        return got

    async def echo(self, payload: bytes) -> bytes:
        """What a guest that echoes answers."""
        await self.send(payload)
        return await self.read(len(payload))

    async def ended(self, seconds: float = 10.0) -> None:
        """Wait for the end."""
        async with asyncio.timeout(seconds):
            while await self.receive() is not None:
                pass

    def close(self) -> None:
        self.writer.transport.abort()


async def denied(port: int, token: str, **more: str) -> int:
    """The status with which a console is refused."""
    with pytest.raises(Denied) as refusal:
        await Viewer.connect(port, token, **more)
    return refusal.value.status
