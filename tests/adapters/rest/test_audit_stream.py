"""The events as a stream: resumed anywhere without loss or doubling, for who may see them, as long as he may."""

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import Any

import pytest

from adapters.rest.audit.streams import KEEP_ALIVE_SECONDS
from adapters.rest.kit.event_stream import KEEP_ALIVE
from adapters.rest.kit.turns import Turns
from tests.adapters.rest.client import Stream
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_audit import AUDIT, all_events, busy
from tests.adapters.rest.test_servers import boot
from tests.adapters.rest.world import BLUE, World
from tests.aio import asynchronous

EVENTS = f"{AUDIT}/events"


async def read(stream: Stream, count: int) -> list[tuple[str, Any]]:
    assert stream.status == 200
    assert stream.headers["content-type"].startswith("text/event-stream")
    return [await stream.event() for _ in range(count)]


async def as_time_passes(world: World, stream: Stream, seconds: float) -> str | None:
    """What comes next, if it comes within so much time."""
    waiting = asyncio.create_task(stream.block())
    for _ in range(200):
        world.clock.advance(seconds / 100)
        for _ in range(20):
            await asyncio.sleep(0)
        if waiting.done():
            break
    return await waiting


@asynchronous
async def test_what_was_and_what_comes(cloud: MakeWorld):
    async with cloud() as world:
        await busy(world)
        ann = await world.client("ann")
        before = await all_events(ann)
        async with ann.stream(EVENTS) as stream:
            assert [event for _, event in await read(stream, len(before))] == before
            await boot(world, await world.client("amy"), name="later")
            everything = await all_events(ann)
            assert len(everything) > len(before)
            came = [event for _, event in await read(stream, len(everything) - len(before))]
            key = ("source", "position")
            assert sorted(before + came, key=lambda event: [event[each] for each in key]) == everything


@asynchronous
async def test_resumed_behind_any_event(cloud: MakeWorld):
    """Nothing is lost and nothing comes twice, wherever it breaks off."""
    async with cloud() as world:
        await busy(world)
        ann = await world.client("ann")
        async with ann.stream(EVENTS) as stream:
            first = await read(stream, len(await all_events(ann)))
        await boot(world, await world.client("amy"), name="later")
        for at in range(0, len(first), 3):
            place = first[at][0]
            async with ann.stream(EVENTS, {"last-event-id": place}, after="now") as stream:
                rest = [event for _, event in await read(stream, len(await all_events(ann)) - at - 1)]
            told = [event["id"] for event in [*(event for _, event in first[: at + 1]), *rest]]
            assert sorted(told) == sorted(event["id"] for event in await all_events(ann)), place


@asynchronous
async def test_what_is_filtered_out_moves_the_place(cloud: MakeWorld):
    """Who resumes does not go through all of it again."""
    async with cloud() as world:
        await busy(world)
        ann = await world.client("ann")
        async with ann.stream(EVENTS, type="no.such") as stream:
            now = (await ann.get(EVENTS, limit=1)).headers["lightcurve-position"]
            assert await stream.block() == f"id: {now}\n\n"


@asynchronous
async def test_a_tenant_sees_its_own_and_no_host(cloud: MakeWorld):
    async with cloud() as world:
        await busy(world)
        amy = await world.client("amy")
        own = await all_events(amy)
        async with amy.stream(EVENTS) as stream:
            told = [event for _, event in await read(stream, len(own))]
        assert told == own
        assert {event["projectid"] for event in told} == {BLUE}
        async with amy.stream(EVENTS, project_id="c2" * 16) as stream:
            assert stream.status == 403


@asynchronous
async def test_signs_of_life_and_the_end_of_the_token(cloud: MakeWorld):
    async with cloud() as world:
        ann = await world.client("ann")
        async with ann.stream(EVENTS, after="now") as stream:
            assert await as_time_passes(world, stream, KEEP_ALIVE_SECONDS) == KEEP_ALIVE.decode()
            while (block := await as_time_passes(world, stream, 24 * 3600)) is not None:
                assert block == KEEP_ALIVE.decode()


@asynchronous
async def test_a_revoked_token_reads_no_more(cloud: MakeWorld):
    async with cloud() as world:
        eve = await world.client("eve")
        async with eve.stream(EVENTS, after="now") as stream:
            revoked = {"x-subject-token": str(eve.token)}
            assert (await eve.request("DELETE", "/identity/v3/auth/tokens", headers=revoked)).status == 204
            while await as_time_passes(world, stream, KEEP_ALIVE_SECONDS) is not None:
                pass


@asynchronous
async def test_places_are_few_and_given_back(cloud: MakeWorld):
    async with cloud() as world:
        ann, amy = await world.client("ann"), await world.client("amy")
        async with AsyncExitStack() as others:
            for _ in range(7):
                await others.enter_async_context(amy.stream(EVENTS))
            for _ in range(2):
                async with amy.stream(EVENTS) as last, amy.stream(EVENTS) as refused:
                    assert (last.status, refused.status) == (200, 429)
                    assert refused.headers["retry-after"]
            async with ann.stream(EVENTS) as other:
                assert other.status == 200


@pytest.mark.parametrize(
    ("headers", "query"),
    [({"last-event-id": "x"}, {}), ({"last-event-id": "api=1"}, {}), ({}, {"until": "now"}), ({}, {"limit": 1}),
     ({}, {"after": "2999-01-01"}), ({}, {"server": "x"})],
)  # fmt: skip
@asynchronous
async def test_bad_questions(cloud: MakeWorld, headers: dict[str, str], query: dict[str, Any]):
    async with cloud() as world, (await world.client("ann")).stream(EVENTS, headers, **query) as stream:
        assert stream.status == 400


@asynchronous
async def test_who_looks_leaves_a_line_when_it_begins(cloud: MakeWorld, caplog: pytest.LogCaptureFixture):
    async with cloud() as world:
        ann = await world.client("ann")
        with caplog.at_level(logging.INFO, "adapters.rest.kit.request_log"):
            async with ann.stream(EVENTS, type="server."):
                (line,) = [record.fields for record in caplog.records if record.fields["path"] == EVENTS]  # type: ignore[attr-defined]
                assert line["looked"] == "type=server."


@asynchronous
async def test_a_stream_is_worked_on_in_its_projects_turns(cloud: MakeWorld, monkeypatch: pytest.MonkeyPatch):
    turns: list[tuple[str, str]] = []
    run = Turns.run

    def noting(self: Turns, owner: str, work: Any) -> Any:
        turns.append((owner, work.__qualname__))
        return run(self, owner, work)

    async with cloud() as world:
        amy = await world.client("amy")
        monkeypatch.setattr(Turns, "run", noting)
        async with amy.stream(EVENTS):
            assert turns == [(BLUE, "Face._answer"), (BLUE, "EventStream.__call__")]
