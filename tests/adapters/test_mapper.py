"""The envelope: what is in it, that it can be read by others, and that a change shows."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mapper import BrokenChain, EventMapper, UnknownEvent, digest, follows, pack, unpack
from domain.log.record import GENESIS, AggregateId, Event, Metadata, Tail

AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)


class Told(Event, tag="sample.told"):
    words: str
    loud: bool = False


class Other(Event, tag="sample.other"):
    pass


MAPPER = EventMapper([Told, Other])
HERE = AggregateId("sample", "1")


def said(**fields: object) -> Metadata:
    return Metadata(**{"event_id": "e1", "time": AT, "request_id": "req-1"} | fields)


def test_the_envelope_is_cloudevents() -> None:
    meta = said(user_id="u", project_id="p", global_request_id="req-g", causation_id="c")
    envelope = MAPPER.encode("east", HERE, Told(words="hi"), meta, Tail(4, 17, "a" * 64))
    assert envelope.headers == {
        "ce-aggregateversion": "5",
        "ce-causationid": "c",
        "ce-datacontenttype": "application/json",
        "ce-globalrequestid": "req-g",
        "ce-id": "e1",
        "ce-previousdigest": "a" * 64,
        "ce-projectid": "p",
        "ce-requestid": "req-1",
        "ce-schemaversion": "1",
        "ce-source": "/cells/east",
        "ce-specversion": "1.0",
        "ce-subject": "sample.1",
        "ce-time": "2026-01-02T03:04:05.000006Z",
        "ce-type": "sample.told",
        "ce-userid": "u",
    }
    assert list(envelope.headers) == sorted(envelope.headers)
    assert envelope.body == b'{"type":"sample.told","words":"hi"}'


def test_what_is_not_known_is_left_out() -> None:
    headers = MAPPER.encode("east", HERE, Other(), said(), GENESIS).headers
    assert not {"ce-userid", "ce-projectid", "ce-globalrequestid", "ce-causationid"} & set(headers)


def test_the_digest_of_a_known_event_never_changes() -> None:
    envelope = MAPPER.encode("east", HERE, Told(words="hi"), said(), GENESIS)
    assert envelope.digest == "0a1d7bdc92f88a3cede36c06fd7abb6c31bdbc2a319c16876511cc4008a22975"


@given(st.text(), st.text(min_size=1), st.text())
def test_any_text_survives_and_stays_on_one_line(user: str, id_: str, words: str) -> None:
    meta, aggregate = said(user_id=user), AggregateId("sample", id_)
    envelope = MAPPER.encode("east", aggregate, Told(words=words), meta, GENESIS)
    assert all("!" <= c <= "~" for value in envelope.headers.values() for c in value)
    recorded = MAPPER.decode(envelope.headers, envelope.body, 9)
    assert (recorded.meta, recorded.aggregate, recorded.event) == (meta, aggregate, Told(words=words))
    assert (recorded.digest, recorded.position, recorded.tail) == (envelope.digest, 9, Tail(1, 9, envelope.digest))


def test_times_are_written_in_utc() -> None:
    moment = AT.astimezone(timezone(timedelta(hours=5)))
    headers = MAPPER.encode("east", HERE, Other(), said(time=moment), GENESIS).headers
    assert headers["ce-time"] == "2026-01-02T03:04:05.000006Z"
    with pytest.raises(ValueError, match="time zone"):
        MAPPER.encode("east", HERE, Other(), said(time=AT.replace(tzinfo=None)), GENESIS)


@pytest.mark.parametrize("name", ["ce-aggregateversion", "ce-userid", "ce-time", "ce-previousdigest", "ce-type"])
def test_every_header_is_in_the_digest(name: str) -> None:
    envelope = MAPPER.encode("east", HERE, Other(), said(user_id="u"), GENESIS)
    assert digest(envelope.headers | {name: "x"}, envelope.body) != envelope.digest
    assert digest({k: v for k, v in envelope.headers.items() if k != name}, envelope.body) != envelope.digest
    assert digest(envelope.headers | {"Nats-Sequence": "1"}, envelope.body) == envelope.digest
    assert digest(envelope.headers, envelope.body + b" ") != envelope.digest


def test_a_gap_and_a_stranger_show() -> None:
    records = []
    tail = GENESIS
    for number in range(3):
        envelope = MAPPER.encode("east", HERE, Told(words=str(number)), said(event_id=str(number)), tail)
        records.append(MAPPER.decode(envelope.headers, envelope.body, number + 1))
        follows(tail, records[-1])
        tail = records[-1].tail
    with pytest.raises(BrokenChain):
        follows(records[0].tail, records[2])
    envelope = MAPPER.encode("east", HERE, Told(words="forged"), said(), records[0].tail._replace(digest="f" * 64))
    with pytest.raises(BrokenChain):
        follows(records[0].tail, MAPPER.decode(envelope.headers, envelope.body, 2))


def test_unknown_types_and_newer_versions_are_refused() -> None:
    class Strange(Event, tag="sample.strange"):
        pass

    class Newer(Event, tag="sample.other"):
        schema_version = 2

    with pytest.raises(UnknownEvent):
        MAPPER.encode("east", HERE, Strange(), said(), GENESIS)
    for mapper, event in (
        (EventMapper([Strange]), Strange()),
        (EventMapper([Newer], {("sample.other", 1): lambda body: body}), Newer()),
    ):
        envelope = mapper.encode("east", HERE, event, said(), GENESIS)
        with pytest.raises(UnknownEvent):
            MAPPER.decode(envelope.headers, envelope.body, 1)


def test_upcasters_work_in_turn() -> None:
    class Third(Event, tag="sample.told"):
        schema_version = 3
        text: str
        length: int

    mapper = EventMapper(
        [Third],
        {
            ("sample.told", 1): lambda body: {"text": body["words"]},
            ("sample.told", 2): lambda body: body | {"length": len(body["text"])},
        },
    )
    old = MAPPER.encode("east", HERE, Told(words="hello"), said(), GENESIS)
    assert mapper.decode(old.headers, old.body, 1).event == Third(text="hello", length=5)


def test_a_list_of_events_that_cannot_work_is_refused() -> None:
    class Nameless(Event):
        pass

    class Twin(Event, tag="sample.told"):
        pass

    class Stuck(Event, tag="sample.stuck"):
        schema_version = 2

    for events, word in (([Nameless], "stable"), ([Told, Twin], "both"), ([Stuck], "upcaster")):
        with pytest.raises(ValueError, match=word):
            EventMapper(events)


def test_something_else_is_no_event() -> None:
    envelope = MAPPER.encode("east", HERE, Told(words="hi"), said(), GENESIS)
    for headers, body in (
        ({}, b"{}"),
        (envelope.headers | {"ce-aggregateversion": "one"}, envelope.body),
        (envelope.headers | {"ce-time": "yesterday"}, envelope.body),
        (envelope.headers, b'{"type":"sample.told"}'),
        (envelope.headers, b"not JSON"),
    ):
        with pytest.raises(BrokenChain):
            MAPPER.decode(headers, body, 1)
    with pytest.raises(BrokenChain):
        unpack(b"[]")
    assert unpack(pack(envelope.headers, envelope.body)) == (envelope.headers, envelope.body)


def test_the_library_sees_stored_events() -> None:
    envelope = MAPPER.encode("east", HERE, Told(words="hi"), said(), GENESIS)
    recorded = MAPPER.decode(envelope.headers, envelope.body, 3)
    stored = MAPPER.to_stored_event(recorded)
    assert (stored.originator_id, stored.originator_version, stored.topic) == ("sample.1", 1, "sample.told@1")
    assert MAPPER.to_domain_event(stored, 3) == recorded


def test_it_is_quick() -> None:
    meta, event = said(user_id="u" * 32, project_id="p" * 32), Told(words="w" * 300)
    envelope = MAPPER.encode("east", HERE, event, meta, GENESIS)

    def best(work) -> float:
        rounds = []
        for _ in range(5):
            begun = time.process_time()
            for _ in range(1000):
                work()
            rounds.append((time.process_time() - begun) / 1000)
        return min(rounds)

    assert best(lambda: MAPPER.encode("east", HERE, event, meta, GENESIS)) < 30e-6
    assert best(lambda: MAPPER.decode(envelope.headers, envelope.body, 1)) < 30e-6
