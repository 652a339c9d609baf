"""What it costs to ask the past, beside the present.

``python -m ops.bench.past`` fills the log of a stack of its own with servers that have been renamed some times, and
asks the same questions without a moment, as of now, and as of when half of them were there. The hosts are simulated;
everything else is the real thing. The first question of a moment reads what it needs of the log: that is the figure
in brackets.
"""

import argparse
import asyncio
import time
from contextlib import suppress
from statistics import median
from typing import NamedTuple

import psycopg

from adapters.rest.kit.as_of import AS_OF, POSITION
from domain.log.moment import Moment
from ops.bench.filling import PROJECTS, Filled, fill
from ops.bench.http import Answer, Client
from ops.bench.scale import COMPUTE, projected
from ops.bench.stack import connected, lightcurve, stack
from ops.embedded.nats import NatsProcess
from ops.settings import Settings
from ops.stack import Stack

HOSTS = 100
SIZE = """
SELECT (SELECT count(*) FROM server_versions), pg_total_relation_size(oid) FROM pg_class
WHERE relname LIKE 'server\\_versions\\_\\_%' AND relkind = 'r'
"""
TIMES = 20


class Question(NamedTuple):
    """What is asked, and by whom: ``member``, ``admin``, or ``placement``, an administrator there."""

    name: str
    who: str
    path: str


def questions(filled: Filled, host_id: str) -> list[Question]:
    """Everything that is asked."""
    servers = f"{COMPUTE}/servers"
    return [
        Question("server", "member", f"{servers}/{filled.server_id}"),
        Question("actions of a server", "member", f"{servers}/{filled.server_id}/os-instance-actions"),
        Question("servers in detail, 50", "member", f"{servers}/detail?limit=50"),
        Question("servers in detail, 1,000", "member", f"{servers}/detail?limit=1000"),
        Question("all servers in detail, 1,000", "admin", f"{servers}/detail?all_tenants=1&limit=1000"),
        Question("all servers by name, 1,000", "admin", f"{servers}?all_tenants=1&limit=1000&sort_key=display_name"),
        Question("quota in detail", "member", f"{COMPUTE}/os-quota-sets/{PROJECTS[0]}/detail"),
        Question("flavors", "member", f"{COMPUTE}/flavors/detail"),
        Question("hypervisors in detail", "admin", f"{COMPUTE}/os-hypervisors/detail"),
        Question("usages of a provider", "placement", f"/resource_providers/{host_id}/usages"),
        Question("candidates, limit 10", "placement", "/allocation_candidates?resources=VCPU:1&limit=10"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.past")
    parser.add_argument("--servers", type=int, default=20_000)
    parser.add_argument("--renamed", type=int, default=5, help="how often each server was")
    arguments = parser.parse_args()
    with stack(HOSTS) as measured:
        settings = measured.settings()
        lightcurve(measured, "down")
        nats = NatsProcess(measured.nats(settings))
        nats.start()
        try:
            filled = asyncio.run(fill(settings, arguments.servers, arguments.renamed))
        finally:
            nats.stop()
        lightcurve(measured, "up", "--simulated-hosts", str(HOSTS))
        asyncio.run(projected(settings))
        asyncio.run(_ask(measured, settings, filled))


async def _ask(measured: Stack, settings: Settings, filled: Filled) -> None:
    clients = await connected(measured, settings)
    hosts = await clients["admin"].request("GET", f"{COMPUTE}/os-hypervisors?limit=1")
    now = Moment.parse((await _get(clients["member"], f"{COMPUTE}/flavors", "now")).headers[POSITION])
    half = Moment.of({cell: position // 2 for cell, position in now.positions})
    print(f"{filled.events} events. Milliseconds:")
    print(f"{'':34} {'present':>8} {'as of now':>20} {'as of half way':>20}")
    for question in questions(filled, hosts.json()["hypervisors"][0]["id"]):
        figures = [await _timed(clients[question.who], question.path, moment) for moment in (None, now, half)]
        shown = "".join(f" {f'({first:.1f})':>11} {again:8.1f}" for first, again in figures[1:])
        print(f"{question.name:34} {figures[0][1]:8.1f}{shown}")
    for client in clients.values():
        client.close()
    async with await psycopg.AsyncConnection.connect(settings.database.url) as database:
        cursor = await database.execute(SIZE)
        for versions, size in await cursor.fetchall():
            print(f"{versions} versions of servers, {size / max(versions, 1):.0f} bytes each in the read database")


async def _timed(client: Client, path: str, moment: Moment | None) -> tuple[float, float]:
    """Of the first time, and the median of some more."""
    taken = []
    for _ in range(TIMES + 1):
        started = time.perf_counter()
        answer = await _get(client, path, str(moment) if moment else None)
        taken.append((time.perf_counter() - started) * 1000)
        assert answer.status in (200, 404), (path, answer.body[:300])
    return taken[0], median(taken[1:])


async def _get(client: Client, path: str, moment: str | None) -> Answer:
    headers = client.headers
    client.headers = headers | ({AS_OF: moment} if moment else {})
    answer = await client.request("GET", path)
    client.headers = headers
    return answer


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
