"""Where a server has been, by its own events."""

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from domain.log.record import AggregateId, Event, Metadata, Recorded
from domain.server.details import ServerRenamed
from ops.whereabouts import Stay, stays
from tests.domain.server.servers import BUILD_FAILED, BUILT, DELETE, DELETED, PLACED, REQUESTED, STOP

BEGAN = datetime(2030, 1, 1, tzinfo=UTC)


def history(*events: Event) -> list[Recorded]:
    return [
        Recorded(
            cell="cell1",
            aggregate=AggregateId("server", "s"),
            version=number,
            position=number,
            event=event,
            meta=Metadata(event_id=f"e{number}", time=at(number), request_id="req-1"),
            digest="",
            previous="",
        )
        for number, event in enumerate(events, 1)
    ]


def at(number: int) -> datetime:
    return BEGAN + timedelta(minutes=number)


def test_from_when_it_was_placed_until_it_was_deleted() -> None:
    whole = history(REQUESTED, PLACED, BUILT, ServerRenamed(name="x"), DELETE, DELETED)
    assert list(stays(whole)) == [Stay("node1", at(2), at(6))]
    assert list(stays(whole[:5])) == [Stay("node1", at(2), None)]
    assert list(stays(whole[:1])) == []


def test_each_host_that_it_was_tried_on() -> None:
    other = replace(PLACED, host="node2", host_id="h2", epoch=2)
    built = replace(BUILT, epoch=2)
    assert list(stays(history(REQUESTED, PLACED, BUILD_FAILED, other, built, STOP))) == [
        Stay("node1", at(2), at(3)),
        Stay("node2", at(4), None),
    ]
