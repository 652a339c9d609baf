"""The ledger and the choice of a host."""

import pytest
from hypothesis import given, strategies

from domain.errors import NoCapacity, Stale
from domain.placement import ledger_snapshot
from domain.placement.ledger import (
    Claimed,
    Inventory,
    Ledger,
    LedgerChange,
    Released,
    TraitsSet,
    imbalances,
    offer,
    release,
)
from domain.placement.scheduling import Demand, HostView, place

HOSTS = ("h1", "h2", "h3")


def _ledger(vcpus: int = 4, memory_mb: int = 4096) -> Ledger:
    ledger = Ledger()
    for host in HOSTS:
        inventories = {
            "VCPU": Inventory(total=vcpus, max_unit=vcpus),
            "MEMORY_MB": Inventory(total=memory_mb, max_unit=memory_mb),
        }
        for change in offer(ledger, host, host, inventories):
            ledger.apply(change)
    return ledger


def _views(**changes: dict[str, object]) -> dict[str, HostView]:
    views = {}
    for host in HOSTS:
        fields = {"availability_zone": "nova", "enabled": True, "up": True} | changes.get(host, {})
        views[host] = HostView(id=host, name=host, **fields)  # type: ignore[arg-type]
    return views


def _demand(server_id: str = "s", epoch: int = 1, vcpus: int = 1, **more: object) -> Demand:
    return Demand(
        server_id=server_id,
        epoch=epoch,
        project_id="p",
        user_id="u",
        resources={"VCPU": vcpus, "MEMORY_MB": 1024},
        **more,  # type: ignore[arg-type]
    )


def _host(claim: Claimed) -> str:
    return next(iter(claim.allocations))


def test_a_flavors_traits_choose_the_host() -> None:
    ledger = _ledger()
    ledger.apply(TraitsSet(provider_id="h2", traits=("HW_CPU_X86_AVX2",)))
    traits = frozenset(("HW_CPU_X86_AVX2",))
    assert _host(place(ledger, _views(), _demand(required=traits))) == "h2"
    assert _host(place(ledger, _views(h1={"up": False}), _demand(forbidden=traits))) == "h3"
    with pytest.raises(NoCapacity) as refusal:
        place(ledger, _views(h2={"up": False}), _demand(required=traits))
    assert refusal.value.removed == {"host_up": 1, "traits": 2}


def test_servers_are_spread() -> None:
    ledger = _ledger()
    chosen = []
    for number in range(3):
        claim = place(ledger, _views(), _demand(str(number)))
        ledger.apply(claim)
        chosen.append(_host(claim))
    assert sorted(chosen) == list(HOSTS)


@pytest.mark.parametrize(
    ("views", "demand", "host"),
    [
        (_views(h1={"enabled": False}, h2={"up": False}), _demand(), "h3"),
        (_views(h2={"availability_zone": "az2"}), _demand(availability_zone="az2"), "h2"),
        (_views(h2={"architecture": "aarch64"}), _demand(architecture="aarch64"), "h2"),
        (_views(h1={"architecture": "aarch64"}, h3={"architecture": "s390x"}), _demand(architecture="i686"), "h2"),
        (_views(), _demand(host="h2"), "h2"),
        (_views(), _demand(excluded_hosts=("h1", "h3")), "h2"),
    ],
)
def test_filters(views: dict[str, HostView], demand: Demand, host: str) -> None:
    assert _host(place(_ledger(), views, demand)) == host


def test_why_no_host_was_found() -> None:
    views = _views(h1={"enabled": False}, h2={"up": False})
    with pytest.raises(NoCapacity) as refusal:
        place(_ledger(), views, _demand(vcpus=5))
    assert refusal.value.removed == {"host_enabled": 1, "host_up": 1, "VCPU": 1}
    assert refusal.value.message == (
        "No valid host was found. There are not enough hosts available. "
        "Of 3 hosts, host_enabled removed 1, host_up removed 1, VCPU removed 1. h3 came nearest: it lacks 1 VCPU."
    )


def test_no_host_of_the_architecture() -> None:
    with pytest.raises(NoCapacity) as refusal:
        place(_ledger(), _views(h3={"enabled": False}), _demand(architecture="aarch64"))
    assert refusal.value.removed == {"architecture": 3}


def test_a_host_without_the_resource_class_is_no_candidate() -> None:
    with pytest.raises(NoCapacity):
        place(_ledger(), _views(), _demand(vcpus=1).__class__(
            server_id="s", epoch=1, project_id="p", user_id="u", resources={"VGPU": 1}
        ))  # fmt: skip


def test_asking_again_answers_with_the_claim_that_stands() -> None:
    ledger = _ledger()
    claim = place(ledger, _views(), _demand())
    ledger.apply(claim)
    assert place(ledger, _views(h1={"up": False}, h2={"up": False}, h3={"up": False}), _demand()) is claim


def test_an_epoch_that_is_over_cannot_take_the_claim_of_the_present_one() -> None:
    ledger = _ledger()
    ledger.apply(place(ledger, _views(), _demand(epoch=2)))
    with pytest.raises(Stale):
        place(ledger, _views(), _demand(epoch=1))


def test_the_next_epochs_claim_replaces_the_one_before() -> None:
    ledger = _ledger()
    ledger.apply(place(ledger, _views(), _demand(epoch=1, host="h1")))
    ledger.apply(place(ledger, _views(), _demand(epoch=2, host="h2")))
    assert ledger.providers["h1"].used == {"VCPU": 0, "MEMORY_MB": 0}
    assert imbalances(ledger) == []


def test_an_offer_that_is_known_is_no_event() -> None:
    ledger = _ledger()
    inventories = ledger.providers["h1"].inventories
    assert offer(ledger, "h1", "h1", dict(inventories)) == ()


def test_imbalances_are_found() -> None:
    ledger = _ledger()
    ledger.apply(place(ledger, _views(), _demand()))
    host = _host(ledger.claims["s"])
    ledger.providers[host].used["VCPU"] = 3
    assert imbalances(ledger) == [f"{host}: 3 VCPU used, but 1 claimed"]
    ledger.providers[host].inventories = {}
    assert f"{host}: 3 VCPU used beyond its capacity" in imbalances(ledger)


@given(
    strategies.lists(
        strategies.tuples(strategies.integers(0, 4), strategies.integers(1, 3), strategies.booleans()), max_size=40
    )
)
def test_whatever_is_claimed_and_released_the_books_balance(steps: list[tuple[int, int, bool]]) -> None:
    ledger = _ledger()
    epochs: dict[str, int] = {}
    for number, vcpus, claims in steps:
        server_id = str(number)
        changes: tuple[LedgerChange, ...]
        if claims:
            epochs[server_id] = epochs.get(server_id, 0) + 1
            try:
                changes = (place(ledger, _views(), _demand(server_id, epochs[server_id], vcpus)),)
            except NoCapacity:
                continue
        else:
            changes = release(ledger, server_id, None)
        before = ledger_snapshot.dump(ledger)
        for undo in reversed([ledger.apply(change) for change in changes]):
            undo()
        assert dict(_books(ledger)) == dict(_books(ledger_snapshot.restore(before)))
        for change in changes:
            ledger.apply(change)
        assert imbalances(ledger) == []
        again = ledger_snapshot.restore(ledger_snapshot.dump(ledger))
        assert _books(again) == _books(ledger)
        for name in HOSTS:
            row = again.columns.row_of[name]
            assert again.columns.free("VCPU")[row] == 4 - ledger.providers[name].used.get("VCPU", 0)


def _books(ledger: Ledger) -> list[tuple[str, object]]:
    claims = [(claim.consumer_id, claim.allocations) for claim in ledger.claims.values()]
    used = [
        (provider.id, {name: amount for name, amount in provider.used.items() if amount})
        for provider in ledger.providers.values()
    ]
    return sorted([*claims, *used], key=lambda item: item[0])


def test_released_twice_is_released() -> None:
    ledger = _ledger()
    ledger.apply(place(ledger, _views(), _demand()))
    ledger.apply(Released(consumer_id="s"))
    assert release(ledger, "s", None) == ()
