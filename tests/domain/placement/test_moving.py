"""Claims of servers that move: where a server may stay that no other host takes."""

from typing import Any

import pytest
from msgspec.structs import replace

from domain.errors import NoCapacity
from domain.placement.ledger import Ledger, TraitsSet, imbalances, offer
from domain.placement.moving import claim_target, settle
from domain.placement.scheduling import Demand, HostView, place
from handlers.fleet.inventories import inventories
from tests.domain.test_whatif import described

HERE = HostView(id="id-a", name="a", availability_zone="nova", enabled=True, up=True)
SMALL = Demand(
    server_id="s", epoch=1, project_id="p", user_id="u", resources={"VCPU": 1, "MEMORY_MB": 2048, "DISK_GB": 1}
)
LARGE = replace(SMALL, epoch=2, source="a", resources={"VCPU": 4, "MEMORY_MB": 1024, "DISK_GB": 1})
TRAIT = "CUSTOM_GOLD"


@pytest.fixture
def ledger() -> Ledger:
    """One host, and on it a server."""
    ledger = Ledger()
    for change in offer(ledger, HERE.id, HERE.name, inventories(described(HERE.name))):
        ledger.apply(change)
    ledger.apply(place(ledger, {HERE.id: HERE}, SMALL))
    return ledger


def stayed(ledger: Ledger, host: HostView = HERE, **changes: Any) -> dict[str, int] | None:
    """What is claimed of its own host; None if it may not stay."""
    try:
        (claim,) = claim_target(ledger, {host.id: host}, replace(LARGE, **changes), "move", may_stay=True)
    except NoCapacity:
        return None
    ledger.apply(claim)
    return claim.allocations[host.id]


def test_on_its_own_host_it_claims_the_most_of_what_it_is_and_shall_be(ledger: Ledger) -> None:
    assert stayed(ledger) == {"VCPU": 4, "MEMORY_MB": 2048, "DISK_GB": 1}
    for change in settle(ledger, "s", "move", HERE.id, LARGE.resources, 2, None):
        ledger.apply(change)
    assert ledger.claims["s"].allocations == {HERE.id: LARGE.resources}


@pytest.mark.parametrize("changes", [
    {"required": frozenset({TRAIT})}, {"architecture": "aarch64"}, {"availability_zone": "elsewhere"},
    {"excluded_hosts": ("a",)}, {"resources": {"VCPU": 999}},
])  # fmt: skip
def test_it_stays_on_a_host_only_that_is_what_the_new_flavor_asks_for(
    ledger: Ledger, changes: dict[str, Any]
) -> None:
    assert stayed(ledger, **changes) is None


@pytest.mark.parametrize("changes", [{"enabled": False}, {"up": False}])
def test_it_stays_on_a_host_only_that_takes_servers(ledger: Ledger, changes: dict[str, bool]) -> None:
    assert stayed(ledger, replace(HERE, **changes)) is None


def test_it_stays_where_the_trait_is_that_it_needs(ledger: Ledger) -> None:
    ledger.apply(TraitsSet(provider_id=HERE.id, traits=(TRAIT,)))
    assert stayed(ledger, required=frozenset({TRAIT}))
    assert stayed(ledger, epoch=3, forbidden=frozenset({TRAIT})) is None


def test_what_is_left_on_a_dead_target_stays_claimed_there_under_the_move() -> None:
    ledger, there = Ledger(), replace(HERE, id="id-b", name="b")
    for host in (HERE, there):
        for change in offer(ledger, host.id, host.name, inventories(described(host.name))):
            ledger.apply(change)
    ledger.apply(place(ledger, {HERE.id: HERE}, SMALL))
    for change in claim_target(ledger, {there.id: there}, replace(SMALL, epoch=2, source="a"), "move"):
        ledger.apply(change)
    for _ in range(2):
        for change in settle(ledger, "s", "move", HERE.id, SMALL.resources, 2, None, there.id):
            ledger.apply(change)
        held = {one: claim.allocations for one, claim in ledger.claims.items()}
        assert held == {"s": {HERE.id: SMALL.resources}, "move": {there.id: SMALL.resources}}
    assert imbalances(ledger) == []
