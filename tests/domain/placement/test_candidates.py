"""The search for candidates: a table of trees and requests, and agreement with trying everything."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings, strategies
from msgspec.structs import replace

from domain.errors import Refused
from domain.placement.candidates import Group, Request, explain, search
from domain.placement.candidates.budget import MAX_STEPS
from domain.placement.candidates.explain import Miss
from domain.placement.ledger import (
    AggregatesSet,
    Claimed,
    InventoriesSet,
    Inventory,
    Ledger,
    Provider,
    ProviderCreated,
    TraitsSet,
)
from domain.placement.ledger.vocabulary import SHARES_VIA_AGGREGATE

CLASSES = ("VCPU", "DISK_GB", "VGPU")
TRAITS = ("HW_CPU_X86_AVX2", "HW_NIC_SRIOV", SHARES_VIA_AGGREGATE)


def _add(
    ledger: Ledger,
    name: str,
    stock: dict[str, int],
    parent: str | None = None,
    traits: tuple[str, ...] = (),
    aggregates: tuple[str, ...] = (),
) -> None:
    inventories = {resource_class: Inventory(total=total) for resource_class, total in stock.items()}
    ledger.apply(ProviderCreated(provider_id=name, name=name, parent_id=parent))
    ledger.apply(InventoriesSet(provider_id=name, inventories=inventories))
    ledger.apply(TraitsSet(provider_id=name, traits=traits))
    ledger.apply(AggregatesSet(provider_id=name, aggregates=aggregates))


def _cloud() -> Ledger:
    """Two hosts with devices, one of them without a disk of its own, and a disk that it may share."""
    ledger = Ledger()
    _add(ledger, "h1", {"VCPU": 4, "DISK_GB": 10}, traits=("HW_CPU_X86_AVX2",))
    _add(ledger, "h1-gpu-a", {"VGPU": 1}, "h1", ("HW_NIC_SRIOV",))
    _add(ledger, "h1-gpu-b", {"VGPU": 2}, "h1")
    _add(ledger, "h2", {"VCPU": 8}, aggregates=("rack",))
    _add(ledger, "nfs", {"DISK_GB": 100}, traits=(SHARES_VIA_AGGREGATE,), aggregates=("rack",))
    return ledger


def _found(ledger: Ledger, request: Request) -> set[str]:
    return {
        " ".join(
            f"{provider}:{name}={amount}"
            for provider, amounts in sorted(candidate.allocations.items())
            for name, amount in sorted(amounts.items())
        )
        for candidate in search(ledger, request)
    }


def _group(**fields: object) -> Group:
    return Group(**fields)  # type: ignore[arg-type]


AVX = (frozenset({"HW_CPU_X86_AVX2"}),)
SRIOV = (frozenset({"HW_NIC_SRIOV"}),)


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (
            Request(groups={"": _group(resources={"VCPU": 1, "DISK_GB": 5})}),
            {"h1:DISK_GB=5 h1:VCPU=1", "h2:VCPU=1 nfs:DISK_GB=5"},
        ),
        (Request(groups={"1": _group(resources={"VCPU": 1, "DISK_GB": 5})}), {"h1:DISK_GB=5 h1:VCPU=1"}),
        (Request(groups={"": _group(resources={"VCPU": 1}, required=AVX)}), {"h1:VCPU=1"}),
        (
            Request(groups={"": _group(resources={"VCPU": 1}, forbidden=frozenset({"HW_CPU_X86_AVX2"}))}),
            {"h2:VCPU=1"},
        ),
        (
            Request(groups={"": _group(resources={"VCPU": 1})}, root_required=frozenset({"HW_CPU_X86_AVX2"})),
            {"h1:VCPU=1"},
        ),
        (Request(groups={"": _group(resources={"VCPU": 5})}), {"h2:VCPU=5"}),
        (Request(groups={"": _group(resources={"VCPU": 9})}), set()),
        (
            # Between them, host and device have both traits.
            Request(groups={"": _group(resources={"VCPU": 1, "VGPU": 1}, required=AVX + SRIOV)}),
            {"h1:VCPU=1 h1-gpu-a:VGPU=1"},
        ),
        (Request(groups={"": _group(resources={"VCPU": 1}, member_of=(frozenset({"rack"}),))}), {"h2:VCPU=1"}),
        (Request(groups={"": _group(resources={"VCPU": 1}, not_member_of=frozenset({"rack"}))}), {"h1:VCPU=1"}),
        (Request(groups={"": _group(resources={"VCPU": 1}, in_tree="h1-gpu-a")}), {"h1:VCPU=1"}),
        (
            Request(
                groups={"1": _group(resources={"VGPU": 1}), "2": _group(resources={"VGPU": 1})},
                group_policy="isolate",
            ),
            {"h1-gpu-a:VGPU=1 h1-gpu-b:VGPU=1"},
        ),
        (
            Request(
                groups={"1": _group(resources={"VGPU": 1}), "2": _group(resources={"VGPU": 1})}, group_policy="none"
            ),
            {"h1-gpu-a:VGPU=1 h1-gpu-b:VGPU=1", "h1-gpu-b:VGPU=2"},
        ),
        (
            Request(
                groups={"1": _group(resources={"VGPU": 2}), "2": _group(resources={"VGPU": 1})}, group_policy="none"
            ),
            {"h1-gpu-a:VGPU=1 h1-gpu-b:VGPU=2"},
        ),
        (
            Request(
                groups={"c": _group(resources={"VCPU": 1}), "g": _group(resources={"VGPU": 2})},
                group_policy="none",
                same_subtrees=(frozenset({"c", "g"}),),
            ),
            {"h1:VCPU=1 h1-gpu-b:VGPU=2"},
        ),
        (
            # Two siblings have no common root among themselves.
            Request(
                groups={"a": _group(resources={"VGPU": 1}), "b": _group(resources={"VGPU": 2})},
                group_policy="none",
                same_subtrees=(frozenset({"a", "b"}),),
            ),
            set(),
        ),
        (Request(groups={"": _group(resources={"VCPU": 1, "VGPU": 1})}, nested=False), set()),
    ],
)
def test_candidates(request_: Request, found: set[str]) -> None:
    expected = {" ".join(sorted(one.split())) for one in found}
    assert {" ".join(sorted(one.split())) for one in _found(_cloud(), request_)} == expected


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (_group(resources={"CUSTOM_X": 1}), "Invalid resource class in resources parameter: No such resource class"),
        (_group(resources={"VCPU": 1}, required=(frozenset({"CUSTOM_X"}),)), "No such trait"),
    ],
)
def test_what_there_is_not_is_refused(group: Group, words: str) -> None:
    with pytest.raises(Refused, match=words) as refusal:
        search(_cloud(), Request(groups={"": group}))
    assert refusal.value.status == 400


def test_the_emptiest_come_first_and_each_tree_has_its_turn() -> None:
    ledger = Ledger()
    for number in range(3):
        _add(ledger, f"h{number}", {"VCPU": 4})
        _add(ledger, f"h{number}-a", {"VGPU": 1}, f"h{number}")
        _add(ledger, f"h{number}-b", {"VGPU": 1}, f"h{number}")
    ledger.apply(Claimed(consumer_id="c", epoch=1, project_id="p", user_id="u", allocations={"h0": {"VCPU": 2}}))
    request = Request(groups={"": _group(resources={"VCPU": 1, "VGPU": 1})})
    roots = [ledger.providers[next(iter(one.allocations))].root_id for one in search(ledger, request)]
    assert roots[-1] == "h0"
    assert sorted(roots[:3]) == ["h0", "h1", "h2"]
    assert len(search(ledger, replace(request, limit=2))) == 2


def test_eight_devices_and_six_groups_do_not_explode() -> None:
    ledger = Ledger()
    _add(ledger, "host", {"VCPU": 8})
    for number in range(8):
        _add(ledger, f"device-{number}", {"VGPU": 2 if number < 5 else 1}, "host")
    groups = {f"g{number}": _group(resources={"VGPU": 2}) for number in range(6)}
    # Five devices for six groups: seen before anything is tried.
    assert search(ledger, Request(groups=groups, group_policy="isolate")) == []
    few = {f"g{number}": _group(resources={"VGPU": 1}) for number in range(6)}
    assert len(search(ledger, Request(groups=few, group_policy="isolate", limit=50))) == 50


def test_why_there_is_none() -> None:
    group = _group(resources={"VCPU": 6, "DISK_GB": 1}, required=AVX, not_member_of=frozenset({"rack"}))
    explanation = explain(_cloud(), Request(groups={"": group}))[""]
    assert explanation.providers == 5
    assert explanation.removed == {"not member_of rack": 2, "required HW_CPU_X86_AVX2": 2, "VCPU": 1}
    assert explanation.nearest == Miss("h1", {"VCPU": 2})
    assert str(explanation) == (
        "Of 5 providers, not member_of rack removed 2, required HW_CPU_X86_AVX2 removed 2, VCPU removed 1. "
        "h1 came nearest: it lacks 2 VCPU."
    )


stocks = strategies.dictionaries(strategies.sampled_from(CLASSES), strategies.integers(1, 3), max_size=3)
traits_of = strategies.lists(strategies.sampled_from(TRAITS), unique=True, max_size=2).map(tuple)
aggregates_of = strategies.lists(strategies.sampled_from(("a", "b")), unique=True, max_size=1).map(tuple)
described = strategies.lists(
    strategies.tuples(stocks, strategies.integers(-4, 5), traits_of, aggregates_of), min_size=1, max_size=6
)
groups = strategies.builds(
    Group,
    resources=strategies.dictionaries(
        strategies.sampled_from(CLASSES), strategies.integers(1, 2), min_size=1, max_size=2
    ),
    required=strategies.lists(strategies.sampled_from(TRAITS[:2]), max_size=1).map(
        lambda names: tuple(frozenset((name,)) for name in names)
    ),
    forbidden=strategies.lists(strategies.sampled_from(TRAITS[:2]), max_size=1).map(frozenset),
)
requests = strategies.builds(
    Request,
    groups=strategies.dictionaries(strategies.sampled_from(("", "1", "2")), groups, min_size=1, max_size=3),
    group_policy=strategies.sampled_from(("none", "isolate")),
)


@settings(max_examples=300)
@given(described, requests)
def test_the_search_finds_what_trying_everything_finds(
    cloud: list[tuple[dict[str, int], int, tuple[str, ...], tuple[str, ...]]], request_: Request
) -> None:
    ledger = Ledger()
    for number, (stock, parent, traits, aggregates) in enumerate(cloud):
        above = str(parent) if 0 <= parent < number else None
        _add(ledger, str(number), stock, above, traits, aggregates)
    found = {_key(one.allocations, one.mappings) for one in search(ledger, request_)}
    assert found == set(_tried(ledger, request_))


def _key(allocations: dict[str, dict[str, int]], mappings: dict[str, frozenset[str]]) -> str:
    return str(
        (
            sorted((provider, sorted(amounts.items())) for provider, amounts in allocations.items()),
            sorted((suffix, sorted(providers)) for suffix, providers in mappings.items()),
        )
    )


def _tried(ledger: Ledger, request: Request) -> Iterator[str]:
    """For each root, every choice of a provider for each resource of each group."""
    spread = ledger.nested > 0 or any(SHARES_VIA_AGGREGATE in one.traits for one in ledger.providers.values())
    needs = [
        (suffix, name, amount) for suffix, group in request.groups.items() for name, amount in group.resources.items()
    ]
    for root in ledger.providers.values():
        if root.parent_id is None:
            reach = [one for one in ledger.providers.values() if _reaches(ledger, one, root)]
            for choice in itertools.product(reach, repeat=len(needs)):
                if _valid(request, needs, choice, spread=spread):
                    allocations: dict[str, dict[str, int]] = {}
                    mappings: dict[str, frozenset[str]] = {}
                    for (suffix, name, amount), provider in zip(needs, choice, strict=True):
                        amounts = allocations.setdefault(provider.id, {})
                        amounts[name] = amounts.get(name, 0) + amount
                        mappings[suffix] = mappings.get(suffix, frozenset()) | {provider.id}
                    yield _key(allocations, mappings)


def _reaches(ledger: Ledger, provider: Provider, root: Provider) -> bool:
    if provider.root_id == root.id:
        return True
    shared = set(provider.aggregates)
    return SHARES_VIA_AGGREGATE in provider.traits and any(
        shared.intersection(member.aggregates) for member in ledger.tree(root.id)
    )


def _valid(
    request: Request, needs: list[tuple[str, str, int]], choice: tuple[Provider, ...], *, spread: bool
) -> bool:
    total: dict[tuple[str, str], int] = {}
    for (_, name, amount), provider in zip(needs, choice, strict=True):
        total[provider.id, name] = total.get((provider.id, name), 0) + amount
        if name not in provider.inventories or total[provider.id, name] > provider.inventories[name].total:
            return False
    alone: list[str] = []
    for suffix, group in request.groups.items():
        mine = {one.id: one for (which, _, _), one in zip(needs, choice, strict=True) if which == suffix}
        traits = {trait for one in mine.values() for trait in one.traits}
        if group.forbidden & traits or any(names.isdisjoint(traits) for names in group.required):
            return False
        if suffix or not spread:
            if len(mine) > 1:
                return False
            alone += mine if suffix else []
    return request.group_policy != "isolate" or len(set(alone)) == len(alone)


def _devices(count: int) -> Ledger:
    """A host with so many children of one device each."""
    ledger = Ledger()
    _add(ledger, "host", {})
    for number in range(count):
        _add(ledger, f"device-{number}", {"VGPU": 1}, parent="host")
    return ledger


def _groups(count: int) -> dict[str, Group]:
    return {f"_{number}": Group(resources={"VGPU": 1}) for number in range(count)}


def test_a_search_with_millions_of_answers_gives_those_that_it_finds_in_time() -> None:
    request = Request(groups=_groups(6), group_policy="isolate")
    found = search(_devices(16), request)
    assert 0 < len(found) < MAX_STEPS
    assert len({tuple(sorted(candidate.allocations)) for candidate in found}) > 1


def test_a_search_that_would_never_end_is_refused() -> None:
    # One device too few: whatever is tried fails at the last group.
    request = Request(groups=_groups(17), group_policy="none", limit=5)
    with pytest.raises(Refused, match="too many combinations") as refusal:
        search(_devices(16), request)
    assert refusal.value.status == 400
