"""Whatever is changed, and wherever it fails: a state that is held in memory is then exactly what it was before."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from domain.catalogue import quota
from domain.catalogue.quota import Limits, LimitsSet, Quota, ReservationReleased, Reserved
from domain.errors import Refused
from domain.log import batch
from domain.log.batch import Batched, apply_all, take_back
from domain.neighbours import network
from domain.neighbours.network import Network, NetworkCreated, PortCreated, PortDeleted
from domain.placement import ledger
from domain.placement.ledger import Inventory, Ledger, claims, columns, inventories, providers, reshape
from domain.placement.ledger import state as ledger_state
from domain.placement.ledger.inventory import MAX_CAPACITY, MAX_FIGURE
from domain.placement.ledger.reshape import Reshaped
from tests.replay.samples import TIME

IDS = some.sampled_from(["p0", "p1", "p2", "p3"])
CONSUMERS = some.sampled_from(["c0", "c1", "c2"])
CLASSES = some.sampled_from(["VCPU", "CUSTOM_A", "CUSTOM_B"])
FIGURES = some.sampled_from([0, 1, 2, 7, 2**31, 2**63 - 1, 2**70])
INVENTORIES = some.builds(
    Inventory,
    total=FIGURES,
    reserved=some.sampled_from([0, 1]),
    allocation_ratio=some.sampled_from([1.0, 16.0, 3.4e38, float("inf")]),
    max_unit=FIGURES,
    step_size=some.sampled_from([1, 2]),
)
LEDGER_CHANGES = some.one_of(
    some.builds(ledger.ProviderCreated, provider_id=IDS, name=IDS, parent_id=some.none() | IDS),
    some.builds(ledger.ProviderCreated, provider_id=IDS, name=IDS),
    some.builds(ledger.ProviderUpdated, provider_id=IDS, name=IDS, parent_id=some.none()),
    some.builds(ledger.ProviderDeleted, provider_id=IDS),
    some.builds(
        ledger.InventoriesSet, provider_id=IDS, inventories=some.dictionaries(CLASSES, INVENTORIES, max_size=3)
    ),
    some.builds(ledger.TraitsSet, provider_id=IDS, traits=some.sampled_from([(), ("A",), ("A", "B"), ("B",)])),
    some.builds(ledger.AggregatesSet, provider_id=IDS, aggregates=some.sampled_from([(), ("x",), ("x", "y")])),
    some.builds(ledger.TraitCreated, name=some.just("A")),
    some.builds(ledger.TraitDeleted, name=some.just("A")),
    some.builds(ledger.ResourceClassCreated, name=CLASSES),
    some.builds(ledger.ResourceClassRenamed, name=some.just("CUSTOM_A"), new_name=some.just("CUSTOM_B")),
    some.builds(
        ledger.Claimed,
        consumer_id=CONSUMERS,
        epoch=some.just(1),
        project_id=some.sampled_from(["x", "y"]),
        user_id=some.just("u"),
        allocations=some.dictionaries(
            IDS, some.dictionaries(CLASSES, some.sampled_from([1, 2, 2**63, 2**70]), min_size=1), max_size=2
        ),
    ),
    some.builds(ledger.Released, consumer_id=CONSUMERS, counted=some.lists(IDS, max_size=2).map(tuple)),
)
SERVERS = some.sampled_from(["s0", "s1", "s2"])
QUOTA_CHANGES = some.one_of(
    some.builds(Reserved, server_id=SERVERS, cell=some.just("c"), cores=some.integers(0, 9), ram_mb=some.integers()),
    some.builds(ReservationReleased, server_id=SERVERS),
    some.builds(LimitsSet, limits=some.none() | some.builds(Limits)),
)
PORTS = some.sampled_from(["port0", "port1", "port2"])
NETWORK_CHANGES = some.one_of(
    some.builds(
        PortCreated,
        port_id=PORTS,
        server_id=SERVERS,
        cell=some.just("c"),
        project_id=some.just("p"),
        index=some.integers(0, 1),
        mac_address=some.sampled_from(["m0", "m1"]),
        ip_address=some.sampled_from(["10.0.0.4", "10.0.0.5", "nonsense"]),
    ),
    some.builds(PortDeleted, port_id=PORTS, server_id=SERVERS),
)


def _ledger() -> Ledger:
    found = Ledger()
    apply_all(
        found,
        [
            ledger.ResourceClassCreated(name="CUSTOM_A"),
            ledger.ProviderCreated(provider_id="p0", name="p0"),
            ledger.ProviderCreated(provider_id="p1", name="p1", parent_id="p0"),
            ledger.InventoriesSet(
                provider_id="p0", inventories={"VCPU": Inventory(total=8), "CUSTOM_A": Inventory(total=3)}
            ),
            ledger.TraitsSet(provider_id="p0", traits=("A",)),
            ledger.Claimed(
                consumer_id="c0", epoch=1, project_id="x", user_id="u", allocations={"p0": {"VCPU": 2, "CUSTOM_A": 1}}
            ),
        ],
    )  # fmt: skip
    return found


def _network() -> Network:
    created = NetworkCreated(network_id="n", name="n", project_id="p", subnet_id="s", cidr="10.0.0.0/24")
    return Network(created, TIME)


def _of_ledger(state: Ledger) -> object:
    """All that the ledger says, without how it keeps it."""
    rows = state.columns
    books = {
        provider.id: (
            provider.name,
            provider.parent_id,
            provider.root_id,
            provider.generation,
            provider.inventories,
            dict(provider.used),
            provider.traits,
            provider.aggregates,
            set(provider.children),
            set(provider.consumers),
            rows.id_at(int(rows.roots()[rows.row_of[provider.id]])),
        )
        for provider in state.providers.values()
    }
    figures = {
        name: (column.particular, [
            [int(getattr(column, array)[rows.row_of[provider_id]]) for array in column.ARRAYS]
            for provider_id in sorted(state.providers)
        ])
        for name, column in rows._columns.items()
        if any(getattr(column, array).any() for array in column.ARRAYS[:3])
    }  # fmt: skip
    live = {rows.id_at(int(row)) for row in rows.live().nonzero()[0]}
    members = [
        {name: {rows.id_at(row) for row in found} for name, found in kept.items()}
        for kept in (rows._traits, rows._aggregates)
    ]
    return (
        books, figures, live, members, dict(state.ids_by_name), state.nested, dict(state.claims),
        {project: set(consumers) for project, consumers in state.consumers_of.items()},
        {project: dict(usages) for project, usages in state.usage_of.items()},
        set(state.traits), set(state.resource_classes),
    )  # fmt: skip


def _of_quota(state: Quota) -> object:
    return state.limits, dict(state.reservations), state.cores, state.ram_mb


def _of_network(state: Network) -> object:
    of_projects = {project: dict(ports) for project, ports in state._by_project.items()}
    return dict(state.ports), dict(state._by_server), of_projects, set(state._taken), state._next


KINDS: dict[str, tuple[Callable[[], Batched[Any]], Callable[[Any], object], Any, tuple[Any, ...]]] = {
    "ledger": (_ledger, _of_ledger, LEDGER_CHANGES, (ledger_state, columns, batch)),
    "quota": (Quota, _of_quota, QUOTA_CHANGES, (quota, batch)),
    "network": (_network, _of_network, NETWORK_CHANGES, (network, batch)),
}


class _Injected(Exception):
    pass


@contextmanager
def _failing_at(line: int, modules: tuple[Any, ...]) -> Iterator[None]:
    """Raise before the ``line``-th line that is run in the modules."""
    files = {module.__file__ for module in modules}
    left = line

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in files:
            return None
        if event == "exception":
            left = 0  # it has failed by itself: what takes it back is not to fail, too
        elif event == "line":
            left -= 1
            if left == 0:
                sys.settrace(None)
                raise _Injected
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150)
@given(data=some.data())
def test_where_a_change_fails_nothing_has_changed(kind: str, data: some.DataObject) -> None:
    make, shown, changes, modules = KINDS[kind]
    state = make()
    for group in data.draw(some.lists(some.lists(changes, max_size=4), max_size=6)):
        before = shown(state)
        try:
            with _failing_at(data.draw(some.integers(0, 60)), modules):
                undos = apply_all(state, group)
        except Exception:  # noqa: BLE001 - whatever it was
            assert shown(state) == before
            continue
        after = shown(state)
        take_back(undos)
        assert shown(state) == before
        apply_all(state, group)
        assert shown(state) == after


@pytest.mark.parametrize(
    "inventory",
    [
        Inventory(total=2**62),
        Inventory(total=1, reserved=MAX_FIGURE + 1),
        Inventory(total=1, max_unit=2**31),
        Inventory(total=1, min_unit=-1),
        Inventory(total=1, step_size=0),
        Inventory(total=MAX_FIGURE, allocation_ratio=3.4e38),
        Inventory(total=1, allocation_ratio=float("inf")),
        Inventory(total=1, allocation_ratio=float("nan")),
    ],
)
def test_figures_that_no_column_holds_are_refused_at_every_door(inventory: Inventory) -> None:
    state = _ledger()
    stock, generation = {"VCPU": inventory}, state.providers["p0"].generation
    doors: list[Callable[[], object]] = [
        lambda: claims.offer(state, "new", "new", stock),
        lambda: claims.offer(state, "p0", "p0", stock),
        lambda: inventories.create(state, "p1", "VCPU", inventory, may_be_reserved=True),
        lambda: inventories.update(state, "p0", "VCPU", inventory, generation, may_be_reserved=True),
        lambda: inventories.replace(state, "p0", stock, generation, may_be_reserved=True),
        lambda: reshape.reshape(state, {"p0": Reshaped(generation, stock)}, []),
    ]
    for door in doors:
        with pytest.raises(Refused) as refusal:
            door()
        assert refusal.value.status == 400
        assert "VCPU" in refusal.value.message


def test_the_largest_figures_are_reckoned_with() -> None:
    state = _ledger()
    largest = Inventory(total=MAX_FIGURE, allocation_ratio=MAX_CAPACITY // MAX_FIGURE)
    for change in (
        *providers.create(state, "big", "big", None),
        ledger.InventoriesSet(provider_id="big", inventories={"VCPU": largest}),
    ):
        state.apply(change)
    assert largest.unholdable() is None
    assert state.columns.fits("VCPU", MAX_FIGURE)[state.columns.row_of["big"]]
    assert not state.columns.fits("VCPU", 10**30).any()
