"""Recorded requests for hosts, gone through once more."""

from random import Random

import pytest
from msgspec.structs import replace

from domain.errors import NoCapacity
from domain.fleet.host import Host, HostDisabled, HostEnrolled
from domain.fleet.host import aggregate as host_aggregate
from domain.guest import HostDescription
from domain.log.record import AggregateId
from domain.placement.ledger import Claimed, Ledger, LedgerChanged, Released, offer
from domain.placement.scheduling import NO_VALID_HOST, HostView, Multipliers, place
from domain.server.creation import ServerFailed, ServerPlaced, ServerRequested
from domain.server.deletion import ServerDeleted
from domain.server.parts import Fault
from domain.server.state import aggregate
from domain.server.steps import demand
from domain.whatif import WhatIf
from handlers.fleet.inventories import inventories
from tests.domain.server.servers import FLAVOR, LATER, NOW
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
