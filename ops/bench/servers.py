"""Servers per second, from POST to ACTIVE and back, with simulated hosts on the real NATS and PostgreSQL.

``python -m ops.bench.servers --servers 3000 --clients 8 --hosts 100`` prints one table. In the same run, on the same
NATS, the raw rate of publish and acknowledgement through nats-py: the physical yardstick. A client that is told to
come again later does so; that is counted, and is no failure.
"""

import argparse
import asyncio
import time
from typing import Any, NamedTuple

import nats
from nats.js.api import StorageType, StreamConfig

from adapters.mapper import EventMapper
from adapters.nats.store import NatsEventStore
from domain.kinds import EVENTS
from domain.log.record import Event
from domain.server.creation import ServerBuilt, ServerFailed
from domain.server.deletion import ServerDeleted
from ops.bench.filling import NETWORK, make_network
from ops.bench.http import Client, log_in
from ops.bench.stack import cpu_seconds, stack
from ops.embedded.nats_accounts import CONTROL
from ops.roles.plane import open_connection, open_plane
from ops.settings import Settings
from ops.stack import Stack

STANDSTILL_SECONDS = 120.0
OK, BUSY = 200, 503


class Phase(NamedTuple):
    """A burst of requests, and the events that it led to."""

    requests: int
    answered_in: float
    done_in: float
    latencies: list[float]
    failed: int
    """Refused for good, or accepted and not done."""
    sent_away: int
    """Answers of 503 with ``Retry-After``: the request was sent again."""
    cpu: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.servers")
    parser.add_argument("--servers", type=int, default=3000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--no-network", action="store_true", help="servers without a port")
    parser.add_argument("--no-deletes", action="store_true", help="end when all are ACTIVE")
    arguments = parser.parse_args()
    with stack(arguments.hosts) as measured:
        asyncio.run(_measure(measured, arguments))


async def _measure(measured: Stack, arguments: argparse.Namespace) -> None:
    settings = measured.settings()
    yardstick = await _yardstick(measured, settings)
    clients = []
    for _ in range(arguments.clients):
        client = Client("127.0.0.1", settings.api.port)
        await log_in(client, measured.password("admin"))
        clients.append(client)
    body = await _body(clients[0], network=not arguments.no_network)
    if not arguments.no_network:
        async with open_plane(settings, "bench") as plane:
            await make_network(plane)
        await clients[0].until(
            "GET", f"/network/v2.0/networks/{NETWORK.network_id}", lambda answer: answer.status == OK
        )
    await burst(measured, settings, clients, [("POST", "/compute/v2.1/servers", body)] * 50, ServerBuilt)
    creates = [("POST", "/compute/v2.1/servers", body)] * arguments.servers
    created = await burst(measured, settings, clients, creates, ServerBuilt)
    listed = await _list(clients[0])
    ids = [] if arguments.no_deletes else await _ids(clients[0])
    deletes = [("DELETE", f"/compute/v2.1/servers/{server_id}", None) for server_id in ids]
    deleted = await burst(measured, settings, clients, deletes, ServerDeleted) if deletes else None
    replay = await _replay(settings)
    for client in clients:
        client.close()
    _print(arguments, yardstick, created, listed, deleted, replay)


async def _yardstick(measured: Stack, settings: Settings) -> tuple[float, float]:
    """Publish and acknowledgement through nats-py: one at a time, and 32 at a time."""
    credentials = measured.nats(settings).credentials(CONTROL)
    client = await nats.connect(settings.nats.url, user=credentials.user, password=credentials.password)
    stream = client.jetstream()
    await stream.add_stream(StreamConfig(name="YARDSTICK", subjects=["yardstick.>"], storage=StorageType.FILE))
    payload = b"x" * 900
    started = time.perf_counter()
    for _ in range(1000):
        await stream.publish("yardstick.one", payload)
    single = 1000 / (time.perf_counter() - started)
    started = time.perf_counter()

    async def publish(count: int) -> None:
        for _ in range(count):
            await stream.publish("yardstick.many", payload)

    await asyncio.gather(*(publish(125) for _ in range(32)))
    many = 4000 / (time.perf_counter() - started)
    await stream.delete_stream("YARDSTICK")
    await client.close()
    return single, many


async def _body(client: Client, *, network: bool) -> dict[str, Any]:
    images = (await client.request("GET", "/image/v2/images")).json()["images"]
    asked: Any = [{"uuid": NETWORK.network_id}] if network else "none"
    return {"server": {"name": "bench", "flavorRef": "42", "imageRef": images[0]["id"], "networks": asked}}


async def burst(
    measured: Stack,
    settings: Settings,
    clients: list[Client],
    requests: list[tuple[str, str, Any]],
    until: type[Event],
) -> Phase:
    """Send all requests, each client one after the other, and wait until each has led to an event ``until``."""
    connection = await open_connection(settings.nats, "bench")
    store = NatsEventStore(connection, settings.cell, EventMapper(EVENTS))
    begin = await store.last_position()
    before = cpu_seconds(measured)
    queue = list(reversed(requests))
    latencies: list[float] = []
    failed = sent_away = 0

    async def work(client: Client) -> None:
        nonlocal failed, sent_away
        while queue:
            request = queue.pop()
            sent = time.perf_counter()
            answer = await client.request(*request)
            latencies.append(time.perf_counter() - sent)
            if answer.status == BUSY and "retry-after" in answer.headers:
                sent_away += 1
                queue.append(request)
                await asyncio.sleep(float(answer.headers["retry-after"]))
            else:
                failed += answer.status >= 400

    first = time.time()
    started = time.perf_counter()
    await asyncio.gather(*(work(client) for client in clients))
    answered_in = time.perf_counter() - started
    last, undone = await _end(store, begin, until, len(requests) - failed)
    used = {name: cpu - before.get(name, 0.0) for name, cpu in cpu_seconds(measured).items()}
    await connection.close()
    return Phase(len(requests), answered_in, last - first, sorted(latencies), failed + undone, sent_away, used)


async def _end(store: NatsEventStore, begin: int, until: type[Event], wanted: int) -> tuple[float, int]:
    """When the last of the servers got there, by the times in the log, and how many failed. Read afterwards, so as
    not to disturb. Raises TimeoutError if for STANDSTILL_SECONDS none gets there."""
    last, done, failed = 0.0, 0, 0
    following = aiter(store.follow(begin, "server"))
    while done + failed < wanted:
        async with asyncio.timeout(STANDSTILL_SECONDS):
            batch = await anext(following)
        for recorded in batch:
            done += isinstance(recorded.event, until)
            failed += isinstance(recorded.event, ServerFailed)
            last = max(last, recorded.meta.time.timestamp())
    return last, failed


async def _list(client: Client) -> list[float]:
    taken = []
    for _ in range(20):
        started = time.perf_counter()
        answer = await client.request("GET", "/compute/v2.1/servers/detail?limit=1000")
        taken.append(time.perf_counter() - started)
        assert len(answer.json()["servers"]) == 1000, answer.body[:200]
    return sorted(taken)


async def _ids(client: Client) -> list[str]:
    ids: list[str] = []
    path = "/compute/v2.1/servers?limit=1000"
    while True:
        found = (await client.request("GET", path)).json()["servers"]
        if not found:
            return ids
        ids += [server["id"] for server in found]
        path = f"/compute/v2.1/servers?limit=1000&marker={ids[-1]}"


async def _replay(settings: Settings) -> float:
    connection = await open_connection(settings.nats, "bench")
    store = NatsEventStore(connection, settings.cell, EventMapper(EVENTS))
    count = 0
    started = time.perf_counter()
    async for batch in store.follow(0):
        count += len(batch)
        if not batch:
            break
    rate = count / (time.perf_counter() - started)
    await connection.close()
    return rate


def _print(
    arguments: argparse.Namespace,
    yardstick: tuple[float, float],
    created: Phase,
    listed: list[float],
    deleted: Phase | None,
    replay: float,
) -> None:
    print(f"{arguments.servers} servers, {arguments.clients} clients, {arguments.hosts} simulated hosts")
    print(f"{'yardstick: publish+ack, one at a time':50} {yardstick[0]:10.0f} /s")
    print(f"{'yardstick: publish+ack, 32 at a time':50} {yardstick[1]:10.0f} /s")
    for name, phase in (("create", created), ("delete", deleted)):
        if phase is None:
            continue
        each = 1000 / phase.requests
        print(f"{name + ': requests answered':50} {phase.requests / phase.answered_in:10.0f} /s")
        print(f"{name + ': done (ACTIVE, deleted)':50} {phase.requests / phase.done_in:10.0f} /s")
        share = phase.requests / phase.done_in / yardstick[1]
        print(f"{name + ': done, as a share of the yardstick (32)':50} {share:10.3f}")
        print(f"{name + ': answer p50':50} {phase.latencies[len(phase.latencies) // 2] * 1000:10.1f} ms")
        print(f"{name + ': answer p99':50} {phase.latencies[len(phase.latencies) * 99 // 100] * 1000:10.1f} ms")
        print(f"{name + ': CPU a server, all processes':50} {sum(phase.cpu.values()) * each:10.2f} ms")
        for program, seconds in phase.cpu.items():
            print(f"    {program:46} {seconds * each:10.2f} ms")
        print(f"{name + ': told to come again':50} {phase.sent_away:10}")
        if phase.failed:
            print(f"{name + ': FAILED':50} {phase.failed:10}")
    print(f"{'list of 1,000 servers, p50':50} {listed[len(listed) // 2] * 1000:10.1f} ms")
    print(f"{'replay':50} {replay:10.0f} events/s")


if __name__ == "__main__":
    main()
