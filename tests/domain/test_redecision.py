"""What today's rules say to what was recorded: nothing, if it was decided by them; and what is otherwise, if not."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, get_args

import msgspec
import pytest

from domain.catalogue import quota
from domain.catalogue.quota import Limits, Reserved
from domain.kinds import EVENTS, KINDS
from domain.log.record import AggregateId, Event, Recorded, Unreadable
from domain.neighbours import network
from domain.neighbours.network import NetworkCreated, PortCreated, PortsChanged
from domain.placement.ledger import (
    Claimed,
    InventoriesSet,
    Inventory,
    LedgerChange,
    LedgerChanged,
    ProviderCreated,
    ProviderDeleted,
    Released,
)
from domain.redecision import BATCHES, RULES, Redecision
from domain.redecision.ledger import DECIDE, LedgerRun
from domain.server.action import ServerActionFailed
from domain.server.actions.power import ServerStarted, ServerStopped
from domain.server.details import ServerLocked, ServerRenamed
from domain.server.parts import Fault
from tests.domain.server.servers import GIVEN, LATER, SERVER_ID, START, STOP, meta

LIMITS = Limits(instances=2)


def told(aggregate: AggregateId, events: Iterable[Event], redecision: Redecision | None = None) -> list[str]:
    """What is otherwise: the number of the event, and how."""
    redecision = redecision or Redecision(LIMITS)
    found = []
    for number, event in enumerate(events, start=1):
        recorded = Recorded(
            cell="cell1", aggregate=aggregate, version=number, position=number, event=event, meta=meta(number),
            digest="", previous="",
        )  # fmt: skip
        found += [f"{number}: {each.instead}" for each in redecision.take(recorded)]
    return found


SERVER = AggregateId("server", SERVER_ID)
LEDGER, NETWORK, QUOTA = AggregateId("ledger", "cell1"), AggregateId("network", "n"), AggregateId("quota", "p")


SHORTENED = {"failed on host", "deleting unplaced"}
"""Histories that no rule leads to, since they leave out what other tests do not ask for."""


def test_there_is_a_rule_for_every_event() -> None:
    batched = [event for event in EVENTS if "changes" in event.__struct_fields__]
    assert set(EVENTS) == RULES.keys() | set(batched)
    assert BATCHES.keys() | {LedgerRun.KIND} == {
        kind.name for kind in KINDS.values() if not set(kind.events).isdisjoint(batched)
    }
    assert set(get_args(LedgerChange)) == DECIDE.keys() | {Claimed, Released}


@pytest.mark.parametrize("state", [state for state in GIVEN if state not in SHORTENED])
def test_what_was_decided_by_these_rules_is_decided_so_again(state: str) -> None:
    assert told(SERVER, GIVEN[state]) == []


ACTIVE = GIVEN["active"]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([*ACTIVE, START], "4: refused: Cannot 'start' instance"),
        ([*ACTIVE, STOP, ServerStarted(epoch=1)], "5: server.stopped"),
        ([*ACTIVE, ServerStopped(epoch=1)], "4: nothing"),
        ([*ACTIVE, STOP, ServerStopped(epoch=2)], "5: nothing"),
        ([*ACTIVE, ServerRenamed(name="web")], "4: nothing"),
        ([*ACTIVE, *ACTIVE[:1]], "4: refused: Instance"),
        ([*GIVEN["deleted"], ServerRenamed(name="x")], "6: refused"),
        ([*ACTIVE, ServerLocked(by_owner=True), ServerLocked(by_owner=True)], "5: nothing"),
        (
            [*ACTIVE, STOP, ServerActionFailed(fault=Fault(code=500, message="m"), to_error=True)],
            "5: to_error=False instead of True",
        ),
        ([ServerRenamed(name="x")], "1: refused"),
    ],
)
def test_what_no_rule_allows_is_told(history: list[Event], expected: str) -> None:
    (difference,) = told(SERVER, history)
    assert difference.startswith(expected)


def test_what_cannot_be_read_puts_its_aggregate_aside() -> None:
    redecision = Redecision(LIMITS)
    assert told(SERVER, [*ACTIVE, Unreadable(type_name="x", reason="y"), START], redecision) == []
    assert (redecision.decided, redecision.passed_over) == (3, 2)


def test_what_does_not_fit_together_is_told_once() -> None:
    redecision = Redecision(LIMITS)
    changed = LedgerChanged(changes=(Claimed(consumer_id="c", epoch=1, project_id="p", user_id="u",
                                             allocations={"gone": {"VCPU": 1}}),))  # fmt: skip
    first = told(LEDGER, [changed, changed], redecision)
    assert len(first) == 1
    assert "does not follow from what came before" in first[0]
    assert redecision.passed_over == 1


def claim(consumer: str, amount: int, request: str) -> Claimed:
    return Claimed(
        consumer_id=consumer, epoch=1, project_id="p", user_id="u", allocations={"host": {"VCPU": amount}},
        request_id=request,
    )  # fmt: skip


def offered(total: int) -> InventoriesSet:
    return InventoriesSet(provider_id="host", inventories={"VCPU": Inventory(total=total)})


HOST = LedgerChanged(changes=(ProviderCreated(provider_id="host", name="host"), offered(4)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ((claim("a", 4, "1"),), []),
        ((claim("a", 3, "1"), claim("b", 2, "2")), ["2: claimed refused: 5 VCPU of provider host exceeds"]),
        ((claim("a", 4, "1"), Released(consumer_id="a", request_id="2"), claim("b", 4, "3")), []),
        ((Released(consumer_id="a", request_id="1"),), ["2: released: nothing"]),
        ((ProviderDeleted(provider_id="host"),), []),
        ((claim("a", 1, "1"), ProviderDeleted(provider_id="host")), ["2: provider_deleted refused"]),
        ((claim("a", 4, "1"), offered(2), claim("a", 3, "2")), []),  # beyond its capacity, and less so
        ((ProviderCreated(provider_id="other", name="host"),), ["2: provider_created refused: Conflicting"]),
    ],
)
def test_room_is_what_counts_in_the_ledger(changes: tuple[Any, ...], expected: list[str]) -> None:
    found = told(LEDGER, [HOST, LedgerChanged(changes=changes)])
    assert [each.startswith(words) for each, words in zip(found, expected, strict=True)] == [True] * len(expected)


def test_in_a_reshape_nothing_has_to_fit_in_between() -> None:
    moved = (
        claim("a", 4, "r"),
        msgspec.structs.replace(offered(4), request_id="r"),
    )
    shrunk = LedgerChanged(changes=(ProviderCreated(provider_id="host", name="host"), offered(1)))
    assert told(LEDGER, [shrunk, LedgerChanged(changes=moved)]) == []


def port(number: int, address: str, mac: str = "fa:16:3e:00:00:01") -> PortCreated:
    return PortCreated(
        port_id=f"00000000-0000-4000-8000-00000000000{number}", server_id=f"s{number}", cell="cell1", project_id="p",
        index=0, mac_address=mac, ip_address=address,
    )  # fmt: skip


def test_an_address_is_given_out_once() -> None:
    made = NetworkCreated(network_id="n", name="n", project_id="p", subnet_id="s", cidr="10.0.0.0/24")
    good = port(1, "10.0.0.3")
    assert told(NETWORK, [made, PortsChanged(changes=(good,))]) == []
    twice = PortsChanged(changes=(good, port(2, "10.0.0.3", "fa:16:3e:00:00:02")))
    (difference,) = told(NETWORK, [made, twice])
    assert difference == "2: port_created refused: Fixed IP address 10.0.0.3 is already in use."
    (gateway,) = told(NETWORK, [made, PortsChanged(changes=(port(1, "10.0.0.1"),))])
    assert "is not a valid ip address" in gateway
    assert network.KIND.batching


def test_quota_is_by_the_projects_limits_or_those_of_today() -> None:
    reserved = [
        quota.QuotaChanged(changes=(Reserved(server_id=f"s{number}", cell="cell1", cores=1, ram_mb=1),))
        for number in range(3)
    ]
    (difference,) = told(QUOTA, reserved)
    assert difference.startswith("3: reserved refused: Quota exceeded for instances")
    own = quota.QuotaChanged(changes=(quota.LimitsSet(limits=Limits(instances=3)),))
    assert told(QUOTA, [own, *reserved]) == []
    assert told(QUOTA, [reserved[0], reserved[0]]) == ["2: reserved: nothing, there was nothing to record"]


def test_time_is_up_when_it_is() -> None:
    expired = ServerActionFailed(
        fault=Fault(code=500, message="The stop did not finish in time. Its host may be out of reach."), to_error=True
    )
    recorded = Recorded(
        cell="cell1", aggregate=SERVER, version=5, position=5, event=expired,
        meta=msgspec.structs.replace(meta(5), time=LATER), digest="", previous="",
    )  # fmt: skip
    for late in (True, False):
        redecision = Redecision(LIMITS)
        assert told(SERVER, [*ACTIVE, STOP], redecision) == []
        at = LATER if late else LATER - timedelta(seconds=1)
        here = msgspec.structs.replace(recorded, meta=msgspec.structs.replace(recorded.meta, time=at))
        assert bool(redecision.take(here)) is not late
