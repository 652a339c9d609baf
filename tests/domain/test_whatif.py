"""Recorded requests for hosts, gone through once more."""

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from domain.errors import NoCapacity
from domain.fleet.host import Host, HostDisabled, HostEnrolled
from domain.fleet.host import aggregate as host_aggregate
from domain.guest import HostDescription, PowerState
from domain.log.record import AggregateId, Event
from domain.placement.ledger import Claimed, Ledger, LedgerChange, LedgerChanged, Released, offer
from domain.placement.moving import claim_target, settle
from domain.placement.scheduling import NO_VALID_HOST, HostView, Multipliers, place
from domain.server.creation import ServerFailed, ServerPlaced, ServerRequested
from domain.server.deletion import ServerDeleted, ServerElsewhereCleared
from domain.server.moves import cold
from domain.server.moves.cold import (
    ServerMoved,
    ServerResizeConfirmed,
    ServerResizeConfirmRequested,
    ServerResizeReverted,
    ServerResizeRevertRequested,
    ServerSourceReady,
)
from domain.server.moves.course import (
    ServerMoveAbandoned,
    ServerMoveReturned,
    ServerTargetChosen,
    ServerTargetCleared,
    at_rest,
    left_on,
)
from domain.server.moves.dead_hosts import ServerTargetLeft
from domain.server.parts import Fault
from domain.server.state import Server, aggregate
from domain.server.steps import demand, demand_of_move
from domain.whatif import WhatIf
from handlers.fleet.inventories import inventories
from tests.domain.server.moves.servers import LARGER
from tests.domain.server.servers import BUILT, DELETE, FLAVOR, LATER, NOW
from tests.projections.histories import CELL, Log, server_id, servers_of

SIZES = {"a": (8, 8192), "b": (8, 8192), "c": (16, 4096)}
SPREAD, PACK = Multipliers(), Multipliers(-1, -1, -1)


def described(name: str) -> HostDescription:
    vcpus, memory_mb = SIZES.get(name, (64, 65536))
    return HostDescription(
        name=name, hypervisor_type="", hypervisor_version=0, vcpus=vcpus, memory_mb=memory_mb, disk_gb=1000
    )


def view(name: str) -> HostView:
    return HostView(id=f"id-{name}", name=name, availability_zone="nova", enabled=True, up=True)


def with_hosts(*names: str) -> Ledger:
    ledger = Ledger()
    for name in names:
        for change in offer(ledger, f"id-{name}", name, inventories(described(name))):
            ledger.apply(change)
    return ledger


def hosts() -> dict[str, Host]:
    return {
        name: Host(
            id=f"id-{name}", name=name, description=described(name), availability_zone="nova", enrolled_at=NOW,
            updated_at=NOW,
        )
        for name in SIZES
    }  # fmt: skip


def recorded(seed: int, requests: int = 60) -> Log:
    """What a conductor records: servers come and go, some find no host."""
    random, log, ledger = Random(seed), Log(), with_hosts(*SIZES)
    views = {f"id-{name}": view(name) for name in SIZES}
    living: list[str] = []
    ledger_id = AggregateId("ledger", CELL)
    for number in range(requests):
        if living and random.random() < 0.25:
            gone = living.pop(random.randrange(len(living)))
            released = Released(consumer_id=gone)
            ledger.apply(released)
            log.add(ledger_id, LedgerChanged(changes=(released,)), "req")
            log.add(aggregate(gone), ServerDeleted(), "req")
            continue
        me, ram = server_id(number), random.choice((512, 1024, 2048))
        flavor = replace(FLAVOR, ram_mb=ram, vcpus=random.choice((1, 2)))
        asked = ServerRequested(
            server_id=me, name=f"s{number}", project_id="p", user_id="u", flavor=flavor, deadline=LATER
        )
        log.add(aggregate(me), asked, "req")
        (server,) = [one for one in servers_of(log.recorded) if one.id == me]
        try:
            claim = place(ledger, views, demand(server))
        except NoCapacity as error:
            log.add(aggregate(me), ServerFailed(fault=Fault(code=500, message=error.message)), "req")
            continue
        ledger.apply(claim)
        living.append(me)
        log.add(ledger_id, LedgerChanged(changes=(claim,)), "req")
        name = views[next(iter(claim.allocations))].name
        placed = ServerPlaced(host=name, host_id=f"id-{name}", epoch=1, availability_zone="nova")
        log.add(aggregate(me), placed, "req")
    return log


def gone_through(log: Log, replay: WhatIf) -> WhatIf:
    for event in log.recorded:
        assert replay.unknown(event) == []
        replay.take(event)
    return replay


@pytest.mark.parametrize("seed", range(20))
def test_with_nothing_otherwise_all_comes_as_it_was_recorded(seed: int):
    log = recorded(seed)
    replay = gone_through(log, WhatIf(with_hosts(*SIZES), hosts(), SPREAD))
    assert replay.changed == []
    assert replay.placed == sum(isinstance(event.event, ServerRequested) for event in log.recorded)


@pytest.mark.parametrize("seed", range(5))
def test_a_host_that_was_not_there_gets_nothing(seed: int):
    replay = gone_through(recorded(seed), WhatIf(with_hosts(*SIZES), hosts(), SPREAD, without=("a",)))
    assert replay.changed
    assert all(change.recorded == "a" or change.instead != change.recorded for change in replay.changed)
    assert not replay.ledger.providers["id-a"].consumers
    assert any(change.instead is None and "lacks" in change.why for change in replay.changed)


@pytest.mark.parametrize("seed", range(5))
def test_one_more_host_takes_who_found_none(seed: int):
    more = {"id-new": view("new")}
    replay = gone_through(recorded(seed), WhatIf(with_hosts(*SIZES, "new"), hosts(), SPREAD, more=more))
    failed = sum(
        NO_VALID_HOST in getattr(getattr(e.event, "fault", None), "message", "") for e in recorded(seed).recorded
    )
    found = [change for change in replay.changed if change.recorded is None]
    assert (len(found), failed > 0) == (failed, True)
    assert not [change for change in replay.changed if change.instead is None]


def test_packed_servers_leave_hosts_empty():
    few = recorded(0, requests=4)
    assert (
        len(
            {
                next(iter(c.allocations))
                for c in claims(gone_through(few, WhatIf(with_hosts(*SIZES), hosts(), SPREAD)))
            }
        )
        > 1
    )
    packed = gone_through(few, WhatIf(with_hosts(*SIZES), hosts(), PACK))
    assert len({next(iter(claim.allocations)) for claim in claims(packed)}) == 1


def claims(replay: WhatIf) -> list:
    return list(replay.ledger.claims.values())


def test_hosts_change_as_they_were_recorded_to():
    log = Log()
    log.add(host_aggregate("new"), HostEnrolled(host_id="id-new", description=described("new")), "req")
    log.add(host_aggregate("a"), HostDisabled(reason="repair"), "req")
    for event in recorded(1).recorded:
        log.add(event.aggregate, event.event, "req")
    replay = gone_through(log, WhatIf(with_hosts(*SIZES, "new"), hosts(), SPREAD))
    assert not replay.ledger.providers["id-a"].consumers
    assert replay.ledger.providers["id-new"].consumers


def test_servers_from_before_have_to_be_told():
    log = recorded(2)
    replay = WhatIf(with_hosts(*SIZES), hosts(), SPREAD)
    claimed = next(event for event in log.recorded if isinstance(event.event, LedgerChanged))
    (unknown,) = replay.unknown(claimed)
    replay.know(unknown, next(server for server in servers_of(log.recorded[:1]) if server.id == unknown))
    assert replay.unknown(claimed) == []
    replay.take(claimed)
    assert (replay.placed, replay.changed) == (1, [])


def test_what_speaks_of_what_is_not_there_is_left_out_and_counted():
    elsewhere = Claimed(consumer_id="x", epoch=0, project_id="p", user_id="u", allocations={"gone": {"VCPU": 1}})
    log = Log()
    log.add(AggregateId("ledger", CELL), LedgerChanged(changes=(elsewhere,)), "req")
    replay = gone_through(log, WhatIf(with_hosts(*SIZES), hosts(), SPREAD))
    assert (replay.left_out, "x" in replay.ledger.claims) == (1, False)


def test_a_fault_of_ours_is_not_taken_for_that(monkeypatch: pytest.MonkeyPatch):
    replay = WhatIf(with_hosts(*SIZES), hosts(), SPREAD)

    def broken(_change: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(replay.ledger, "apply", broken)
    with pytest.raises(ZeroDivisionError):
        gone_through(recorded(0), replay)


class Course:
    """What a conductor records of servers that come, move, and stay, return or end."""

    def __init__(self) -> None:
        self.log, self.ledger = Log(), with_hosts(*SIZES)
        self.views = {f"id-{name}": view(name) for name in SIZES}

    def server(self, server: str) -> Server:
        return next(one for one in servers_of(self.log.recorded) if one.id == server)

    def happen(self, server: str, event: Event) -> None:
        self.log.add(aggregate(server), event, "req")

    def change(self, changes: tuple[LedgerChange, ...]) -> None:
        for change in changes:
            self.ledger.apply(change)
        if changes:
            self.log.add(AggregateId("ledger", CELL), LedgerChanged(changes=changes), "req")

    def create(self, number: int) -> str:
        me = server_id(number)
        self.happen(me, ServerRequested(
            server_id=me, name=f"s{number}", project_id="p", user_id="u", flavor=FLAVOR, deadline=LATER
        ))  # fmt: skip
        claim = place(self.ledger, self.views, demand(self.server(me)))
        self.change((claim,))
        name = self.views[next(iter(claim.allocations))].name
        self.happen(me, ServerPlaced(host=name, host_id=f"id-{name}", epoch=1, availability_zone="nova"))
        self.happen(me, BUILT)
        return me

    def choose(self, me: str, *, may_stay: bool = False) -> ServerTargetChosen:
        server = self.server(me)
        assert server.move
        claims = claim_target(self.ledger, self.views, demand_of_move(server), server.move.id, may_stay=may_stay)
        self.change(claims)
        name = self.views[next(iter(claims[-1].allocations))].name
        chosen = ServerTargetChosen(host=name, host_id=f"id-{name}", epoch=claims[-1].epoch, availability_zone="nova")
        self.happen(me, chosen)
        return chosen

    def arrive(self, me: str, chosen: ServerTargetChosen) -> None:
        self.happen(me, ServerSourceReady(epoch=self.server(me).epoch))
        self.happen(me, ServerMoved(epoch=chosen.epoch, power_state=PowerState.RUNNING))

    def end(self, me: str, event: Event) -> None:
        rest, move = at_rest(self.server(me)), self.server(me).move
        assert move
        left = left_on(self.server(me))
        self.change(settle(self.ledger, me, move.id, rest.host_id, rest.amounts, rest.epoch, "req", left))
        self.happen(me, event)

    def confirm(self, me: str) -> None:
        self.happen(me, ServerResizeConfirmRequested(deadline=LATER))
        self.end(me, ServerResizeConfirmed(epoch=1))

    def revert(self, me: str, target: int) -> None:
        self.happen(me, ServerResizeRevertRequested(deadline=LATER))
        self.happen(me, ServerTargetCleared(epoch=target))
        self.end(me, ServerResizeReverted(epoch=target + 1, power_state=PowerState.RUNNING))


def moves() -> Course:
    """One is migrated and confirmed, one resized and reverted, one comes back from a host that died, two
    deleted meanwhile, one found no target."""
    course = Course()
    first, second, third, fourth, fifth, sixth = (course.create(number) for number in range(6))
    course.happen(first, cold.migrate(course.server(first), LATER, None, None))
    course.arrive(first, course.choose(first))
    course.confirm(first)
    course.happen(second, cold.resize(course.server(second), LATER, LARGER, None))
    chosen = course.choose(second, may_stay=True)
    course.arrive(second, chosen)
    course.revert(second, chosen.epoch)
    course.happen(third, cold.migrate(course.server(third), LATER, None, None))
    course.choose(third)
    course.happen(third, DELETE)
    course.end(third, ServerElsewhereCleared())
    course.change((Released(consumer_id=third),))
    course.happen(third, ServerDeleted())
    course.happen(fifth, cold.migrate(course.server(fifth), LATER, None, None))
    course.arrive(fifth, course.choose(fifth))
    course.happen(fifth, DELETE)
    course.change((Released(consumer_id=fifth),))
    course.end(fifth, ServerElsewhereCleared())
    course.happen(fifth, ServerDeleted())
    course.happen(sixth, cold.migrate(course.server(sixth), LATER, None, None))
    chosen = course.choose(sixth)
    course.arrive(sixth, chosen)
    course.happen(sixth, ServerResizeRevertRequested(deadline=LATER))
    course.happen(sixth, ServerTargetLeft(epoch=chosen.epoch))
    course.end(sixth, ServerResizeReverted(epoch=chosen.epoch + 1, power_state=PowerState.RUNNING))
    course.happen(fourth, cold.migrate(course.server(fourth), LATER, "gone", None))
    nowhere = Fault(code=500, message=NO_VALID_HOST)
    course.happen(fourth, ServerMoveAbandoned(fault=nowhere, deadline=LATER))
    course.end(fourth, ServerMoveReturned(epoch=1, power_state=PowerState.RUNNING))
    return course


def held(ledger: Ledger) -> dict[str, tuple[int, Any]]:
    return {name: (claim.epoch, claim.allocations) for name, claim in ledger.claims.items()}


def test_servers_that_moved_come_where_they_came() -> None:
    course = moves()
    replay = gone_through(course.log, WhatIf(with_hosts(*SIZES), hosts(), SPREAD))
    assert (replay.changed, replay.left_out, replay.placed) == ([], 0, 12)
    assert held(replay.ledger) == held(course.ledger)


@pytest.mark.parametrize("without", SIZES)
def test_without_a_host_they_move_between_the_others_and_hold_one_claim_each(without: str) -> None:
    course = moves()
    replay = gone_through(course.log, WhatIf(with_hosts(*SIZES), hosts(), SPREAD, without=(without,)))
    assert not replay.ledger.providers[f"id-{without}"].consumers
    assert held(replay.ledger).keys() == held(course.ledger).keys()
    amounts = {me: list(allocations.values()) for me, (_, allocations) in held(replay.ledger).items()}
    assert amounts == {me: list(allocations.values()) for me, (_, allocations) in held(course.ledger).items()}


def test_who_had_no_other_host_stays_what_it_was() -> None:
    course = moves()
    replay = gone_through(course.log, WhatIf(with_hosts(*SIZES), hosts(), SPREAD, without=("a", "b")))
    assert replay.ledger.providers["id-c"].consumers.keys() == {
        one for one, (epoch, _) in held(course.ledger).items() if epoch
    }
    assert [change.instead for change in replay.changed if change.name == "s0"][-1] is None


@pytest.mark.parametrize("known", range(40))
def test_a_move_that_began_before_ends_as_it_was_recorded(known: int) -> None:
    log = moves().log
    ledger = with_hosts(*SIZES)
    before, rest = log.recorded[:known], log.recorded[known:]
    for event in before:
        for change in event.event.changes if isinstance(event.event, LedgerChanged) else ():
            ledger.apply(change)
    replay = WhatIf(ledger, hosts(), SPREAD)
    for event in rest:
        for unknown in replay.unknown(event):
            replay.know(unknown, next((one for one in servers_of(before) if one.id == unknown), None))
        replay.take(event)
    assert replay.changed == []
    assert held(replay.ledger) == held(moves().ledger)
