"""The audit API: who sees what of the logs, and that what was read once is not read otherwise later."""

import re
from typing import Any

import pytest

from domain.kinds import EVENTS
from tests.adapters.rest.client import Client
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_servers import SERVERS, boot
from tests.adapters.rest.world import BLUE, World, new_server
from tests.aio import asynchronous

AUDIT = "/audit"


async def request_of(client: Client, server_id: str) -> str:
    actions = (await client.get(f"{SERVERS}/{server_id}/os-instance-actions")).body["instanceActions"]
    return actions[-1]["request_id"]


async def events(client: Client, **query: Any) -> tuple[list[dict[str, Any]], str | None]:
    """A page, and where the next one is."""
    answer = await client.get(f"{AUDIT}/events", **query)
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/cloudevents-batch+json"
    following = re.fullmatch(r'<http://cloud\.test(\S+)>; rel="next"', answer.headers.get("link", ""))
    return answer.body, following[1] if following else None


async def all_events(client: Client, **query: Any) -> list[dict[str, Any]]:
    found, following = await events(client, **query)
    while following:
        answer = await client.get(following)
        assert answer.body, "a page of nothing leads nowhere"
        found += answer.body
        link = answer.headers.get("link")
        following = link[len("<http://cloud.test") : link.index(">")] if link else None
    return found


async def busy(world: World) -> tuple[str, str]:
    """A server of amy's and one of eve's."""
    amy, eve = await world.client("amy"), await world.client("eve")
    return await boot(world, amy, name="hers"), await boot(world, eve, name="theirs")


@asynchronous
async def test_the_tree_of_a_request(cloud: MakeWorld):
    async with cloud() as world:
        hers, _ = await busy(world)
        amy, ann = await world.client("amy"), await world.client("ann")
        request_id = await request_of(amy, hers)
        (told,) = (await ann.get(f"{AUDIT}/requests/{request_id}")).body["requests"]
        assert (told["request_id"], told["project_id"]) == (request_id, BLUE)
        (branch,) = told["branches"]
        assert (branch["kind"], branch["id"]) == ("server", hers)
        placed = next(step for step in branch["steps"] if step["event"] == "server.placed")
        assert placed["facts"]["host"].startswith("node")
        of_server = (await ann.get(f"{AUDIT}/requests/{hers}")).body["requests"]
        assert [each["request_id"] for each in of_server] == [request_id]
        of_event = (await ann.get(f"{AUDIT}/requests/{placed['event_id']}")).body["requests"]
        assert of_event == [told]


@asynchronous
async def test_a_tenant_sees_what_it_has_asked_for_and_no_host(cloud: MakeWorld):
    async with cloud() as world:
        hers, theirs = await busy(world)
        amy, eve = await world.client("amy"), await world.client("eve")
        answer = await amy.get(f"{AUDIT}/requests/{await request_of(amy, hers)}")
        assert answer.status == 200
        assert b"node1" not in answer.content
        assert b"allocations" not in answer.content
        root = await world.client("root")
        limits = await root.put(f"/compute/v2.1/os-quota-sets/{BLUE}", {"quota_set": {"instances": 7}})
        only_shared = limits.headers["x-openstack-request-id"]
        assert (await root.get(f"{AUDIT}/requests/{only_shared}")).status == 200
        for hidden in (await request_of(eve, theirs), theirs, only_shared, "req-nothing"):
            assert (await amy.get(f"{AUDIT}/requests/{hidden}")).status == 404
        own = await all_events(amy)
        assert {event["projectid"] for event in own} == {BLUE}
        assert "server.requested" in {event["type"] for event in own}
        assert not any("host" in event["data"] or "allocations" in event["data"] for event in own)
        assert (await amy.get(f"{AUDIT}/events", project_id="c2" * 16)).status == 403
        assert await all_events(amy, server_id=theirs) == []


@asynchronous
async def test_what_many_have_asked_for_together_is_nobodys_to_see_but_an_auditors(cloud: MakeWorld):
    async with cloud() as world:
        await busy(world)
        amy, ann = await world.client("amy"), await world.client("ann")
        assert "ledger.changed" in {event["type"] for event in await all_events(ann)}
        assert "ledger.changed" not in {event["type"] for event in await all_events(amy)}


@pytest.mark.parametrize("limit", [1, 3, 1000])
@asynchronous
async def test_pages_hold_every_event_once_and_never_change(cloud: MakeWorld, limit: int):
    async with cloud() as world:
        await busy(world)
        ann = await world.client("ann")
        until = (await ann.get(f"{AUDIT}/events", limit=1)).headers["lightcurve-position"]
        first = await all_events(ann, limit=limit)
        places = [(event["source"], event["position"]) for event in first]
        assert places == sorted(set(places))
        ends = {source: max(at for each, at in places if each == source) for source in ("/cells/api", "/cells/cell1")}
        assert until == f"api={ends['/cells/api']},cell1={ends['/cells/cell1']}"
        assert len(first) == sum(ends.values())
        await busy(world)
        assert await all_events(ann, limit=limit, until=until) == first
        later = await all_events(ann, limit=limit, after=until)
        assert later
        assert not {(event["source"], event["position"]) for event in later} & set(places)


@asynchronous
async def test_filters(cloud: MakeWorld):
    async with cloud() as world:
        hers, _ = await busy(world)
        amy, ann = await world.client("amy"), await world.client("ann")
        everything = await all_events(ann)
        request_id = await request_of(amy, hers)
        for query, means in (
            ({"type": "server."}, lambda event: event["type"].startswith("server.")),
            ({"type": "server.built"}, lambda event: event["type"] == "server.built"),
            ({"project_id": BLUE, "type": "server."}, lambda e: e.get("projectid") == BLUE and "server" in e["type"]),
            ({"server_id": hers, "type": "server."}, lambda event: event["subject"] == f"server.{hers}"),
            ({"request_id": request_id, "type": "server."}, lambda event: event["requestid"] == request_id
             and event["type"].startswith("server.")),
        ):  # fmt: skip
            expected = [event for event in everything if means(event)]
            assert expected
            assert await all_events(ann, **query) == expected, query


@asynchronous
async def test_events_are_cloudevents(cloud: MakeWorld):
    async with cloud() as world:
        await busy(world)
        tags = {event.__struct_config__.tag for event in EVENTS}
        for event in await all_events(await world.client("ann")):
            assert event["specversion"] == "1.0"
            assert event["type"] in tags
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", event["time"])
            assert all(re.fullmatch("[a-z0-9]{1,20}", name) for name in event)
            assert event["data"]["type"] == event["type"]


@asynchronous
async def test_an_auditor_does_nothing_else(cloud: MakeWorld):
    async with cloud() as world:
        hers, _ = await busy(world)
        ann = await world.client("ann")
        assert (await ann.post(SERVERS, new_server())).status == 403
        assert (await ann.get(f"{SERVERS}/{hers}")).status in (403, 404)
        assert (await ann.delete(f"{SERVERS}/{hers}")).status in (403, 404)
        assert (await (await world.client(None)).get(f"{AUDIT}/events")).status == 401


@pytest.mark.parametrize(
    "query", [{"after": "x"}, {"until": "2999-01-01"}, {"limit": "many"}, {"limit": 0}, {"until": "api=1"}]
)
@asynchronous
async def test_bad_questions(cloud: MakeWorld, query: dict[str, str]):
    async with cloud() as world:
        answer = await (await world.client("ann")).get(f"{AUDIT}/events", **query)
        assert answer.status == 400, answer


@asynchronous
async def test_a_filter_that_is_none_is_refused(cloud: MakeWorld):
    """Nobody takes everything for what he has asked for."""
    async with cloud() as world:
        root = await world.client("root")
        for path in ("events?server=x", "events?marker=x", "requests/x?type=y"):
            assert (await root.get(f"{AUDIT}/{path}")).status == 400, path
