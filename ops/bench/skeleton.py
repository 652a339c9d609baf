"""What the route of a creation costs by itself: the yardstick for ``ops.bench.servers``.

``python -m ops.bench.skeleton --clients 8 32 200`` has four processes pass on what the real ones do when a server is
made: the same number of events of the same size, guarded and acknowledged, with group commit for quota, claim and
address; a command through a queue and a report back; a row in PostgreSQL before the request is answered. They decide
nothing, check nothing and remember nothing. What the product costs above that is its own doing.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager
from typing import cast

import msgspec
import psutil
import uvloop

from adapters.nats.connection import Connection, Credentials, Message, connect, header_block
from adapters.nats.pull import Pull
from adapters.nats.reader import Item, Reader
from ops import garbage
from ops.bench.http import Client
from ops.bench.stack import cpu_seconds, stack
from ops.embedded.nats_accounts import CONTROL
from ops.stack import Stack
from projections.postgres import connect as connect_database

BODY, HEADERS = b"x" * 444, {"ce-skeleton": "x" * 560}
"""Of an event; about as large as those of a creation."""
API, CELL, COMMANDS = "SKELETON_API", "SKELETON_CELL", "SKELETON_COMMANDS"
REPORT, POSITION = "skeleton.report", "skeleton.position"
ACK_WAIT = 10.0
TABLE = "CREATE TABLE skeleton (id text PRIMARY KEY, document text, position bigint)"
WRITE = (
    "INSERT INTO skeleton SELECT * FROM json_populate_recordset(null::skeleton, %s::json)"
    " ON CONFLICT (id) DO UPDATE SET document = EXCLUDED.document, position = EXCLUDED.position"
)
ANSWER = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"
WARM_UP = 500
_LOOK = 0.005


class Access(msgspec.Struct):
    """What a process of the skeleton is told, in its environment."""

    nats: str
    password: str
    database: str
    port: int


async def append(connection: Connection, subject: str, body: bytes, last: int) -> int:
    """One guarded event; returns its position."""
    guard = {"Nats-Msg-Id": str(uuid.uuid4()), "Nats-Expected-Last-Subject-Sequence": str(last)}
    answer = await connection.call(subject, body, header_block(HEADERS | guard))
    position: int = msgspec.json.decode(answer.data)["seq"]
    return position


class Group:
    """Group commit on one subject, of which it is the only writer."""

    def __init__(self, connection: Connection, subject: str) -> None:
        self._connection = connection
        self._subject = subject
        self._waiting: list[asyncio.Future[None]] = []
        self._writing: asyncio.Task[None] | None = None
        self._last = 0

    async def join(self) -> None:
        """Be part of the next event."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await future

    async def _write(self) -> None:
        await asyncio.sleep(0)
        while self._waiting:
            group, self._waiting = self._waiting, []
            self._last = await append(self._connection, self._subject, BODY * len(group), self._last)
            for future in group:
                future.set_result(None)
        self._writing = None


async def follow(connection: Connection, stream: str, *filters: str) -> AsyncIterator[list[Item]]:
    async with aclosing(Reader(connection, stream, 0, filters).batches()) as batches:
        async for batch in batches:
            yield batch


# -- the four processes ----------------------------------------------------------------------------------------


class Api:
    """Takes requests: quota, request, and the wait until it can be read."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._quota = Group(connection, "skeleton.api.quota")
        self._position = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    async def run(self, access: Access) -> None:
        await self._connection.tap(POSITION, self._on_position)
        server = await asyncio.get_running_loop().create_server(lambda: _Face(self), "127.0.0.1", access.port)
        print("ready", flush=True)
        await server.serve_forever()

    def _on_position(self, message: Message) -> None:
        self._position = max(self._position, int(message.data))
        for position, future in self._waiting:
            if position <= self._position:
                future.set_result(None)
        self._waiting = [each for each in self._waiting if not each[1].done()]

    async def create(self) -> None:
        await self._quota.join()
        position = await append(self._connection, f"skeleton.cell.server.{uuid.uuid4()}", b"requested" + BODY, 0)
        if position > self._position:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((position, future))
            await future


class _Face(asyncio.Protocol):
    """As little of HTTP as a client of ours needs."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]):
            self._received = b""
            self._task = asyncio.get_running_loop().create_task(self._answer())

    async def _answer(self) -> None:
        await self._api.create()
        self._transport.write(ANSWER)


class Conductor:
    """Places what is requested, commands, and records what is reported."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._claims = Group(connection, "skeleton.cell.ledger")
        self._addresses = Group(connection, "skeleton.api.network")
        self._placed: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, _: Access) -> None:
        await self._connection.tap(REPORT, lambda message: self._start(self._built(message)), "conductors")
        print("ready", flush=True)
        async for batch in follow(self._connection, CELL, "skeleton.cell.server.*"):
            for position, message in batch:
                if message.data.startswith(b"requested"):
                    self._start(self._place(message.subject, position))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _place(self, subject: str, position: int) -> None:
        await asyncio.gather(self._claims.join(), self._addresses.join())
        self._placed[subject] = await append(self._connection, subject, b"placed" + BODY, position)
        await self._connection.call("skeleton.command.host", subject.encode() + b" " + BODY)

    async def _built(self, message: Message) -> None:
        subject = message.data.decode()
        await append(self._connection, subject, b"built" + BODY, self._placed.pop(subject))
        self._connection.send(message.reply, b"{}")


async def host(connection: Connection, _: Access) -> None:
    """Takes commands, and reports."""
    tasks: set[asyncio.Task[None]] = set()

    async def carry_out(message: Message) -> None:
        await connection.call(REPORT, message.data.partition(b" ")[0])
        connection.send(message.reply, b"+ACK")

    print("ready", flush=True)
    async with aclosing(Pull(connection, COMMANDS, "host", ACK_WAIT).messages()) as messages:
        async for message in messages:
            task = asyncio.get_running_loop().create_task(carry_out(message))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def projector(connection: Connection, access: Access) -> None:
    """Writes rows, a batch in one statement."""
    database = await connect_database(access.database, "lightcurve-skeleton")
    lock = asyncio.Lock()

    async def project(stream: str) -> None:
        async for batch in follow(connection, stream):
            rows = {
                message.subject: {"id": message.subject, "document": message.data.decode(), "position": position}
                for position, message in batch
            }
            async with lock:
                await database.execute(WRITE, (msgspec.json.encode(list(rows.values())).decode(),))
            if batch and stream == CELL:
                connection.send(POSITION, str(batch[-1].position).encode())

    print("ready", flush=True)
    await asyncio.gather(project(CELL), project(API))


async def _play(role: str) -> None:
    access = msgspec.json.decode(os.environ["SKELETON"], type=Access)
    connection = await connect(access.nats, f"skeleton-{role}", Credentials(CONTROL, access.password))
    garbage.begin()
    match role:
        case "api":
            await Api(connection).run(access)
        case "conductor":
            await Conductor(connection).run(access)
        case "host":
            await host(connection, access)
        case _:
            await projector(connection, access)


# -- the measurement -------------------------------------------------------------------------------------------


@contextmanager
def _processes(access: Access) -> Iterator[dict[str, psutil.Process]]:
    environment = os.environ | {"SKELETON": msgspec.json.encode(access).decode()}
    with ExitStack() as ending:
        found = {}
        for role in ("projector", "conductor", "host", "api"):
            command = [sys.executable, "-m", "ops.bench.skeleton", "--role", role]
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
            ending.callback(process.wait)
            ending.callback(process.kill)
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
            found[role] = psutil.Process(process.pid)
        yield found


@asynccontextmanager
async def _streams(connection: Connection) -> AsyncIterator[None]:
    streams: dict[str, dict[str, object]] = {
        API: {"subjects": ["skeleton.api.>"], "allow_direct": True},
        CELL: {"subjects": ["skeleton.cell.>"], "allow_direct": True},
        COMMANDS: {"subjects": ["skeleton.command.>"], "retention": "workqueue"},
    }
    for name, config in streams.items():
        await connection.api(f"STREAM.CREATE.{name}", {"name": name, "storage": "file"} | config)
    consumer = {"name": "host", "durable_name": "host", "ack_policy": "explicit", "max_waiting": 64}
    await connection.api(f"CONSUMER.CREATE.{COMMANDS}.host", {"stream_name": COMMANDS, "config": consumer})
    yield
    for name in streams:
        await connection.api(f"STREAM.DELETE.{name}")


async def _measure(measured: Stack, clients: int, servers: int) -> None:
    settings = measured.settings()
    password = measured.nats(settings).credentials(CONTROL).password
    access = Access(settings.nats.url, password, settings.database.url, settings.console.port)
    connection = await connect(access.nats, "skeleton", Credentials(CONTROL, password))
    database = await connect_database(access.database, "lightcurve-skeleton")
    async with database, _streams(connection):
        await database.execute(f"DROP TABLE IF EXISTS skeleton; {TABLE}")
        with _processes(access) as processes:
            await _burst(connection, access, clients, WARM_UP)
            before = _used(measured, processes)
            seconds = await _burst(connection, access, clients, servers)
            used = {name: cpu - before[name] for name, cpu in _used(measured, processes).items()}
    await connection.close()
    each = 1000 / servers
    costs = "  ".join(f"{name} {cpu * each:.2f}" for name, cpu in used.items() if cpu * each >= 0.01)
    print(
        f"{clients:4} clients {servers / seconds:8.0f} /s {sum(used.values()) * each:8.2f} ms   {costs}", flush=True
    )


def _used(measured: Stack, processes: dict[str, psutil.Process]) -> dict[str, float]:
    """Seconds of processor, by program."""
    used = {name: seconds for name, seconds in cpu_seconds(measured).items() if name in ("nats", "postgres")}
    return used | {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}


async def _burst(connection: Connection, access: Access, clients: int, servers: int) -> float:
    """Seconds until all are built."""
    body = json.dumps({"server": {"name": "bench", "flavorRef": "42", "imageRef": str(uuid.uuid4())}}).encode()
    headers = {"X-Auth-Token": "x" * 200}
    left = iter(range(servers))

    async def work() -> None:
        client = Client("127.0.0.1", access.port, headers)
        for _ in left:
            await client.request("POST", "/", body)
        client.close()

    wanted = await _built(connection) + servers
    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(clients)))
    while await _built(connection) < wanted:  # noqa: ASYNC110 - nobody tells it
        await asyncio.sleep(_LOOK)
    return time.perf_counter() - began


async def _built(connection: Connection) -> int:
    """Servers whose command has left its queue."""
    state = (await connection.api(f"STREAM.INFO.{COMMANDS}"))["state"]
    built: int = state["last_seq"] - state["messages"]
    return built


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.skeleton")
    parser.add_argument("--servers", type=int, default=6000)
    parser.add_argument("--clients", type=int, nargs="+", default=[8, 32, 200])
    parser.add_argument("--role", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        uvloop.run(_play(arguments.role))
        return
    with stack(1) as measured:
        for clients in arguments.clients:
            uvloop.run(_measure(measured, clients, arguments.servers))


if __name__ == "__main__":
    main()
