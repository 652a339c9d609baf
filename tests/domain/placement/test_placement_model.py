"""Random sequences of requests to the ledger's decisions agree, answer by answer, with a small obvious model; and at
every step the books balance, every change can be taken back, and a snapshot restores what it was made from."""

from typing import Any

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.strategies import booleans, dictionaries, integers, lists, none, sampled_from

from domain.errors import Refused
from domain.placement import ledger_snapshot
from domain.placement.ledger import Inventory, Ledger, LedgerChange, allocations, imbalances, inventories, providers
from domain.placement.ledger.allocations import NewAllocations

IDS = sampled_from(["p0", "p1", "p2", "p3"])
CONSUMERS = sampled_from(["c0", "c1", "c2"])
CLASSES = sampled_from(["VCPU", "VGPU"])
stocks = dictionaries(CLASSES, integers(1, 6), max_size=2)
amounts = dictionaries(
    sampled_from(["p0", "p0", "p0", "p1", "p2"]), dictionaries(CLASSES, integers(1, 4), min_size=1), max_size=2
)


class Model:
    """Placement in a few dictionaries: everything is counted anew whenever it is asked for."""

    def __init__(self) -> None:
        self.parents: dict[str, str | None] = {}
        self.stock: dict[str, dict[str, int]] = {}
        self.held: dict[str, dict[str, dict[str, int]]] = {}
        self.generations: dict[str, int] = {}

    def used(self, provider: str, name: str) -> int:
        return sum(held.get(provider, {}).get(name, 0) for held in self.held.values())

    def create(self, provider: str, parent: str | None) -> bool:
        if provider in self.parents or parent == provider or (parent and parent not in self.parents):
            return False
        self.parents[provider], self.stock[provider] = parent, {}
        return True

    def delete(self, provider: str) -> bool:
        claimed = any(provider in held for held in self.held.values())
        if provider not in self.parents or provider in self.parents.values() or claimed:
            return False
        del self.parents[provider], self.stock[provider]
        return True

    def supply(self, provider: str, stock: dict[str, int]) -> bool:
        if provider not in self.parents or any(
            self.used(provider, name) for name in self.stock[provider] if name not in stock
        ):
            return False
        self.stock[provider] = dict(stock)
        return True

    def claim(self, wanted: dict[str, tuple[dict[str, dict[str, int]], int | None]]) -> bool:
        for consumer, (_, generation) in wanted.items():
            if self.generations.get(consumer) != generation:
                return False
        if any(provider not in self.parents for claims, _ in wanted.values() for provider in claims):
            return False
        before = {key: self.used(*key) for key in self._keys()}
        held, self.held = self.held, {**self.held, **{consumer: claims for consumer, (claims, _) in wanted.items()}}
        touched = {(one, name) for claims, _ in wanted.values() for one, some in claims.items() for name in some}
        for provider, name in touched:
            now, room = self.used(provider, name), self.stock[provider].get(name)
            if room is None or now > max(room, before.get((provider, name), 0)):
                self.held = held
                return False
        for consumer, (claims, generation) in wanted.items():
            self.generations[consumer] = (generation or 0) + 1
            if not claims:
                del self.held[consumer], self.generations[consumer]
        return True

    def _keys(self) -> list[tuple[str, str]]:
        return [(provider, name) for provider in self.parents for name in ("VCPU", "VGPU")]

    def release(self, consumer: str) -> bool:
        return self.held.pop(consumer, None) is not None and self.generations.pop(consumer) > 0


class LedgerAgainstModel(RuleBasedStateMachine):
    """Each rule asks both."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger, self.model = Ledger(), Model()

    def _agree(self, expected: bool, decide: Any) -> None:
        try:
            changes: tuple[LedgerChange, ...] | None = decide()
        except Refused:
            changes = None
        assert (changes is not None) == expected
        if changes is None:
            return
        before = ledger_snapshot.dump(self.ledger)
        for undo in reversed([self.ledger.apply(change) for change in changes]):
            undo()
        assert _facts(self.ledger) == _facts(ledger_snapshot.restore(before))
        for change in changes:
            self.ledger.apply(change)

    @initialize()
    def stock(self) -> None:
        """Two providers to begin with, so that most claims mean something."""
        for provider in ("p0", "p1"):
            self.create(provider, None)
            self.supply(provider, {"VCPU": 6, "VGPU": 4}, stale=False)

    @rule(provider=IDS, parent=none() | IDS)
    def create(self, provider: str, parent: str | None) -> None:
        self._agree(
            self.model.create(provider, parent),
            lambda: providers.create(self.ledger, provider, provider, parent),
        )

    @rule(provider=IDS)
    def delete(self, provider: str) -> None:
        self._agree(self.model.delete(provider), lambda: providers.delete(self.ledger, provider))

    @rule(provider=IDS, stock=stocks, stale=booleans())
    def supply(self, provider: str, stock: dict[str, int], stale: bool) -> None:
        known = self.ledger.providers.get(provider)
        generation = (known.generation if known else 0) + stale
        wanted = {name: Inventory(total=total) for name, total in stock.items()}
        self._agree(
            not stale and self.model.supply(provider, stock),
            lambda: inventories.replace(self.ledger, provider, wanted, generation, may_be_reserved=True),
        )

    @rule(wanted=lists(CONSUMERS, unique=True, min_size=1).flatmap(
        lambda ids: dictionaries(sampled_from(ids), amounts, min_size=len(ids))
    ), stale=sampled_from([False, False, False, True]))  # fmt: skip
    def claim(self, wanted: dict[str, dict[str, dict[str, int]]], stale: bool) -> None:
        known = self.model.generations
        # Who has nothing cannot give anything back.
        asked = {
            consumer: (claims, 9 if stale else known.get(consumer))
            for consumer, claims in wanted.items()
            if claims or consumer in known
        }
        self._agree(
            self.model.claim(asked),
            lambda: allocations.replace(
                self.ledger,
                [
                    NewAllocations(consumer_id=consumer, allocations=claims, generation=generation, guarded=True)
                    for consumer, (claims, generation) in asked.items()
                ],
                "",
            ),
        )

    @rule(consumer=CONSUMERS)
    def release(self, consumer: str) -> None:
        self._agree(self.model.release(consumer), lambda: allocations.delete(self.ledger, consumer))

    @invariant()
    def the_same_is_known(self) -> None:
        assert {one: held.allocations for one, held in self.ledger.claims.items()} == self.model.held
        assert {one: held.generation for one, held in self.ledger.claims.items()} == self.model.generations
        assert {one.id: one.parent_id for one in self.ledger.providers.values()} == self.model.parents
        for provider, name in self.model._keys():
            row = self.ledger.columns.row_of[provider]
            left = self.model.stock[provider].get(name, 0) - self.model.used(provider, name)
            assert self.ledger.columns.free(name)[row] == left
            assert bool(self.ledger.columns.fits(name, 1)[row]) == (left >= 1)

    @invariant()
    def the_books_balance(self) -> None:
        # Beyond its capacity is only what was claimed before an inventory shrank.
        assert [found for found in imbalances(self.ledger) if "beyond its capacity" not in found] == []
        assert _facts(ledger_snapshot.restore(ledger_snapshot.dump(self.ledger))) == _facts(self.ledger)


def _facts(ledger: Ledger) -> object:
    return (
        {
            one.id: (
                one.name,
                one.parent_id,
                one.root_id,
                one.generation,
                one.inventories,
                {name: amount for name, amount in one.used.items() if amount},
                set(one.children),
                set(one.consumers),
            )
            for one in ledger.providers.values()
        },
        dict(ledger.claims),
        ledger.nested,
    )


LedgerAgainstModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestLedgerAgainstModel = LedgerAgainstModel.TestCase
