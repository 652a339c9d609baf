"""What hosts are told about the guests that they report."""

from collections.abc import Sequence
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from msgspec.structs import replace

from adapters.mapper import EventMapper
from adapters.memory.broker import Broker
from adapters.memory.store import MemoryEventStore
from adapters.system import SystemClock, SystemIds
from domain.guest import GuestState, PowerState
from domain.kinds import EVENTS
from domain.log.record import GENESIS, Event, Recorded
from domain.server.deletion import ServerDeleted
from domain.server.moves import live
from domain.server.moves.cold import ServerResizeConfirmed
from domain.server.moves.course import ServerMoveAbandoned
from domain.server.moves.live import ServerTargetReady
from domain.server.moves.orders import Orders
from domain.server.moves.steering import ServerMigrationAbortRequested
from domain.server.state import ACTIVE, aggregate, existing
from domain.server.state import STOPPED as STOPPED_STATE
from handlers.conducting.reports import Reports
from handlers.conducting.states import ServerStates
from handlers.context import Stamp
from handlers.fleet.refusals import Refusals
from handlers.messages import Answer, Observation, Report, StillWanted, answer_decoder, encode
from tests.aio import asynchronous
from tests.cell import Cell
from tests.domain.server.moves.servers import ARRIVED, CHOSEN, CLEARED, CONFIRM, MOVING, RESIZE
from tests.domain.server.moves.test_evacuation import HISTORIES as EVACUATION
from tests.domain.server.servers import (
    BUILT,
    DELETE,
    FAULT,
    LATER,
    PLACED,
    REQUESTED,
    SERVER_ID,
    STOP,
    STOPPED,
    told_by,
)  # fmt: skip

ALIVE: tuple[Event, ...] = (REQUESTED, PLACED, BUILT)
GUEST = GuestState(server_id=SERVER_ID, epoch=1, power_state=PowerState.RUNNING)


@pytest.mark.parametrize(
    ("history", "host", "removed"),
    [
        (ALIVE, "node1", False),
        (ALIVE, "node2", True),
        ((*ALIVE, DELETE), "node1", False),
        ((*ALIVE, DELETE, ServerDeleted()), "node1", True),
        # Its host was silent then; it may have failed to remove the guest when it came back.
        ((*ALIVE, DELETE, ServerDeleted(without_host=True)), "node1", True),
        ((), "node1", False),
    ],
)
@asynchronous
async def test_guests_that_must_not_be_there(history: tuple[Event, ...], host: str, *, removed: bool) -> None:
    answer = await answered(history, host, Observation(request_id=f"req-{uuid4()}", guests=(GUEST,)))
    assert answer.remove == ((GUEST,) if removed else ())


def fenced_hosts(*fenced: str) -> Any:
    """The hosts, of which these are fenced."""
    return Mock(fenced=lambda host: host in fenced)


async def answered(history: Sequence[Event], host: str, report: Report, fenced: str = "") -> Answer:
    """What is answered to a report on the server of that history."""
    stamp = Stamp(SystemClock(), SystemIds())
    store = MemoryEventStore(Broker(SystemClock()), "cell1", EventMapper(EVENTS))
    tail = GENESIS
    for event in history:
        tail = (await store.append(aggregate(SERVER_ID), event, stamp(stamp.own_context()), tail)).tail
    reports = Reports(ServerStates(store, stamp), Mock(), Mock(), fenced_hosts(fenced), Refusals(), SystemClock())
    answer: Answer = answer_decoder.decode(await reports.handle(host, encode(report)))
    return answer


@asynchronous
async def test_a_fenced_host_is_told_what_it_must_not_have_and_counts_for_nothing() -> None:
    observation = Observation(request_id=f"req-{uuid4()}", guests=(replace(GUEST, power_state=PowerState.SHUTDOWN),))
    for host, removed in (("node1", ()), ("node2", observation.guests)):
        answer = await answered(ALIVE, host, observation, fenced=host)
        assert (answer.fenced, answer.remove) == (True, removed)
    question = StillWanted(request_id=f"req-{uuid4()}", server_id=SERVER_ID, epoch=1, version=4)
    assert await answered((*ALIVE, STOP), "node1", question) == Answer()
    assert await answered((*ALIVE, STOP), "node1", question, fenced="node1") == Answer(wanted=False, fenced=True)


@pytest.mark.parametrize("fenced", ["", "node1"])
@pytest.mark.parametrize(
    ("state", "removed", "given"), [("choosing", False, False), ("making", False, True), ("evacuated", True, False)]
)
@asynchronous
async def test_a_dead_host_that_is_back_runs_nothing_of_what_is_made_anew(
    state: str, fenced: str, *, removed: bool, given: bool
) -> None:
    observation = Observation(request_id=f"req-{uuid4()}", guests=(GUEST,))
    answer = await answered(EVACUATION[state], "node1", observation, fenced=fenced)
    assert answer == Answer(
        wanted=not fenced,
        remove=(GUEST,) if removed else (),
        give=(GUEST,) if given else (),
        fenced=bool(fenced),
    )


@asynchronous
async def test_of_a_deleted_server_nothing_stays_of_any_assignment() -> None:
    """A move within its host may have left its former disk, of which nobody would ever see a guest."""
    history = (*MOVING["resized"], DELETE, ServerDeleted(without_host=True))
    guest = replace(GUEST, epoch=2)
    answer = await answered(history, "node2", Observation(request_id=f"req-{uuid4()}", guests=(guest,)))
    assert answer.remove == (guest, replace(guest, epoch=1))


@pytest.mark.parametrize(("state", "wanted"), [("receiving", True), ("undone", False), ("undoing", True)])
@asynchronous
async def test_what_a_target_was_told_is_not_wanted_once_nothing_is_left_there(state: str, *, wanted: bool) -> None:
    """It may have lain in its queue while the target could not be reached; the source goes on with the server."""
    histories = MOVING | {"undone": [*MOVING["undoing"], CLEARED]}
    version = MOVING["receiving"].index(RESIZE) + 1
    report = StillWanted(request_id=f"req-{uuid4()}", server_id=SERVER_ID, epoch=2, version=version)
    answer = await answered(histories[state], "node2", report)
    assert answer.wanted is wanted
    assert [guest.epoch for guest in answer.remove] == ([] if wanted else [2])


class Counted(MemoryEventStore):
    """Counts how often a history is read."""

    loads = 0

    async def load_first(self, *asked: Any) -> tuple[list[Recorded], bool]:
        self.loads += 1
        return await super().load_first(*asked)


@asynchronous
async def test_a_guest_that_is_as_it_was_costs_nothing_though_its_server_is_not_remembered() -> None:
    stamp = Stamp(SystemClock(), SystemIds())
    store = Counted(Broker(SystemClock()), "cell1", EventMapper(EVENTS))
    states = ServerStates(store, stamp)
    reports = Reports(states, Mock(), Mock(), fenced_hosts(), Refusals(), SystemClock())
    tail = GENESIS

    async def happen(*events: Event) -> None:
        nonlocal tail
        for event in events:
            recorded = await store.append(aggregate(SERVER_ID), event, stamp(stamp.own_context()), tail)
            tail = recorded.tail
            states.advance(recorded)

    async def observe(host: str, guest: GuestState, **versions: int) -> int:
        """How often the log was asked."""
        states.forget(SERVER_ID)
        before = store.loads
        report = Observation(request_id=f"req-{uuid4()}", guests=(guest,), versions=versions)
        await reports.handle(host, encode(report))
        return store.loads - before

    await happen(*ALIVE)
    assert await observe("node1", GUEST) == 1
    assert await observe("node1", GUEST) == 0
    assert await observe("node2", GUEST)
    await happen(STOP, STOPPED)
    # It still runs, says an observation from before the stop: that is no reason to believe the same later.
    old = {SERVER_ID: 1}
    assert await observe("node1", GUEST, **old)
    assert await observe("node1", GUEST, **old)
    assert await observe("node1", GUEST)
    assert (await states.get(SERVER_ID)).vm_state == ACTIVE  # type: ignore[union-attr]


@asynchronous
async def test_what_a_confirmed_servers_host_sees_counts_though_it_was_told_of_no_confirmation() -> None:
    cell = Cell()
    server_id = await cell.server()
    states = ServerStates(cell.store, cell.stamp)
    reports = Reports(states, Mock(), Mock(), fenced_hosts(), Refusals(), SystemClock())
    await cell.tell(server_id, RESIZE, *ARRIVED)
    resized = await states.get(server_id)
    assert resized
    await cell.tell(server_id, CONFIRM, ServerResizeConfirmed(epoch=1))
    states.forget(server_id)
    off = GuestState(server_id=server_id, epoch=2, power_state=PowerState.SHUTDOWN)
    seen = Observation(request_id=f"req-{uuid4()}", guests=(off,), versions={server_id: resized.last_action})
    await reports.handle("node2", encode(seen))
    confirmed = await states.get(server_id)
    assert confirmed
    assert confirmed.vm_state == STOPPED_STATE


LIVE = live.migrate(existing(told_by(ALIVE), SERVER_ID), LATER, None, "force_complete")
LEAVING: tuple[Event, ...] = (*ALIVE, LIVE, CHOSEN, ServerTargetReady(epoch=2))


@pytest.mark.parametrize(("history", "host", "epoch", "kind", "orders"), [
    (LEAVING, "node1", 1, "leave", Orders(deadline=LATER, policy="force_complete")),
    ((*LEAVING, ServerMigrationAbortRequested()), "node1", 1, "leave",
     Orders(deadline=LATER, policy="force_complete", order="abort")),
    (LEAVING[:-1], "node2", 2, "prepare", Orders(deadline=LATER, policy="force_complete")),
    (LEAVING, "node2", 2, "prepare", None),
    ((*LEAVING, DELETE), "node1", 1, "leave", None),
    ((*LEAVING, ServerMoveAbandoned(fault=FAULT, deadline=LATER)), "node1", 1, "leave", None),
])  # fmt: skip
@asynchronous
async def test_who_carries_out_what_takes_long_is_told_what_is_wanted_by_now(
    history: tuple[Event, ...], host: str, epoch: int, kind: str, orders: Orders | None
) -> None:
    question = StillWanted(
        request_id=f"req-{uuid4()}", server_id=SERVER_ID, epoch=epoch, version=len(ALIVE) + 1, kind=kind
    )
    answer = await answered(history, host, question)
    assert (answer.wanted, answer.orders) == (orders is not None, orders)
