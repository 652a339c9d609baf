"""Many claims at once, over several processes of which any may die: nothing that was answered is lost, nothing is
doubled, and nobody hears of a conflict that is none."""

import asyncio
from collections import Counter
from uuid import uuid4

import pytest

from domain.log.kind import fold
from domain.placement.ledger import KIND, InventoriesSet, Inventory, Ledger, ProviderCreated, aggregate, imbalances
from ops.bench.http import Client
from ops.bench.placement import load
from ops.bench.placement_service import PlacementService, placement_service
from ops.roles.plane import open_plane
from tests.aio import asynchronous
from tests.waiting import until

HOSTS = [str(uuid4()) for _ in range(10)]
CLAIMS = 1000
AMOUNT = {"VCPU": 1, "MEMORY_MB": 128}
HEADERS = {"X-Auth-Token": "admin", "OpenStack-API-Version": "placement 1.39"}


async def _offer(service: PlacementService, claims_each: int) -> None:
    inventories = {name: Inventory(total=amount * claims_each) for name, amount in AMOUNT.items()}
    changes = [
        change
        for host in HOSTS
        for change in (
            ProviderCreated(provider_id=host, name=host),
            InventoriesSet(provider_id=host, inventories=inventories),
        )
    ]
    await load(service.settings, iter(changes))


async def _claim(client: Client, consumer_id: str, host: str) -> int:
    body = {
        "allocations": {host: {"resources": AMOUNT}},
        "project_id": "project",
        "user_id": "user",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    }
    return (await client.request("PUT", f"/allocations/{consumer_id}", body)).status


async def _from_the_log(service: PlacementService) -> Ledger:
    async with open_plane(service.settings, "check") as plane:
        ledger = fold(KIND, await plane.store.load(aggregate(service.settings.cell)))
    assert ledger is not None
    return ledger


@pytest.mark.nats
@asynchronous
async def test_a_thousand_claims_at_once_on_ten_hosts_with_room_for_exactly_these() -> None:
    with placement_service(workers=2) as service:
        await _offer(service, CLAIMS // len(HOSTS))
        claims = [(str(uuid4()), HOSTS[number % len(HOSTS)]) for number in range(CLAIMS)]
        clients = [Client("127.0.0.1", service.port, dict(HEADERS)) for _ in range(50)]
        queue = list(claims)

        async def work(client: Client) -> list[int]:
            statuses = []
            while queue:
                statuses.append(await _claim(client, *queue.pop()))
            return statuses

        statuses = Counter(status for some in await asyncio.gather(*map(work, clients)) for status in some)
        assert statuses == {204: CLAIMS}
        # Full is full: one more has no room on any host.
        assert await _claim(clients[0], str(uuid4()), HOSTS[0]) == 409
        for client in clients:
            client.close()
        ledger = await _from_the_log(service)
    assert imbalances(ledger) == []
    assert {one.consumer_id: (*one.allocations,) for one in ledger.claims.values()} == {
        consumer_id: (host,) for consumer_id, host in claims
    }
    assert all(
        ledger.providers[host].used == {name: 100 * amount for name, amount in AMOUNT.items()} for host in HOSTS
    )


@pytest.mark.nats
@asynchronous
async def test_whichever_process_dies_under_load_what_was_answered_holds() -> None:
    answered: set[str] = set()
    unheard: set[str] = set()
    with placement_service(workers=2) as service:
        await _offer(service, 100_000)

        async def work() -> None:
            client = Client("127.0.0.1", service.port, dict(HEADERS))
            while not stop.is_set():
                consumer_id = str(uuid4())
                try:
                    status = await asyncio.wait_for(_claim(client, consumer_id, HOSTS[0]), 20)
                except (OSError, asyncio.IncompleteReadError):
                    unheard.add(consumer_id)
                    client.close()
                    continue
                assert status == 204, status
                answered.add(consumer_id)
            client.close()

        stop = asyncio.Event()
        workers = [asyncio.create_task(work()) for _ in range(8)]
        for name in service.names * 2:
            before = len(answered)
            await _until_more(workers, answered, before + 100)
            await asyncio.to_thread(service.kill_worker, name)
            service.start_worker(name)
            await _until_more(workers, answered, len(answered) + 100)
        stop.set()
        await asyncio.gather(*workers)
        ledger = await _from_the_log(service)
    claimed = set(ledger.claims)
    assert answered <= claimed, "an answered claim is lost"
    assert claimed <= answered | unheard, "there is a claim that nobody asked for"
    assert imbalances(ledger) == []
    assert all(one.generation == 1 for one in ledger.claims.values()), "a claim was taken twice"
    assert ledger.providers[HOSTS[0]].used == {name: len(claimed) * amount for name, amount in AMOUNT.items()}


async def _until_more(workers: list[asyncio.Task[None]], answered: set[str], wanted: int) -> None:
    def enough() -> bool:
        for worker in workers:
            if worker.done():
                worker.result()
        return len(answered) >= wanted

    await until(enough, 60)
