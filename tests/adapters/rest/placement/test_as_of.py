"""Placement as of a moment: every question is answered as it was then."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from adapters.rest.kit.as_of import AS_OF, POSITION
from adapters.rest.placement.access import believe
from adapters.rest.placement.app import create_app
from adapters.system import SystemIds
from domain.kinds import EVENTS
from handlers.context import Stamp
from handlers.log.ledger_feed import LedgerFeed
from handlers.past.ledgers import PastLedgers
from handlers.past.moments import Moments
from handlers.past.placements import PastPlacements
from handlers.placement import Placement
from tests.adapters.rest.client import Answer, Client
from tests.aio import asynchronous
from tests.clocks import InstantClock

LATEST = {"openstack-api-version": "placement 1.39", "x-roles": "admin,service"}
ONE, TWO, CONSUMER, AGGREGATE = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "1234")
QUESTIONS = (
    "/resource_providers", "/resource_providers?resources=VCPU:1", f"/resource_providers/{ONE}",
    f"/resource_providers/{TWO}", f"/resource_providers/{ONE}/inventories", f"/resource_providers/{ONE}/usages",
    f"/resource_providers/{ONE}/allocations", f"/resource_providers/{ONE}/aggregates",
    f"/resource_providers/{ONE}/traits", f"/allocations/{CONSUMER}", "/usages?project_id=p",
    "/allocation_candidates?resources=VCPU:1", "/resource_classes", "/traits?name=startswith:CUSTOM",
)  # fmt: skip


REQUEST_ID = re.compile(rb"req-[0-9a-f-]+")


@asynccontextmanager
async def placement() -> AsyncIterator[Client]:
    clock, ids = InstantClock(), SystemIds()
    stamp = Stamp(clock, ids)
    store = MemoryEventStore(Broker(clock), "cell1", EventMapper(EVENTS))
    feed = LedgerFeed(store, stamp, saves_snapshots=True)
    past = PastPlacements(Moments((store,), clock), PastLedgers(store, stamp), "cell1", None)

    async def settle(_position: int) -> None:
        pass

    running = asyncio.create_task(feed.run())
    await feed.ready()
    try:
        yield Client(create_app(Placement(feed, settle), believe, ids, clock, past=past), "admin")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def ask(client: Client, path: str, moment: str | None = None) -> Answer:
    return await client.request("GET", path, headers=LATEST | ({AS_OF: moment} if moment else {}))


async def put(client: Client, path: str, body: object) -> None:
    answer = await client.request("PUT", path, body, headers=LATEST)
    assert answer.status < 300, answer


@asynchronous
async def test_every_question_is_answered_as_it_was():
    async with placement() as client:
        told = {}
        for step in range(5):
            await grow(client, step)
            moment = (await ask(client, "/resource_providers", "now")).headers[POSITION]
            told[moment] = [await ask(client, path) for path in QUESTIONS]
        assert len(told) == 5
        for moment, answers in told.items():
            for path, then in zip(QUESTIONS, answers, strict=True):
                now = await ask(client, path, moment)
                assert (now.status, said(now)) == (then.status, said(then)), (moment, path)


def said(answer: Answer) -> bytes:
    return REQUEST_ID.sub(b"", answer.content)


async def grow(client: Client, step: int) -> None:
    inventory = {"VCPU": {"total": 8}, "MEMORY_MB": {"total": 1024}}
    match step:
        case 0:
            body = {"name": "one", "uuid": ONE}
            await client.request("POST", "/resource_providers", body, headers=LATEST)
        case 1:
            body = {"resource_provider_generation": 0, "inventories": inventory}
            await put(client, f"/resource_providers/{ONE}/inventories", body)
            await put(client, "/traits/CUSTOM_GOOD", None)
        case 2:
            claim = {
                "allocations": {ONE: {"resources": {"VCPU": 2}}},
                "project_id": "p", "user_id": "u", "consumer_generation": None, "consumer_type": "INSTANCE",
            }  # fmt: skip
            await put(client, f"/allocations/{CONSUMER}", claim)
        case 3:
            body = {"resource_provider_generation": 2, "traits": ["CUSTOM_GOOD"]}
            await put(client, f"/resource_providers/{ONE}/traits", body)
            await client.request("POST", "/resource_providers", {"name": "two", "uuid": TWO}, headers=LATEST)
        case _:
            await client.request("DELETE", f"/allocations/{CONSUMER}", headers=LATEST)
            await put(client, f"/resource_providers/{ONE}", {"name": "renamed"})


@asynchronous
async def test_the_past_is_not_written():
    async with placement() as client:
        for method, path in (("POST", "/resource_providers"), ("DELETE", f"/allocations/{CONSUMER}")):
            answer = await client.request(method, path, {"name": "one", "uuid": ONE}, headers=LATEST | {AS_OF: "now"})
            assert answer.status == 400, answer
        assert (await ask(client, "/resource_providers")).body == {"resource_providers": []}
        for moment in ("cell1=99", "soon", "cell2=1"):
            assert (await ask(client, "/resource_providers", moment)).status == 400
