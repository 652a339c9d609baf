"""Placement's door: what nothing can hold, and words that look like a format."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from adapters.nats.breaker import RETRY_AFTER, Silent
from adapters.rest.placement.access import believe
from adapters.rest.placement.app import create_app, operations
from adapters.system import SystemIds
from domain.kinds import EVENTS
from handlers.context import Stamp
from handlers.log.group_writer import GroupWriter
from handlers.log.ledger_feed import LedgerFeed
from handlers.placement import Placement
from tests.adapters.rest.client import Client
from tests.aio import asynchronous
from tests.clocks import InstantClock

LATEST = {"openstack-api-version": "placement 1.39", "x-roles": "admin,service"}


@asynccontextmanager
async def placement(
    prepare: Callable[[LedgerFeed], Awaitable[None]] | None = None, max_candidates: int | None = None
) -> AsyncIterator[Client]:
    clock, ids = InstantClock(), SystemIds()
    stamp = Stamp(clock, ids)
    feed = LedgerFeed(MemoryEventStore(Broker(clock), "cell1", EventMapper(EVENTS)), stamp)

    async def settle(_position: int) -> None:
        pass

    running = asyncio.create_task(feed.run())
    await feed.ready()
    try:
        if prepare:
            await prepare(feed)
        yield Client(create_app(Placement(feed, settle, max_candidates), believe, ids, clock), "admin")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("name", ["%7B%7D", "%7B0%7D", "%25s", "%00", "%0d%0aX:1", "x" * 4050])
@asynchronous
async def test_names_that_nothing_has(name: str):
    async with placement() as client:
        for operation in operations():
            if "{" not in operation.path:
                continue
            path = "/".join(name if part.startswith("{") else part for part in operation.path.split("/"))
            body = {} if operation.takes else None
            answer = await client.request(operation.method, path, body, headers=LATEST)
            assert 200 <= answer.status < 500, (operation.method, path, answer)
            assert answer.status >= 400 or operation.method == "GET", (operation.method, path, answer)


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"name": "\\u0000"}', b'{"name": 1e400}', b'"\xff"'])
@asynchronous
async def test_bodies_that_nothing_can_hold(body: bytes):
    async with placement() as client:
        for operation in operations():
            if not operation.takes:
                continue
            path = "/".join("CUSTOM_A" if part.startswith("{") else part for part in operation.path.split("/"))
            answer = await client.request(
                operation.method, path, body, headers=LATEST | {"content-type": operation.takes}
            )
            assert 400 <= answer.status < 500 or (operation.method == "PUT" and answer.status in (201, 204)), (
                operation.method, path, answer,
            )  # fmt: skip


@pytest.mark.parametrize("query", ["name=a%00b", "name=%ff", f"limit={'9' * 5000}", "x=1&" * 1001])
@asynchronous
async def test_query_strings_that_nothing_can_hold(query: str):
    async with placement() as client:
        for path in ("/resource_providers", "/allocation_candidates", "/traits", "/usages"):
            answer = await client.request("GET", f"{path}?{query}", headers=LATEST)
            assert answer.status == 400, (path, answer)


@asynchronous
async def test_who_comes_when_the_log_does_not_answer_is_told_when_to_come_again(monkeypatch: pytest.MonkeyPatch):
    async def submit(*_words: object) -> None:
        raise Silent

    monkeypatch.setattr(GroupWriter, "submit", submit)
    async with placement() as client:
        answer = await client.request("POST", "/resource_providers", {"name": "one"}, headers=LATEST)
    assert (answer.status, answer.headers["retry-after"]) == (503, str(RETRY_AFTER))
