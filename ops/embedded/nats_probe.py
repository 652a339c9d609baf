"""Asks a NATS server how it is.

One that greets clients, and answers JetStream's questions, may all the same be unable to write to a stream: a full
disk does that to it for good, until it is started again.
"""

import asyncio
import json
import ssl

from adapters.nats.connection import Credentials

QUESTION = "$SYS.REQ.SERVER.PING.HEALTHZ"
INBOX = "_INBOX.probe"
LONGEST_LINE = 64 * 1024


async def is_healthy(port: int, credentials: Credentials, timeout: float, tls: ssl.SSLContext | None = None) -> bool:
    """Whether the server on this port of ours answers the user, who is of the system account, within so many seconds,
    and says that all of its streams are well."""
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LONGEST_LINE)
            try:
                return await _ask(reader, writer, credentials, tls)
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        return False


async def _ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    credentials: Credentials,
    tls: ssl.SSLContext | None,
) -> bool:
    """One request in NATS's own protocol: https://docs.nats.io/reference/reference-protocols/nats-protocol."""
    if not (await reader.readline()).startswith(b"INFO "):
        return False
    if tls is not None:
        await writer.start_tls(tls, server_hostname="127.0.0.1")
    about = {
        "user": credentials.user,
        "pass": credentials.password,
        "verbose": False,
        "pedantic": False,
        "headers": True,
        "no_responders": True,
        "lang": "python",
        "version": "1",
        "name": "readiness",
    }
    request = f"CONNECT {json.dumps(about)}\r\nSUB {INBOX} 1\r\nPUB {QUESTION} {INBOX} 0\r\n\r\n"
    writer.write(request.encode())
    while line := await reader.readline():
        words = line.split()
        match words[:1]:
            case [b"PING"]:
                writer.write(b"PONG\r\n")
            case [b"MSG"]:
                answer = json.loads(await reader.readexactly(int(words[-1])))
                return bool(answer.get("data", {}).get("status") == "ok")
            case [b"HMSG" | b"-ERR"]:
                return False
    return False
