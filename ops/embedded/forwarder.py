"""The control plane's ports inside one host's network namespace, so that its agent finds them where the machine's
programs do: on the loopback, which is nobody else's. While this program does not run, the host is cut off.

    python -m ops.embedded.forwarder NAMESPACE PORT...
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from adapters.libvirt.namespaces import listen_in
from handlers.together import together
from ops import notify

LOOPBACK = "127.0.0.1"
CHUNK = 64 * 1024
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def forward(namespace: Path, ports: list[int]) -> None:
    """Carry what is said to each port there to the same port here, until cancelled. Raises HostFailed."""
    servers = []
    for port in ports:
        listener = await asyncio.to_thread(listen_in, namespace, LOOPBACK, port)
        servers.append(await asyncio.start_server(_to(port), sock=listener, limit=CHUNK))
    notify.ready()
    try:
        await notify.keep_saying_alive()
    finally:
        for server in servers:
            server.close()


def _to(port: int) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(LOOPBACK, port, limit=CHUNK)
        except OSError:
            # As if nobody listened there, too.
            writer.transport.abort()
            return
        await together(_carry(reader, there_writer), _carry(there_reader, writer))
        there_writer.close()
        writer.close()

    return serve


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Until the source ends, which the target is told; who is slow is waited for."""
    try:
        while content := await source.read(CHUNK):
            target.write(content)
            await target.drain()
        target.write_eof()
    except OSError:
        target.transport.abort()


if __name__ == "__main__":
    asyncio.run(forward(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]]))
