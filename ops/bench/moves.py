"""Live migrations, many at a time, and a host that is drained, with simulated hosts on the real NATS and PostgreSQL.

``python -m ops.bench.moves --servers 1000 --at-once 50 --guests 100`` prints one table. A simulated host sends a
guest in no time: what is measured is what the control plane makes of it.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from typing import Any, NamedTuple

from domain.fleet.host import simulated_name
from domain.server.creation import ServerBuilt
from handlers.servers.leaving import Watched
from ops.bench.http import Client, log_in
from ops.bench.servers import burst
from ops.bench.stack import cpu_seconds, stack
from ops.roles.plane import Plane, open_plane
from ops.settings import Settings
from ops.stack import Stack

CLIENTS = 8


class Moved(NamedTuple):
    """Servers that went to other hosts."""

    seconds: float
    each: list[float]
    """Seconds from the request to its end, the shortest first."""
    cpu: dict[str, float]
    failed: int


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.moves")
    parser.add_argument("--servers", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--guests", type=int, default=100, help="on the host that is drained")
    parser.add_argument("--hosts", type=int, default=20)
    arguments = parser.parse_args()
    with stack(arguments.hosts) as measured:
        asyncio.run(_measure(measured, arguments))


async def _measure(measured: Stack, arguments: argparse.Namespace) -> None:
    settings = measured.settings()
    clients = []
    for _ in range(max(CLIENTS, arguments.at_once)):
        client = Client("127.0.0.1", settings.api.port)
        await log_in(client, measured.password("admin"))
        clients.append(client)
    image = (await clients[0].request("GET", "/image/v2/images")).json()["images"][0]["id"]
    ids = await _created(measured, settings, clients[:CLIENTS], image, arguments.servers, None)
    async with open_plane(settings, "bench") as plane:
        moved = await _migrate(measured, plane, clients[: arguments.at_once], ids)
    host = simulated_name(1)
    already = len(await _ids(clients[0], f"host={host}&"))
    await _created(measured, settings, clients[:CLIENTS], image, max(0, arguments.guests - already), host)
    report, seconds = _drained(measured, host)
    for client in clients:
        client.close()
    _print(arguments, moved, report, seconds)


async def _created(
    measured: Stack, settings: Settings, clients: list[Client], image: str, count: int, host: str | None
) -> list[str]:
    server: dict[str, Any] = {"name": "bench", "flavorRef": "42", "imageRef": image, "networks": "none"}
    if host:
        server["host"] = host
    if count:
        request = ("POST", "/compute/v2.1/servers", {"server": server})
        await burst(measured, settings, clients, [request] * count, ServerBuilt)
    return await _ids(clients[0])


async def _ids(client: Client, query: str = "") -> list[str]:
    ids: list[str] = []
    path = f"/compute/v2.1/servers?{query}limit=1000"
    while found := (await client.request("GET", f"{path}{f'&marker={ids[-1]}' if ids else ''}")).json()["servers"]:
        ids += [server["id"] for server in found]
    return ids


async def _migrate(measured: Stack, plane: Plane, clients: list[Client], ids: list[str]) -> Moved:
    """As many at a time as there are clients."""
    watched, queue, each = Watched(plane.cells), list(ids), list[float]()
    failed = 0

    async def work(client: Client) -> None:
        nonlocal failed
        while queue:
            server_id = queue.pop()
            before = await watched.of(server_id)
            assert before
            newer = watched.position(server_id) + 1
            begun = time.perf_counter()
            body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
            answer = await client.request("POST", f"/compute/v2.1/servers/{server_id}/action", body)
            assert answer.status == 202, answer
            after = await watched.end(server_id, newer)
            each.append(time.perf_counter() - begun)
            failed += after is None or after.host == before.host

    async with watched.following(plane.store):
        for server_id in ids:
            await watched.of(server_id)
        used, begun = cpu_seconds(measured), time.perf_counter()
        await asyncio.gather(*map(work, clients))
        seconds = time.perf_counter() - begun
        cpu = {name: after - used.get(name, 0.0) for name, after in cpu_seconds(measured).items()}
    return Moved(seconds, sorted(each), cpu, failed)


def _drained(measured: Stack, host: str) -> tuple[dict[str, Any], float]:
    """By the command, as an operator would; its report, and the seconds until it has ended."""
    command = [
        sys.executable,
        "-m",
        "ops.cli",
        "--state-dir",
        str(measured.directory),
        "host",
        "drain",
        host,
        "--json",
    ]
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report, seconds


def _print(arguments: argparse.Namespace, moved: Moved, report: dict[str, Any], seconds: float) -> None:
    count = len(moved.each)
    print(f"{count} live migrations, {arguments.at_once} at a time, {arguments.hosts} simulated hosts")
    print(f"{'to the end of all':50} {moved.seconds:10.1f} s")
    print(f"{'migrations':50} {count / moved.seconds:10.1f} /s")
    print(f"{'from request to end, p50':50} {moved.each[count // 2] * 1000:10.0f} ms")
    print(f"{'from request to end, p99':50} {moved.each[count * 99 // 100] * 1000:10.0f} ms")
    print(f"{'CPU a migration, all processes':50} {sum(moved.cpu.values()) / count * 1000:10.2f} ms")
    for program, used in moved.cpu.items():
        print(f"    {program:46} {used / count * 1000:10.2f} ms")
    if moved.failed:
        print(f"{'FAILED':50} {moved.failed:10}")
    print(f"{'drain of a host: servers that have left':50} {len(report['moved']):10}")
    print(f"{'drain of a host: until they had':50} {report['seconds']:10.1f} s")
    print(f"{'drain of a host: the whole command':50} {seconds:10.1f} s")
    if report["left"]:
        print(f"{'drain of a host: STILL THERE':50} {len(report['left']):10}")


if __name__ == "__main__":
    main()
