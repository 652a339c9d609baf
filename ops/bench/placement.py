"""Placement, ours beside the real one with PostgreSQL and two workers: the same providers, the same requests, ratios.

``python -m ops.bench.placement --providers 1000 10000`` prints one table a size.
"""

import argparse
import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from uuid import NAMESPACE_DNS, uuid4, uuid5

import psutil
import psycopg

from adapters.mapper import EventMapper
from adapters.nats.store import NatsEventStore
from adapters.system import SystemClock, SystemIds
from domain.kinds import EVENTS
from domain.log.record import GENESIS
from domain.placement.ledger import (
    Claimed,
    InventoriesSet,
    Inventory,
    LedgerChange,
    LedgerChanged,
    ProviderCreated,
    TraitsSet,
    aggregate,
)
from handlers.context import Stamp
from ops.bench.http import Client
from ops.bench.placement_service import placement_service
from ops.embedded.postgres import EmbeddedPostgres
from ops.oracles.real_placement import real_placement
from ops.roles.plane import open_connection
from ops.settings import Settings

TRAIT = "HW_CPU_X86_AVX2"
EVERY = 10
"""One provider in so many has the trait."""
HEADERS = {"X-Auth-Token": "admin", "OpenStack-API-Version": "placement 1.39", "Accept": "application/json"}
INVENTORIES = {"VCPU": 100_000, "MEMORY_MB": 100_000_000, "DISK_GB": 1_000_000}
ASKED = "resources=VCPU:1,MEMORY_MB:512,DISK_GB:10"
CLIENTS = 8
MAX_CHANGES = 400
"""In one event, while loading."""


class Measured(NamedTuple):
    """One row for one system."""

    rate: float
    median_ms: float
    cpu_ms: float
    refused: int


class Row(NamedTuple):
    """What is measured: a request by its number, how often, by how many clients, for how long at most."""

    name: str
    request: Callable[[int], tuple[str, str, object]]
    clients: int
    seconds: float
    times: int


def provider_id(number: int) -> str:
    """The same in both systems."""
    return str(uuid5(NAMESPACE_DNS, f"provider-{number}"))


def _get(path: str) -> Callable[[int], tuple[str, str, object]]:
    return lambda _: ("GET", path, None)


def _claim(spread: int) -> Callable[[int], tuple[str, str, object]]:
    """A new consumer's claim, on one of ``spread`` providers in turn."""

    def request(number: int) -> tuple[str, str, object]:
        resources = {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 10}
        body = {
            "allocations": {provider_id(number % spread): {"resources": resources}},
            "project_id": "project",
            "user_id": "user",
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
        }
        return "PUT", f"/allocations/{uuid4()}", body

    return request


def rows(providers: int) -> list[Row]:
    candidates = f"/allocation_candidates?{ASKED}"
    return [
        Row("candidates, limit 10", _get(f"{candidates}&limit=10"), 1, 8, 500),
        Row("candidates, limit 1000", _get(f"{candidates}&limit=1000"), 1, 8, 100),
        Row("candidates, limit 10, a trait", _get(f"{candidates}&limit=10&required={TRAIT}"), 1, 8, 500),
        Row("claims, distinct providers", _claim(providers), CLIENTS, 8, 4000),
        Row("claims, one provider", _claim(1), CLIENTS, 8, 4000),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.bench.placement")
    parser.add_argument("--providers", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--claims", type=int, default=100_000, help="for the measurement of memory")
    arguments = parser.parse_args()
    for providers in arguments.providers:
        ours = asyncio.run(_measure_ours(providers))
        theirs = asyncio.run(_measure_theirs(providers))
        _print(providers, ours, theirs)
    asyncio.run(_measure_memory(arguments.providers[-1], arguments.claims))


async def _measure_ours(providers: int) -> list[Measured]:
    with placement_service() as service:
        await load(service.settings, offers(providers))
        await _known(service.port, provider_id(providers - 1))
        return [await _run(row, service.port, service.pids()) for row in rows(providers)]


async def _measure_theirs(providers: int) -> list[Measured]:
    with _postgres() as (postgres, pid):
        await postgres.ready()
        database = postgres.url.replace("postgresql://", "postgresql+psycopg2://")
        with real_placement(database, workers=2) as real:
            _fill(postgres.url, providers)
            return [await _run(row, real.port, [real.pid, pid]) for row in rows(providers)]


@contextmanager
def _postgres() -> Iterator[tuple[EmbeddedPostgres, int]]:
    with TemporaryDirectory(prefix="placement-postgres-") as directory:
        Path(directory).chmod(0o755)
        postgres = EmbeddedPostgres(Path(directory) / "postgres")
        postgres.prepare()
        with (Path(directory) / "log").open("ab") as output:
            process = subprocess.Popen(postgres.argv(), stdout=output, stderr=output)
        try:
            yield postgres, process.pid
        finally:
            process.terminate()
            process.wait()
            postgres.erase()


def _fill(url: str, providers: int) -> None:
    """The same providers by SQL: over its API that would take half an hour."""
    with psycopg.connect(url) as connection:
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO resource_providers (id, uuid, name, generation, root_provider_id, created_at)"
                " VALUES (%s, %s, %s, 1, %s, now())",
                [(n + 1, provider_id(n), f"provider-{n}", n + 1) for n in range(providers)],
            )
            for name, total in INVENTORIES.items():
                cursor.execute(
                    "INSERT INTO inventories (resource_provider_id, resource_class_id, total, reserved, min_unit,"
                    " max_unit, step_size, allocation_ratio, created_at)"
                    " SELECT p.id, c.id, %s, 0, 1, %s, 1, 1.0, now()"
                    " FROM resource_providers p, resource_classes c WHERE c.name = %s",
                    (total, total, name),
                )
            cursor.execute(
                "INSERT INTO resource_provider_traits (resource_provider_id, trait_id, created_at)"
                " SELECT p.id, t.id, now() FROM resource_providers p, traits t WHERE t.name = %s AND p.id %% %s = 1",
                (TRAIT, EVERY),
            )
            cursor.execute("SELECT setval('resource_providers_id_seq', %s)", (providers,))
        connection.commit()
        connection.autocommit = True
        connection.execute("ANALYZE")


def offers(providers: int) -> Iterator[LedgerChange]:
    """The providers with their inventories and traits."""
    inventories = {name: Inventory(total=total, max_unit=total) for name, total in INVENTORIES.items()}
    for number in range(providers):
        yield ProviderCreated(provider_id=provider_id(number), name=f"provider-{number}")
        yield InventoriesSet(provider_id=provider_id(number), inventories=inventories)
        if number % EVERY == 0:
            yield TraitsSet(provider_id=provider_id(number), traits=(TRAIT,))


def claims(count: int, providers: int) -> Iterator[LedgerChange]:
    """Claims of as many consumers."""
    for number in range(count):
        yield Claimed(
            consumer_id=str(uuid4()),
            epoch=1,
            project_id=f"project-{number % 50}",
            user_id="user",
            allocations={provider_id(number % providers): {"VCPU": 1, "MEMORY_MB": 512, "DISK_GB": 10}},
        )


async def load(settings: Settings, changes: Iterator[LedgerChange]) -> None:
    """Write changes straight into the log, many in an event."""
    connection = await open_connection(settings.nats, "load")
    store = NatsEventStore(connection, settings.cell, EventMapper(EVENTS))
    stamp = Stamp(SystemClock(), SystemIds())
    name = aggregate(settings.cell)
    history = await store.load(name)
    tail = history[-1].tail if history else GENESIS
    group: list[LedgerChange] = []
    for change in changes:
        group.append(change)
        if len(group) == MAX_CHANGES:
            event, group = LedgerChanged(changes=tuple(group)), []
            tail = (await store.append(name, event, stamp(stamp.own_context()), tail)).tail
    if group:
        await store.append(name, LedgerChanged(changes=tuple(group)), stamp(stamp.own_context()), tail)
    await connection.close()


async def _known(port: int, last: str) -> None:
    """Wait until the last provider is known."""
    client = Client("127.0.0.1", port, dict(HEADERS))
    while True:
        answer = await client.request("GET", f"/resource_providers/{last}")
        if answer.status == 200:
            break
        await asyncio.sleep(0.05)
    client.close()


async def _run(row: Row, port: int, pids: list[int]) -> Measured:
    clients = [Client("127.0.0.1", port, dict(HEADERS)) for _ in range(row.clients)]
    for number, client in enumerate(clients):
        assert (await client.request(*row.request(number))).status < 300
    latencies: list[float] = []
    refused = 0
    numbers = iter(range(row.times))
    end = time.perf_counter() + row.seconds
    before, started = cpu_seconds(pids), time.perf_counter()

    async def work(client: Client) -> None:
        nonlocal refused
        for number in numbers:
            method, path, body = row.request(number)
            sent = time.perf_counter()
            answer = await client.request(method, path, body)
            latencies.append(time.perf_counter() - sent)
            refused += answer.status >= 300
            if time.perf_counter() > end:
                return

    await asyncio.gather(*(work(client) for client in clients))
    lasted, used = time.perf_counter() - started, cpu_seconds(pids) - before
    for client in clients:
        client.close()
    done = len(latencies)
    return Measured(done / lasted, sorted(latencies)[done // 2] * 1000, used / done * 1000, refused)


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of these processes and their children."""
    total = 0.0
    for pid in pids:
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            times = one.cpu_times()
            total += times.user + times.system
    return total


async def _measure_memory(providers: int, count: int) -> None:
    with placement_service() as service:
        await load(service.settings, offers(providers))
        await load(service.settings, claims(count, providers))
        (name,) = service.names
        service.kill_worker(name)
        started = time.perf_counter()
        service.start_worker(name)
        service.wait()
        ready = time.perf_counter() - started
        rss = psutil.Process(service.pids()[-1]).memory_info().rss >> 20
    print(f"{providers} providers and {count} claims: {rss} MiB; ready from the log alone in {ready:.1f} s")


def _print(providers: int, ours: list[Measured], theirs: list[Measured]) -> None:
    print(f"\n{providers} providers, {os.cpu_count()} cores; ours / the real one (PostgreSQL, two workers)\n")
    print("| what | per second | ratio | median ms | CPU ms | CPU ratio | refused |")
    print("|---|---|---|---|---|---|---|")
    for row, mine, real in zip(rows(providers), ours, theirs, strict=True):
        print(
            f"| {row.name} | {mine.rate:.0f} / {real.rate:.2f} | {mine.rate / real.rate:.0f} "
            f"| {mine.median_ms:.2f} / {real.median_ms:.0f} | {mine.cpu_ms:.2f} / {real.cpu_ms:.0f} "
            f"| 1/{real.cpu_ms / max(mine.cpu_ms, 0.001):.0f} | {mine.refused} / {real.refused} |"
        )


if __name__ == "__main__":
    main()
