"""The recorder passes the library's own test cases, and speaks the services' dialect."""

import itertools
import threading
import uuid

import msgspec
import pytest
from eventsourcing.persistence import ApplicationRecorder, IntegrityError, StoredEvent
from eventsourcing.tests.persistence import ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase

from adapters.nats.recorder import NatsApplicationRecorder
from domain.log.record import GENESIS
from ops.embedded.nats import EmbeddedNats
from ops.embedded.nats_accounts import CONTROL
from tests.aio import run
from tests.contract.test_event_store import append_some
from tests.contract.worlds import MAPPER, NatsWorld, aggregate, meta

pytestmark = pytest.mark.nats

_cells = itertools.count(1)


class _OnNats:
    @pytest.fixture(autouse=True)
    def _server(self, nats_server: EmbeddedNats):
        self.server = nats_server
        self.recorders: list[NatsApplicationRecorder] = []
        yield
        for recorder in self.recorders:
            recorder.close()

    def create_recorder(self) -> ApplicationRecorder:
        recorder = NatsApplicationRecorder(
            self.server.url, f"recorder{next(_cells)}", self.server.credentials(CONTROL)
        )
        self.recorders.append(recorder)
        return recorder


class TestApplicationRecorder(_OnNats, ApplicationRecorderTestCase):
    def test_subscribe(self) -> None:
        self.optional_test_insert_subscribe()

    def test_a_blocked_subscription_is_stopped_by_another_thread(self) -> None:
        recorder = self.create_recorder()
        with recorder.subscribe() as subscription:
            threading.Timer(0.05, subscription.stop).start()
            assert list(subscription) == []


class TestNonInterleaving(_OnNats, NonInterleavingNotificationIDsBaseCase):
    pass


# The library's own base cases are no tests here.
del ApplicationRecorderTestCase, NonInterleavingNotificationIDsBaseCase


def test_all_or_none_over_several_originators(nats_server: EmbeddedNats) -> None:
    recorder = NatsApplicationRecorder(nats_server.url, f"recorder{next(_cells)}", nats_server.credentials(CONTROL))
    one, two = uuid.uuid4(), uuid.uuid4()
    assert recorder.insert_events([StoredEvent(one, 1, "t", b"x")]) == [1]
    with pytest.raises(IntegrityError):
        recorder.insert_events([StoredEvent(two, 1, "t", b"x"), StoredEvent(one, 1, "t", b"y")])
    assert recorder.select_events(two) == []
    both = [StoredEvent(two, 1, "t", b"\x00x"), StoredEvent(one, 2, "t", b"y"), StoredEvent(two, 2, "t", b"")]
    assert recorder.insert_events(both) == [2, 3, 4]
    assert recorder.select_events(two) == [both[0], both[2]]
    recorder.close()


@pytest.mark.parametrize("originator", [uuid.uuid4(), "a.b c", "plain", "ü"])
def test_originators_come_back_as_they_were(nats_server: EmbeddedNats, originator: object) -> None:
    recorder = NatsApplicationRecorder(nats_server.url, f"recorder{next(_cells)}", nats_server.credentials(CONTROL))
    stored = StoredEvent(originator, 1, "module:Class.Event", b"state")
    recorder.insert_events([stored])
    assert recorder.select_events(originator) == [stored]
    assert recorder.select_notifications(None, 10)[0].originator_id == originator
    recorder.close()


def test_services_and_recorder_read_and_write_one_log(nats_server: EmbeddedNats) -> None:
    world = NatsWorld(nats_server)

    async def write() -> list:
        async with world:
            return await append_some(await world.store(), aggregate("a.b"), 3)

    records = run(write())
    recorder = NatsApplicationRecorder(nats_server.url, world.cell, nats_server.credentials(CONTROL))
    stored = recorder.select_events("sample.a.b")
    assert stored == [MAPPER.to_stored_event(recorded) for recorded in records]
    assert [MAPPER.to_domain_event(event, n) for n, event in enumerate(stored, 1)] == records

    async def make_another() -> list:
        async with NatsWorld(nats_server) as elsewhere:
            elsewhere.cell = world.cell
            return await (await elsewhere.store()).load(aggregate("other"), GENESIS)

    other = msgspec.structs.replace(records[0], aggregate=aggregate("other"), meta=meta())
    recorder.insert_events([MAPPER.to_stored_event(other)])
    assert [recorded.event for recorded in run(make_another())] == [records[0].event]
    with pytest.raises(IntegrityError):
        recorder.insert_events([StoredEvent("sample.other", 2, stored[2].topic, stored[2].state)])
    recorder.close()
