"""Events in CADF: what pycadf itself calls valid, in the words that OpenStack's audit middleware has."""

from typing import Any

import msgspec
import pytest
from pycadf import cadftaxonomy, identifier, timestamp

from adapters.rest.audit.cadf import TARGETS, cadf_event
from domain.kinds import EVENTS, KINDS
from domain.log.record import AggregateId, Event, Recorded
from tests.adapters.rest.conftest import MakeWorld
from tests.adapters.rest.test_audit import AUDIT, all_events, busy
from tests.adapters.rest.world import BLUE, user_id
from tests.aio import asynchronous
from tests.replay.golden_files import META, tag
from tests.replay.samples import sample_event

EVENT_ID = "11111111-2222-4333-8444-555555555555"


def recorded(kind: type[Event], **meta: Any) -> Recorded:
    return Recorded(
        cell="cell1",
        position=7,
        aggregate=AggregateId(tag(kind).split(".")[0], "id"),
        version=1,
        previous="",
        digest="",
        event=sample_event(kind),
        meta=msgspec.structs.replace(META, event_id=EVENT_ID, user_id="ab" * 16, **meta),
    )


@pytest.mark.parametrize("kind", EVENTS, ids=tag)
def test_every_event_is_valid(kind: type[Event]) -> None:
    for everything in (True, False):
        told = cadf_event(recorded(kind), everything)
        assert cadftaxonomy.is_valid_action(told["action"])
        assert told["action"] != cadftaxonomy.UNKNOWN
        assert cadftaxonomy.is_valid_outcome(told["outcome"])
        assert timestamp.is_valid(told["eventTime"])
        for who in ("initiator", "target", "observer"):
            assert cadftaxonomy.is_valid_resource(told[who]["typeURI"])
            assert identifier.is_valid(told[who]["id"])
        assert told["typeURI"] == "http://schemas.dmtf.org/cloud/audit/1.0/event"
        assert (told["id"], told["eventType"]) == (EVENT_ID, "activity")
        msgspec.json.encode(told)


def test_every_kind_has_a_target() -> None:
    assert set(KINDS) - set(TARGETS) == {"checkpoint", "recovery", "skip"}


@pytest.mark.parametrize(
    ("type_name", "action", "outcome"),
    [
        ("server.requested", "create", "pending"),
        ("server.built", "create", "success"),
        ("server.build_failed", "create", "failure"),
        ("server.stop_requested", "stop/shutdown", "pending"),
        ("server.rebooted", "start/reboot", "success"),
        ("server.rebuild_requested", "update/rebuild", "pending"),
        ("server.metadata_changed", "update/metadata_changed", "success"),
        ("server.deleted", "delete", "success"),
        ("console.refused", "deny", "failure"),
        ("token.revoked", "revoke", "success"),
        ("host.disabled", "disable", "success"),
    ],
)
def test_words(type_name: str, action: str, outcome: str) -> None:
    (kind,) = (kind for kind in EVENTS if tag(kind) == type_name)
    told = cadf_event(recorded(kind), True)
    assert (told["action"], told["outcome"], told["name"]) == (action, outcome, type_name)


def test_what_the_cloud_does_itself_it_has_begun_itself() -> None:
    asked = recorded(EVENTS[0])
    unasked = msgspec.structs.replace(asked, meta=msgspec.structs.replace(asked.meta, user_id=None, project_id=None))
    told = cadf_event(unasked, True)
    assert told["initiator"]["id"] == told["observer"]["id"]
    assert "request_id" not in told["observer"]


@asynchronous
async def test_pages_and_streams(cloud: MakeWorld) -> None:
    async with cloud() as world:
        hers, _ = await busy(world)
        ann, amy = await world.client("ann"), await world.client("amy")
        ours = await all_events(ann, type="server.")
        answer = await ann.get(f"{AUDIT}/events", type="server.", format="cadf")
        assert answer.headers["content-type"] == "application/json"
        assert [event["id"] for event in answer.body] == [event["id"] for event in ours]
        (built,) = [e for e in answer.body if e["name"] == "server.built" and e["target"]["id"] == hers]
        assert built["initiator"]["typeURI"] == "service/security/account/user"
        assert (built["initiator"]["id"].replace("-", ""), built["initiator"]["project_id"]) == (user_id("amy"), BLUE)
        async with ann.stream(f"{AUDIT}/events", type="server.", format="cadf") as stream:
            assert (await stream.event())[1] == answer.body[0]
        assert b"node1" not in (await amy.get(f"{AUDIT}/events", format="cadf")).content
        assert (await ann.get(f"{AUDIT}/events", format="xml")).status == 400
