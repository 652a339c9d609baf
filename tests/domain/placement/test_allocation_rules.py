"""Placement's rules for claims, reshaping, inventories and providers, as tables."""

from collections.abc import Callable
from typing import Any

import pytest

from domain.errors import Refused
from domain.placement.ledger import (
    Claimed,
    InventoriesSet,
    Inventory,
    Ledger,
    LedgerChange,
    ProviderCreated,
    Released,
    ResourceClassRenamed,
    TraitsSet,
    allocations,
    imbalances,
    inventories,
    providers,
    vocabulary,
)
from domain.placement.ledger.allocations import NewAllocations
from domain.placement.ledger.reshape import Reshaped, reshape

Stock = dict[str, Inventory]


def _ledger(**stocks: Stock) -> Ledger:
    """Providers by name, which is their id, too; ``child_of_x`` is a child of ``x``."""
    ledger = Ledger()
    for name, stock in stocks.items():
        parent = name.partition("_of_")[2] or None
        _apply(ledger, ProviderCreated(provider_id=name, name=name, parent_id=parent))
        _apply(ledger, InventoriesSet(provider_id=name, inventories=stock))
    return ledger


def _apply(ledger: Ledger, *changes: LedgerChange) -> None:
    for change in changes:
        ledger.apply(change)


def _want(consumer: str, /, generation: int | None = None, **amounts: dict[str, int]) -> NewAllocations:
    return NewAllocations(
        consumer_id=consumer, allocations=amounts, project_id="p", user_id="u", generation=generation, guarded=True
    )


def _claim(ledger: Ledger, *wanted: NewAllocations) -> None:
    _apply(ledger, *allocations.replace(ledger, wanted, ""))


@pytest.mark.parametrize(
    ("inventory", "amount", "fits"),
    [
        (Inventory(total=4), 4, True),
        (Inventory(total=4), 5, False),
        (Inventory(total=4, reserved=1), 3, True),
        (Inventory(total=4, reserved=1), 4, False),
        (Inventory(total=4, allocation_ratio=1.5), 6, True),
        (Inventory(total=4, allocation_ratio=1.5), 7, False),
        (Inventory(total=3, allocation_ratio=1.5), 4, True),
        (Inventory(total=3, allocation_ratio=1.5), 5, False),
        (Inventory(total=8, min_unit=2), 1, False),
        (Inventory(total=8, min_unit=2), 2, True),
        (Inventory(total=8, max_unit=3), 3, True),
        (Inventory(total=8, max_unit=3), 4, False),
        (Inventory(total=8, step_size=3), 6, True),
        (Inventory(total=8, step_size=3), 4, False),
    ],
)
def test_what_an_inventory_admits(inventory: Inventory, amount: int, fits: bool) -> None:
    ledger = _ledger(host={"VCPU": inventory})
    assert bool(ledger.columns.fits("VCPU", amount)[0]) == fits
    if fits:
        _claim(ledger, _want("c", host={"VCPU": amount}))
        assert ledger.providers["host"].used == {"VCPU": amount}
    else:
        with pytest.raises(Refused, match="Unable to allocate inventory") as refusal:
            _claim(ledger, _want("c", host={"VCPU": amount}))
        assert refusal.value.status == 409


def _overfull() -> Ledger:
    """A host that lost half of its capacity while 8 were claimed: 5 by a, 3 by b."""
    ledger = _ledger(host={"VCPU": Inventory(total=8)})
    _claim(ledger, _want("a", host={"VCPU": 5}), _want("b", host={"VCPU": 3}))
    _apply(ledger, InventoriesSet(provider_id="host", inventories={"VCPU": Inventory(total=4)}))
    return ledger


@pytest.mark.parametrize(
    ("amount", "allowed"), [(5, True), (4, True), (1, True), (6, False)], ids=["as it was", "less", "one", "more"]
)
def test_an_over_full_provider_may_shrink_but_not_grow(amount: int, allowed: bool) -> None:
    ledger = _overfull()
    _apply(ledger, InventoriesSet(provider_id="host", inventories={"VCPU": Inventory(total=4)}))
    if allowed:
        _claim(ledger, _want("a", generation=1, host={"VCPU": amount}))
        assert ledger.claims["a"].generation == 2
    else:
        with pytest.raises(Refused, match="would exceed the capacity"):
            _claim(ledger, _want("a", generation=1, host={"VCPU": amount}))
    with pytest.raises(Refused, match="would exceed the capacity"):
        _claim(ledger, _want("new", host={"VCPU": 1}))


def test_a_claim_over_several_consumers_moves_what_one_gives_up() -> None:
    ledger = _ledger(host={"VCPU": Inventory(total=4)})
    _claim(ledger, _want("a", host={"VCPU": 4}))
    _claim(ledger, _want("a", generation=1), _want("b", host={"VCPU": 4}))
    assert set(ledger.claims) == {"b"}
    assert imbalances(ledger) == []


def test_a_request_is_all_or_nothing() -> None:
    ledger = _ledger(host={"VCPU": Inventory(total=4)})
    with pytest.raises(Refused):
        allocations.replace(ledger, (_want("a", host={"VCPU": 4}), _want("b", host={"VCPU": 1})), "")
    assert ledger.claims == {}


def test_a_providers_generation_counts_each_request_once() -> None:
    ledger = _ledger(one={"VCPU": Inventory(total=9)}, other={"VCPU": Inventory(total=9)})
    before = ledger.providers["one"].generation
    _claim(ledger, _want("a", one={"VCPU": 1}), _want("b", one={"VCPU": 1}, other={"VCPU": 1}))
    assert ledger.providers["one"].generation == before + 1
    # Where a consumer leaves for elsewhere, nothing is counted; nor is a deletion.
    _claim(ledger, _want("a", generation=1, other={"VCPU": 1}))
    _apply(ledger, *allocations.delete(ledger, "b"))
    assert ledger.providers["one"].generation == before + 1
    # But to be replaced by nothing is.
    _claim(ledger, _want("a", generation=2))
    assert ledger.providers["other"].generation == before + 3


@pytest.mark.parametrize(
    ("known", "sent", "words"),
    [
        (True, None, "expected 1 but got None"),
        (True, 7, "expected 1 but got 7"),
        (False, 7, "expected null but got 7"),
    ],
)
def test_a_consumer_is_guarded_by_its_generation(known: bool, sent: int | None, words: str) -> None:
    ledger = _ledger(host={"VCPU": Inventory(total=4)})
    if known:
        _claim(ledger, _want("a", host={"VCPU": 1}))
    with pytest.raises(Refused, match=words) as refusal:
        _claim(ledger, _want("a", generation=sent, host={"VCPU": 1}))
    assert refusal.value.code == "placement.concurrent_update"


def test_a_servers_claim_keeps_its_assignment_when_it_is_changed_over_the_api() -> None:
    ledger = _ledger(host={"VCPU": Inventory(total=4)})
    _apply(ledger, Claimed(consumer_id="s", epoch=3, project_id="p", user_id="u", allocations={"host": {"VCPU": 1}}))
    _claim(ledger, _want("s", generation=1, host={"VCPU": 2}))
    assert (ledger.claims["s"].epoch, ledger.claims["s"].generation) == (3, 2)


def _device(total: int = 2) -> Stock:
    return {"VGPU": Inventory(total=total)}


def test_reshaping_moves_inventory_and_claims_together() -> None:
    ledger = _ledger(host=_device() | {"VCPU": Inventory(total=4)}, device_of_host={})
    _claim(ledger, _want("a", host={"VGPU": 2, "VCPU": 1}))
    changes = reshape(
        ledger,
        {
            "host": Reshaped(ledger.providers["host"].generation, {"VCPU": Inventory(total=4)}),
            "device_of_host": Reshaped(ledger.providers["device_of_host"].generation, _device()),
        },
        (_want("a", generation=1, host={"VCPU": 1}, device_of_host={"VGPU": 2}),),
    )
    _apply(ledger, *changes)
    assert ledger.providers["host"].inventories.keys() == {"VCPU"}
    assert ledger.claims["a"].allocations["device_of_host"] == {"VGPU": 2}
    assert imbalances(ledger) == []


def test_reshaping_refuses_to_take_what_stays_claimed() -> None:
    ledger = _ledger(host=_device(), device_of_host={})
    _claim(ledger, _want("a", host={"VGPU": 1}))
    with pytest.raises(Refused, match="in use") as refusal:
        reshape(ledger, {"host": Reshaped(ledger.providers["host"].generation, {})}, ())
    assert refusal.value.code == "placement.inventory.inuse"


def _refused(decide: Callable[[], Any]) -> tuple[int, str]:
    with pytest.raises(Refused) as refusal:
        decide()
    return refusal.value.status, refusal.value.code


def test_what_cannot_go() -> None:
    ledger = _ledger(root={}, child_of_root={"VCPU": Inventory(total=4)})
    _claim(ledger, _want("a", child_of_root={"VCPU": 1}))
    _apply(ledger, *vocabulary.create_trait(ledger, "CUSTOM_T"), *vocabulary.ensure_class(ledger, "CUSTOM_C"))
    _apply(ledger, TraitsSet(provider_id="root", traits=("CUSTOM_T",)))
    _apply(ledger, InventoriesSet(provider_id="root", inventories={"CUSTOM_C": Inventory(total=1)}))
    undefined = "placement.undefined_code"
    assert _refused(lambda: providers.delete(ledger, "root")) == (
        409,
        "placement.resource_provider.cannot_delete_parent",
    )
    assert _refused(lambda: providers.delete(ledger, "child_of_root")) == (409, "placement.resource_provider.inuse")
    assert _refused(lambda: providers.delete(ledger, "nobody")) == (404, undefined)
    assert _refused(lambda: inventories.delete_all(ledger, "child_of_root")) == (409, "placement.inventory.inuse")
    assert _refused(lambda: vocabulary.delete_trait(ledger, "CUSTOM_T")) == (409, undefined)
    assert _refused(lambda: vocabulary.delete_trait(ledger, "HW_CPU_X86_AVX2")) == (400, undefined)
    assert _refused(lambda: vocabulary.delete_class(ledger, "CUSTOM_C")) == (409, undefined)
    assert _refused(lambda: vocabulary.delete_class(ledger, "VCPU")) == (400, undefined)


@pytest.mark.parametrize(
    ("parent", "may_move", "words"),
    [
        ("leaf_of_child_of_root", True, "creating loop"),
        ("child_of_root", True, "creating loop"),
        ("nobody", True, "does not exist"),
        ("other", False, "re-parenting"),
        (None, False, "un-parenting"),
    ],
)
def test_where_a_provider_cannot_go(parent: str | None, may_move: bool, words: str) -> None:
    ledger = _ledger(root={}, child_of_root={}, other={})
    _apply(ledger, ProviderCreated(provider_id="leaf_of_child_of_root", name="leaf", parent_id="child_of_root"))
    with pytest.raises(Refused, match=words):
        providers.update(ledger, "child_of_root", "child", parent, may_move=may_move)


def test_a_subtree_moves_whole_and_back() -> None:
    ledger = _ledger(root={}, child_of_root={}, other={})
    _apply(ledger, ProviderCreated(provider_id="leaf", name="leaf", parent_id="child_of_root"))
    (change,) = providers.update(ledger, "child_of_root", "child", "other", may_move=True)
    undo = ledger.apply(change)
    assert [ledger.providers[one].root_id for one in ("child_of_root", "leaf")] == ["other", "other"]
    undo()
    assert [ledger.providers[one].root_id for one in ("child_of_root", "leaf")] == ["root", "root"]
    assert ledger.providers["child_of_root"].name == "child_of_root"


def test_a_renamed_class_has_its_new_name_everywhere() -> None:
    ledger = _ledger(host={})
    _apply(ledger, *vocabulary.ensure_class(ledger, "CUSTOM_OLD"))
    _apply(ledger, InventoriesSet(provider_id="host", inventories={"CUSTOM_OLD": Inventory(total=3)}))
    _claim(ledger, _want("a", host={"CUSTOM_OLD": 2}))
    _apply(ledger, *vocabulary.rename_class(ledger, "CUSTOM_OLD", "CUSTOM_NEW"))
    assert ledger.claims["a"].allocations == {"host": {"CUSTOM_NEW": 2}}
    assert not ledger.columns.fits("CUSTOM_NEW", 2)[0]
    assert ledger.columns.fits("CUSTOM_NEW", 1)[0]
    _apply(ledger, Released(consumer_id="a"))
    assert imbalances(ledger) == []


def test_a_renaming_onto_a_class_that_is_there_takes_nothing_from_it() -> None:
    ledger = _ledger(host={})
    _apply(ledger, *vocabulary.ensure_class(ledger, "CUSTOM_OLD"), *vocabulary.ensure_class(ledger, "CUSTOM_NEW"))
    _apply(ledger, InventoriesSet(provider_id="host", inventories={"CUSTOM_NEW": Inventory(total=3)}))
    ledger.columns.fits("CUSTOM_OLD", 1)
    _apply(ledger, ResourceClassRenamed(name="CUSTOM_OLD", new_name="CUSTOM_NEW"))
    _apply(ledger, ResourceClassRenamed(name="CUSTOM_GONE", new_name="CUSTOM_NEW"))
    assert ledger.columns.fits("CUSTOM_NEW", 3)[0]
    assert imbalances(ledger) == []
