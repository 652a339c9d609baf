"""What each operation costs in a small cloud and in a large one: cost follows what is asked, not what exists.

``python -m ops.bench.scale`` fills the log of a stack of its own, once with 100 hosts and 1,000 servers and once with
5,000 hosts and 100,000 servers, and prints the median of each operation in both, and the ratio. The hosts are
simulated; everything else is the real thing. Of operations marked ``*`` the answer grows with the cloud.
"""

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from statistics import median
from typing import Any, NamedTuple

import psycopg

from ops.bench.filling import MARK, NETWORK, PROJECTS, Filled, fill
from ops.bench.http import Answer, Client
from ops.bench.stack import connected, lightcurve, stack
from ops.embedded.nats import NatsProcess
from ops.roles.plane import open_plane
from ops.settings import Settings
from ops.stack import Stack
from projections.queries import PostgresQueries

MIN_TIMES, MAX_TIMES, SECONDS = 5, 60, 2.0
"""How often an operation is done: until so much time is used up, within these limits."""
WRITES = 20
COMPUTE, NETWORKS = "/compute/v2.1", "/network/v2.0"
PAGE = "limit=50"
FEW_HOSTS = 10
ROOM = 1.5
"""The ratio above which an operation is pointed at."""
Figures = dict[str, float]
"""Milliseconds, by operation."""


class Read(NamedTuple):
    """A question. Who asks is ``member``, ``admin`` or ``placement``, an administrator there."""

    name: str
    who: str
    path: str
    version: int = 100
    """Compute's microversion."""


class Known(NamedTuple):
    """What requests speak of."""

    filled: Filled
    host_id: str
    host: str
    since: str
    """A moment after everything was written."""


def reads(known: Known) -> list[Read]:
    """Everything that is asked."""
    servers, filled = f"{COMPUTE}/servers", known.filled
    hypervisors = f"{COMPUTE}/os-hypervisors"
    mine = [
        Read("servers, a page", "member", f"{servers}?{PAGE}"),
        Read("servers in detail, a page", "member", f"{servers}/detail?{PAGE}"),
        Read("servers in detail, the next page", "member", f"{servers}/detail?{PAGE}&marker={filled.server_id}"),
        Read("servers by exact name", "member", f"{servers}/detail?name=^vm-20$"),
        Read("servers by part of the name *", "member", f"{servers}/detail?name=vm-20&{PAGE}"),
        Read("servers by address", "member", f"{servers}/detail?ip={filled.address}"),
        Read("servers by tag", "member", f"{servers}/detail?tags={MARK}"),
        Read("servers in error", "member", f"{servers}/detail?status=ERROR"),
        Read("servers changed since", "member", f"{servers}/detail?changes-since={known.since}"),
        Read("server", "member", f"{servers}/{filled.server_id}"),
        Read("actions of a server", "member", f"{servers}/{filled.server_id}/os-instance-actions"),
        Read("limits", "member", f"{COMPUTE}/limits"),
        Read("quota in detail", "member", f"{COMPUTE}/os-quota-sets/{PROJECTS[0]}/detail"),
        Read("flavors", "member", f"{COMPUTE}/flavors/detail"),
        Read("zones", "member", f"{COMPUTE}/os-availability-zone"),
        Read("keypairs", "member", f"{COMPUTE}/os-keypairs"),
        Read("images", "member", "/image/v2/images"),
        Read("networks", "member", f"{NETWORKS}/networks"),
        Read("ports of a server", "member", f"{NETWORKS}/ports?device_id={filled.server_id}"),
    ]
    everybody = f"{servers}/detail?all_tenants=1"
    admins = [
        Read("all servers in detail, a page", "admin", f"{everybody}&{PAGE}"),
        Read("all servers by address", "admin", f"{everybody}&ip={filled.address}"),
        Read("all servers by tag", "admin", f"{everybody}&tags={MARK}"),
        Read("all servers in error", "admin", f"{everybody}&status=ERROR"),
        Read("all servers changed since", "admin", f"{everybody}&changes-since={known.since}"),
        Read("all servers of a host *", "admin", f"{everybody}&host={known.host}"),
        Read("hypervisors, a page", "admin", f"{hypervisors}?{PAGE}"),
        Read("hypervisors in detail, a page", "admin", f"{hypervisors}/detail?{PAGE}", 87),
        Read("hypervisors in detail, up to 1,000 *", "admin", f"{hypervisors}/detail", 87),
        Read("hypervisor", "admin", f"{hypervisors}/{known.host_id}", 87),
        Read("statistics of hypervisors", "admin", f"{hypervisors}/statistics", 87),
        Read("services of a host", "admin", f"{COMPUTE}/os-services?host={known.host}"),
        Read("conductors among the services", "admin", f"{COMPUTE}/os-services?binary=nova-conductor"),
        Read("all services *", "admin", f"{COMPUTE}/os-services"),
        Read("zones in detail *", "admin", f"{COMPUTE}/os-availability-zone/detail"),
    ]
    asked = "resources=VCPU:1,MEMORY_MB:128,DISK_GB:1"
    placements = [
        Read("candidates, limit 10", "placement", f"/allocation_candidates?{asked}&limit=10"),
        Read("provider by name", "placement", f"/resource_providers?name={known.host}"),
        Read("all providers *", "placement", "/resource_providers"),
        Read("usages of a provider", "placement", f"/resource_providers/{known.host_id}/usages"),
        Read("usages of a project", "placement", f"/usages?project_id={PROJECTS[0]}"),
        Read("allocations of a server", "placement", f"/allocations/{filled.server_id}"),
    ]
    return mine + admins + placements


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.scale")
    parser.add_argument("--hosts", type=int, nargs=2, default=[100, 5000], metavar=("SMALL", "LARGE"))
    parser.add_argument("--servers", type=int, nargs=2, default=[1000, 100_000], metavar=("SMALL", "LARGE"))
    arguments = parser.parse_args()
    clouds = list(zip(arguments.hosts, arguments.servers, strict=True))
    small, large = [_measure(hosts, servers) for hosts, servers in clouds]
    heads = [f"{hosts}/{servers}" for hosts, servers in clouds]
    print(f"{'hosts/servers':40} {heads[0]:>14} {heads[1]:>14}    ratio")
    for name, milliseconds in small.items():
        ratio = large[name] / milliseconds
        mark = "  <--" if ratio > ROOM and "*" not in name else ""
        print(f"{name:40} {milliseconds:11.2f} ms {large[name]:11.2f} ms {ratio:8.2f}{mark}")


def _measure(hosts: int, servers: int) -> Figures:
    with stack(hosts) as measured:
        settings = measured.settings()
        lightcurve(measured, "down")
        nats = NatsProcess(measured.nats(settings))
        nats.start()
        try:
            filled = asyncio.run(fill(settings, servers))
        finally:
            nats.stop()
        lightcurve(measured, "up", "--simulated-hosts", str(hosts))
        asyncio.run(projected(settings))
        figures = asyncio.run(_ask(measured, settings, filled))
        for name, command in (("status *", ("status",)), ("placement check *", ("placement", "check"))):
            figures[f"lightcurve {name}"] = median(_timed(measured, *command) for _ in range(3))
        lightcurve(measured, "down")
        # Other machines' agents start there.
        figures["start of all processes *"] = _timed(measured, "up", "--simulated-hosts", str(FEW_HOSTS))
    return figures


def _timed(measured: Stack, *command: str) -> float:
    started = time.perf_counter()
    lightcurve(measured, *command)
    return (time.perf_counter() - started) * 1000


async def projected(settings: Settings) -> None:
    """Wait until the read database shows the whole log, and have it know its tables, as it does after a while."""
    queries = PostgresQueries(settings.database.url)
    await queries.open()
    async with open_plane(settings, "bench") as plane:
        ends = {store.cell: await store.last_position() for store in plane.stores}
    while any(position < ends[cell] for *_, cell, position, _ in await queries.positions()):  # noqa: ASYNC110
        await asyncio.sleep(0.2)
    await queries.close()
    async with await psycopg.AsyncConnection.connect(settings.database.url, autocommit=True) as database:
        await database.execute("VACUUM ANALYZE")


async def _ask(measured: Stack, settings: Settings, filled: Filled) -> Figures:
    clients = await connected(measured, settings)
    known = await _known(clients, filled)
    figures = {}
    for read in reads(known):
        figures[f"{read.name} ({read.who})"] = await _read(clients[read.who], read)
    figures |= await _write(clients["member"])
    for client in clients.values():
        client.close()
    return figures


async def _known(clients: dict[str, Client], filled: Filled) -> Known:
    host = (await clients["admin"].request("GET", f"{COMPUTE}/os-hypervisors?limit=1")).json()["hypervisors"][0]
    await asyncio.sleep(1.0)
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return Known(filled, host["id"], host["hypervisor_hostname"], since)


async def _read(client: Client, read: Read) -> float:
    """The median, in milliseconds."""
    if read.who != "placement":
        client.headers["OpenStack-API-Version"] = f"compute 2.{read.version}"
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < MAX_TIMES and (len(taken) < MIN_TIMES or time.perf_counter() - began < SECONDS):
        started = time.perf_counter()
        answer = await client.request("GET", read.path)
        taken.append((time.perf_counter() - started) * 1000)
        assert answer.status == 200, (read.path, answer.body[:300])
    return median(taken)


async def _write(client: Client) -> Figures:
    """A server's life, and what else is made and removed again."""
    taken: dict[str, list[float]] = {}

    async def timed(name: str, doing: Awaitable[Answer]) -> Any:
        started = time.perf_counter()
        answer = await doing
        taken.setdefault(f"{name} (member)", []).append((time.perf_counter() - started) * 1000)
        assert answer.status < 300, (name, answer.body[:300])
        return answer.json() if answer.body else None

    servers = f"{COMPUTE}/servers"
    flavor_and_net = {"flavorRef": "42", "imageRef": await _image(client), "networks": [{"uuid": NETWORK.network_id}]}
    for number in range(WRITES):
        body = {"server": {"name": f"new-{number}", **flavor_and_net}}
        made = await timed("create a server", client.request("POST", servers, body))
        path = f"{servers}/{made['server']['id']}"
        await timed("... until it is ACTIVE", client.until("GET", path, _has_status("ACTIVE")))
        await timed("stop a server", client.request("POST", f"{path}/action", {"os-stop": None}))
        await timed("... until it is SHUTOFF", client.until("GET", path, _has_status("SHUTOFF")))
        await timed("delete a server", client.request("DELETE", path))
        body = {"network": {"name": f"new-{number}"}}
        made = await timed("create a network", client.request("POST", f"{NETWORKS}/networks", body))
        path = f"{NETWORKS}/networks/{made['network']['id']}"
        await timed("delete a network", client.request("DELETE", path))
        body = {"keypair": {"name": f"new-{number}", "type": "ssh", "public_key": KEY}}
        await timed("create a keypair", client.request("POST", f"{COMPUTE}/os-keypairs", body))
        await timed("delete a keypair", client.request("DELETE", f"{COMPUTE}/os-keypairs/new-{number}"))
    return {name: median(some) for name, some in taken.items()}


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl bench"


async def _image(client: Client) -> str:
    images = (await client.request("GET", "/image/v2/images")).json()["images"]
    return str(images[0]["id"])


def _has_status(status: str) -> Callable[[Answer], bool]:
    return lambda answer: bool(answer.json()["server"]["status"] == status)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
