"""Console throughput through a proxy beside a direct connection, and the memory of idle viewers.

``python -m ops.bench.console`` runs a guest's end that pours bytes, a proxy process, and viewers on this machine.
The cell is in memory: what is measured is the carrying, not the log.
"""

import argparse
import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from adapters.console.proxy import ConsoleProxy, ProxySettings, start
from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.commands import MemoryCommandBus
from adapters.memory.store import MemoryEventStore
from adapters.system import SystemClock, SystemIds
from domain.catalogue.flavor import Flavor
from domain.fleet import host
from domain.fleet.host import Host, HostEnrolled
from domain.guest import HostDescription, PowerState
from domain.kinds import EVENTS
from domain.log.record import Event
from domain.server.creation import ServerBuilt, ServerPlaced, ServerRequested
from domain.server.fold import KIND
from domain.server.state import Server, aggregate
from handlers.consoles.consoles import Consoles
from handlers.consoles.sessions import Doorkeeper
from handlers.context import Context, Stamp
from handlers.log.repository import Repository
from handlers.messages import ConsoleAddress, encode
from ops.listening import allow_many_files, listening_socket

MEGABYTE = 1_000_000
BLOCK = bytes(64 * 1024)
HANDSHAKE = (
    "GET /?token={token} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.console")
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--sessions", type=int, default=1000)
    arguments = parser.parse_args()
    allow_many_files()
    spawn = multiprocessing.get_context("spawn")
    guest_end, guest_remote = spawn.Pipe()
    guest = spawn.Process(target=_run_guest, args=(guest_remote,), daemon=True)
    guest.start()
    guest_port = guest_end.recv()
    proxy_end, proxy_remote = spawn.Pipe()
    proxy = spawn.Process(target=_run_proxy, args=(proxy_remote, guest_port), daemon=True)
    proxy.start()
    port, token = proxy_end.recv()
    try:
        asyncio.run(_measure(arguments, guest_port, port, token, psutil.Process(proxy.pid)))
    finally:
        proxy.terminate()
        guest.terminate()


async def _measure(arguments: argparse.Namespace, guest: int, port: int, token: str, proxy: psutil.Process) -> None:
    wanted = arguments.megabytes * MEGABYTE
    direct = await _pour(guest, None, wanted)
    before = proxy.cpu_times()
    carried = await _pour(port, token, wanted)
    after = proxy.cpu_times()
    used = after.user + after.system - before.user - before.system
    print(f"{'direct connection':40} {direct / MEGABYTE:10.0f} MB/s")
    print(f"{'through the proxy':40} {carried / MEGABYTE:10.0f} MB/s")
    print(f"{'proxy CPU':40} {used / arguments.megabytes * 1000:10.2f} ms/MB")
    base = proxy.memory_info().rss
    started = time.perf_counter()
    viewers = [await _open(port, token) for _ in range(arguments.sessions)]
    seconds = time.perf_counter() - started
    held = proxy.memory_info().rss
    print(f"{'sessions opened per second':40} {arguments.sessions / seconds:10.0f}")
    print(f"{'sessions held at once':40} {len(viewers):10}")
    print(f"{'memory of the process before':40} {base / MEGABYTE:10.0f} MB")
    print(f"{'memory with all of them':40} {held / MEGABYTE:10.0f} MB")
    print(f"{'memory a session':40} {(held - base) / 1000 / len(viewers):10.1f} kB")
    for _, writer in viewers:
        writer.close()


async def _pour(port: int, token: str | None, wanted: int) -> float:
    """Bytes per second from the guest's end to a viewer."""
    if token is None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        writer.write(b"p")
    else:
        reader, writer = await _open(port, token)
        writer.write(b"\x82\x81\x00\x00\x00\x00p")
    got = 0
    started = time.perf_counter()
    while got < wanted:
        # Frames are not taken apart: their heads are a ten-thousandth of the bytes.
        data = await reader.read(1 << 18)
        assert data, "the connection ended"
        got += len(data)
    seconds = time.perf_counter() - started
    writer.close()
    return got / seconds


async def _open(port: int, token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    writer.write(HANDSHAKE.format(token=token).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head.split(b"\r\n", 1)[0] + b" ", head
    return reader, writer


def _run_guest(pipe: "Connection[int, int]") -> None:
    """A guest's end: pours without end once a byte has come."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await reader.read(1):
                while True:
                    writer.write(BLOCK)
                    await writer.drain()
        except ConnectionError:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, sock=listening_socket("127.0.0.1", 0), backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    allow_many_files()
    asyncio.run(run())


def _run_proxy(pipe: "Connection[tuple[int, str], int]", guest_port: int) -> None:
    """A proxy over a cell in memory with one server."""
    allow_many_files()
    import uvloop

    uvloop.run(_serve_proxy(pipe, guest_port))


async def _serve_proxy(pipe: "Connection[tuple[int, str], int]", guest_port: int) -> None:
    clock = SystemClock()
    stamp, broker = Stamp(clock, SystemIds()), Broker(clock)
    store = MemoryEventStore(broker, "bench", EventMapper(EVENTS))
    bus = MemoryCommandBus(broker, "bench")
    servers: Repository[Server] = Repository(KIND, store, stamp)
    server_id = stamp.ids.uuid()
    flavor = Flavor(id="1", name="m1.tiny", vcpus=1, ram_mb=512, disk_gb=1)
    events: tuple[Event, ...] = (
        ServerRequested(
            server_id=server_id, name="b", project_id="p", user_id="u", flavor=flavor, deadline=clock.now()
        ),
        ServerPlaced(host="node1", host_id="h1", epoch=1, availability_zone="nova"),
        ServerBuilt(epoch=1, power_state=PowerState.RUNNING),
    )
    server: Server | None = None
    for event in events:
        server, _ = await servers.execute(stamp.own_context(), aggregate(server_id), _just(event))
    assert server
    hosts: Repository[Host] = Repository(host.KIND, store, stamp)
    enrolled = HostEnrolled(
        host_id="h1",
        description=HostDescription(
            name="node1", hypervisor_type="QEMU", hypervisor_version=1, vcpus=1, memory_mb=1, disk_gb=1
        ),
    )
    await hosts.execute(stamp.own_context(), host.aggregate("node1"), lambda _: enrolled)
    consoles = Consoles(store, bus, stamp, life=timedelta(hours=1))
    place = encode(ConsoleAddress(host="127.0.0.1", port=guest_port))

    async def answer(_host: str, _question: bytes) -> bytes:
        return place

    doorkeeper = Doorkeeper(store, consoles, stamp, lambda *_: True)
    settings = ProxySettings(web_dir=Path(os.devnull), max_connections=100_000)
    listening = await start(ConsoleProxy(doorkeeper, settings), listening_socket("127.0.0.1", 0))
    async with asyncio.TaskGroup() as group:
        group.create_task(bus.serve_questions(["node1"], answer))
        group.create_task(doorkeeper.run())
        token = await consoles.issue(Context(request_id="req-bench", user_id="u", project_id="p"), server, "novnc")
        pipe.send((listening.sockets[0].getsockname()[1], token))
        await listening.serve_forever()


def _just(event: Event) -> Callable[[Server | None], Event]:
    return lambda _: event


if __name__ == "__main__":
    main()
