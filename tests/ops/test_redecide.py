"""``lightcurve verify --redecide``: says what today's rules would have decided otherwise, and where."""

import pytest

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from domain.catalogue.quota import Limits
from domain.kinds import EVENTS
from domain.log.record import GENESIS, Event
from domain.redecision import Redecision
from domain.server.state import aggregate
from ops import redecide
from tests.aio import asynchronous
from tests.clocks import StandingClock
from tests.domain.server.servers import GIVEN, SERVER_ID, START, meta


async def _log(events: list[Event]) -> MemoryEventStore:
    store = MemoryEventStore(Broker(StandingClock()), "cell1", EventMapper(EVENTS))
    tail = GENESIS
    for number, event in enumerate(events, start=1):
        recorded = await store.append(aggregate(SERVER_ID), event, meta(number), tail)
        tail = GENESIS._replace(version=recorded.version, position=recorded.position, digest=recorded.digest)
    return store


@asynchronous
async def test_what_was_decided_by_the_rules(capsys: pytest.CaptureFixture[str]) -> None:
    redecision = Redecision(Limits())
    found = await redecide.decided_anew(await _log(GIVEN["rescued"]), redecision)
    redecide._tell(redecision, found)
    assert capsys.readouterr().out == "5 events decided anew by today's rules: each is as it was recorded.\n"


@asynchronous
async def test_what_no_rule_allows(capsys: pytest.CaptureFixture[str]) -> None:
    redecision = Redecision(Limits())
    found = await redecide.decided_anew(await _log([*GIVEN["active"], START]), redecision)
    redecide._tell(redecision, found)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "4 events decided anew by today's rules: 1 would be otherwise."
    assert second.startswith(f"  cell1#4 2030-01-01 00:00:00 server.start_requested of server.{SERVER_ID}: refused: ")


@asynchronous
async def test_nothing_at_all() -> None:
    assert await redecide.decided_anew(await _log([]), Redecision(Limits())) == []
