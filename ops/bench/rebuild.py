"""What it takes to build the projections anew, while the stack is asked.

``python -m ops.bench.rebuild`` fills the log of a stack of its own, reads it through once (the yardstick: every event
fetched and decoded, and nothing done with it), and then has each projection built anew, while clients read. It tells
how fast, whether any request failed, and whether what was there before is the same afterwards.
"""

import argparse
import asyncio
import time
from contextlib import suppress

import psycopg

from ops.bench.filling import fill
from ops.bench.http import Client
from ops.bench.past import HOSTS
from ops.bench.scale import COMPUTE, projected
from ops.bench.stack import connected, lightcurve, stack
from ops.embedded.nats import NatsProcess
from ops.rebuild import rebuild
from ops.roles.plane import open_plane
from ops.roles.projector import PROJECTIONS
from ops.settings import Settings
from ops.stack import Stack

OLD = "SELECT md5(coalesce(string_agg(s::text, ',' ORDER BY id), '')), count(*) FROM servers s WHERE name LIKE %s"
FILLED = "vm-%"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.rebuild")
    parser.add_argument("--servers", type=int, default=20_000)
    parser.add_argument("--renamed", type=int, default=5, help="how often each server was")
    arguments = parser.parse_args()
    with stack(HOSTS) as measured:
        settings = measured.settings()
        lightcurve(measured, "down")
        nats = NatsProcess(measured.nats(settings))
        nats.start()
        try:
            asyncio.run(fill(settings, arguments.servers, arguments.renamed))
        finally:
            nats.stop()
        lightcurve(measured, "up", "--simulated-hosts", str(HOSTS))
        asyncio.run(projected(settings))
        asyncio.run(_measure(measured, settings))


async def _measure(measured: Stack, settings: Settings) -> None:
    events, seconds = await _read_through(settings)
    print(f"read and decoded   {events:9d} events {seconds:7.1f} s {events / seconds:9.0f} events/s")
    before = await _old(settings)
    asked = _Asked()
    clients = await connected(measured, settings)
    load = [asyncio.create_task(asked.ask(clients[who])) for who in ("member", "admin")]
    for projection in PROJECTIONS:
        started = time.perf_counter()
        await rebuild(settings, projection.name)
        seconds = time.perf_counter() - started
        print(f"{projection.name:18} {events:9d} events {seconds:7.1f} s {events / seconds:9.0f} events/s")
    for task in load:
        task.cancel()
    await asyncio.gather(*load, return_exceptions=True)
    same = await _old(settings) == before
    same_words = "the same" if same else "NOT THE SAME"
    print(f"{asked.count} requests meanwhile, {asked.failed} failed; the servers are {same_words}")


class _Asked:
    """Requests that were made meanwhile."""

    def __init__(self) -> None:
        self.count = self.failed = 0

    async def ask(self, client: Client) -> None:
        while True:
            answer = await client.request("GET", f"{COMPUTE}/servers/detail?limit=50")
            self.count += 1
            self.failed += answer.status != 200


async def _read_through(settings: Settings) -> tuple[int, float]:
    """How many events there are, and the seconds it takes to read them."""
    started, events = time.perf_counter(), 0
    async with open_plane(settings, "bench-rebuild") as plane:
        for store in plane.stores:
            async for batch in store.follow(0):
                if not batch:
                    break
                events += len(batch)
    return events, time.perf_counter() - started


async def _old(settings: Settings) -> object:
    async with await psycopg.AsyncConnection.connect(settings.database.url) as database:
        return await (await database.execute(OLD, (FILLED,))).fetchone()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
