"""The ledger's state, changed in place: each change returns how to take it back."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from domain.batch import Undo
from domain.kind import Kind
from domain.ledger.changes import (
    AggregatesSet,
    Claimed,
    InventoriesSet,
    LedgerChange,
    LedgerChanged,
    ProviderCreated,
    ProviderDeleted,
    ProviderUpdated,
    Released,
    ResourceClassCreated,
    ResourceClassDeleted,
    ResourceClassRenamed,
    TraitCreated,
    TraitDeleted,
    TraitsSet,
)
from domain.ledger.columns import Columns
from domain.ledger.inventory import Inventory
from domain.ledger.renaming import renamed_claims, renamed_inventories
from domain.record import AggregateId, Event, Metadata


class Provider(msgspec.Struct, kw_only=True, eq=False, weakref=True):
    """A resource provider. ``generation`` counts the changes that Placement counts."""

    id: str
    name: str
    parent_id: str | None = None
    root_id: str = ""
    generation: int = 0
    inventories: dict[str, Inventory] = {}
    used: dict[str, int] = {}
    traits: tuple[str, ...] = ()
    aggregates: tuple[str, ...] = ()
    children: set[str] = set()
    touched: int = 0
    """Counts every change of what is shown of it, taken back or not: what was made from it is fresh if this is as it
    was."""
    consumers: dict[str, None] = {}
    """Who has claims here, oldest first."""


class Ledger:
    """Providers by id, claims by consumer, and the same in columns for the search."""

    def __init__(self) -> None:
        self.providers: dict[str, Provider] = {}
        self.ids_by_name: dict[str, str] = {}
        self.nested = 0
        """How many providers have a parent."""
        self.claims: dict[str, Claimed] = {}
        self.consumers_of: dict[str, dict[str, None]] = {}
        """Consumers by project."""
        self.traits: dict[str, None] = {}
        """The custom ones; the standard ones are not state."""
        self.resource_classes: dict[str, None] = {}
        """The custom ones."""
        self.columns = Columns()
        self._apply: dict[type, Callable[[Any], Undo]] = {
            Claimed: lambda change: self._put_claim(
                change.consumer_id, change, (*change.allocations,), change.uncounted
            ),
            Released: lambda change: self._put_claim(change.consumer_id, None, change.counted, ()),
            ProviderCreated: self._create_provider,
            ProviderUpdated: self._update_provider,
            ProviderDeleted: self._delete_provider,
            InventoriesSet: self._set_inventories,
            TraitsSet: self._set_traits,
            AggregatesSet: self._set_aggregates,
            TraitCreated: lambda change: _put(self.traits, change.name),
            TraitDeleted: lambda change: _take(self.traits, change.name),
            ResourceClassCreated: lambda change: _put(self.resource_classes, change.name),
            ResourceClassDeleted: lambda change: _take(self.resource_classes, change.name),
            ResourceClassRenamed: lambda change: self._rename_class(change.name, change.new_name),
        }

    def apply(self, change: LedgerChange) -> Undo:
        """Make one change."""
        return self._apply[type(change)](change)

    def tree(self, provider_id: str) -> Iterator[Provider]:
        """A provider and everything under it, parents before children."""
        provider = self.providers[provider_id]
        yield provider
        for child in provider.children:
            yield from self.tree(child)

    def _put_claim(
        self, consumer_id: str, claim: Claimed | None, counted: tuple[str, ...], uncounted: tuple[str, ...]
    ) -> Undo:
        before = self.claims.get(consumer_id)
        self._replace_claim(consumer_id, before, claim)
        for provider_id in counted:
            if provider_id not in uncounted:
                self.providers[provider_id].generation += 1

        def undo() -> None:
            self._replace_claim(consumer_id, claim, before)
            for provider_id in counted:
                if provider_id not in uncounted:
                    self.providers[provider_id].generation -= 1

        return undo

    def _replace_claim(self, consumer_id: str, before: Claimed | None, claim: Claimed | None) -> None:
        if before:
            del self.claims[consumer_id]
            consumers = self.consumers_of[before.project_id]
            del consumers[consumer_id]
            if not consumers:
                del self.consumers_of[before.project_id]
            for provider_id in before.allocations:
                del self.providers[provider_id].consumers[consumer_id]
            self._count(before, -1)
        if claim:
            self.claims[consumer_id] = claim
            self.consumers_of.setdefault(claim.project_id, {})[consumer_id] = None
            for provider_id in claim.allocations:
                self.providers[provider_id].consumers[consumer_id] = None
            self._count(claim, 1)

    def _count(self, claim: Claimed, sign: int) -> None:
        for provider_id, amounts in claim.allocations.items():
            provider = self.providers[provider_id]
            provider.touched += 1
            used = provider.used
            for resource_class, amount in amounts.items():
                used[resource_class] = used.get(resource_class, 0) + sign * amount
            self.columns.use(provider_id, amounts, sign)

    def _create_provider(self, change: ProviderCreated) -> Undo:
        self._add(Provider(id=change.provider_id, name=change.name, parent_id=change.parent_id))
        return lambda: self._remove(change.provider_id)

    def _delete_provider(self, change: ProviderDeleted) -> Undo:
        provider = self._remove(change.provider_id)
        return lambda: self._add(provider)

    def _add(self, provider: Provider) -> None:
        parent = self.providers[provider.parent_id] if provider.parent_id else None
        provider.root_id = parent.root_id if parent else provider.id
        self.providers[provider.id] = provider
        self.ids_by_name[provider.name] = provider.id
        self.columns.add(provider.id, provider.root_id)
        if parent:
            parent.children.add(provider.id)
            self.nested += 1
        if provider.inventories:
            self.columns.set_inventories(provider.id, provider.inventories)
        self.columns.set_traits(provider.id, (), provider.traits)
        self.columns.set_aggregates(provider.id, (), provider.aggregates)

    def _remove(self, provider_id: str) -> Provider:
        provider = self.providers.pop(provider_id)
        del self.ids_by_name[provider.name]
        self.columns.set_traits(provider_id, provider.traits, ())
        self.columns.set_aggregates(provider_id, provider.aggregates, ())
        self.columns.remove(provider_id)
        if provider.parent_id:
            self.providers[provider.parent_id].children.discard(provider_id)
            self.nested -= 1
        return provider

    def _update_provider(self, change: ProviderUpdated) -> Undo:
        provider = self.providers[change.provider_id]
        before = provider.name, provider.parent_id
        self._place(provider, change.name, change.parent_id)
        return lambda: self._place(provider, *before)

    def _place(self, provider: Provider, name: str, parent_id: str | None) -> None:
        del self.ids_by_name[provider.name]
        provider.name = name
        self.ids_by_name[name] = provider.id
        if parent_id == provider.parent_id:
            return
        if provider.parent_id:
            self.providers[provider.parent_id].children.discard(provider.id)
            self.nested -= 1
        provider.parent_id = parent_id
        root_id = provider.id
        if parent_id:
            parent = self.providers[parent_id]
            parent.children.add(provider.id)
            self.nested += 1
            root_id = parent.root_id
        for member in self.tree(provider.id):
            member.root_id = root_id
            member.touched += 1
            self.columns.set_root(member.id, root_id)

    def _set_inventories(self, change: InventoriesSet) -> Undo:
        provider = self.providers[change.provider_id]
        before = provider.inventories
        provider.generation += 1
        self._stock(provider, change.inventories)

        def undo() -> None:
            provider.generation -= 1
            self._stock(provider, before)

        return undo

    def _stock(self, provider: Provider, inventories: dict[str, Inventory]) -> None:
        provider.touched += 1
        provider.inventories = inventories
        self.columns.set_inventories(provider.id, inventories)

    def _set_traits(self, change: TraitsSet) -> Undo:
        provider = self.providers[change.provider_id]
        before = provider.traits
        provider.generation += 1
        provider.touched += 1
        provider.traits = change.traits
        self.columns.set_traits(provider.id, before, change.traits)

        def undo() -> None:
            provider.generation -= 1
            provider.touched += 1
            provider.traits = before
            self.columns.set_traits(provider.id, change.traits, before)

        return undo

    def _set_aggregates(self, change: AggregatesSet) -> Undo:
        provider = self.providers[change.provider_id]
        before = provider.aggregates
        provider.generation += change.counted
        provider.aggregates = change.aggregates
        self.columns.set_aggregates(provider.id, before, change.aggregates)

        def undo() -> None:
            provider.generation -= change.counted
            provider.aggregates = before
            self.columns.set_aggregates(provider.id, change.aggregates, before)

        return undo

    def _rename_class(self, name: str, new_name: str) -> Undo:
        self.resource_classes = {(new_name if known == name else known): None for known in self.resource_classes}
        self.columns.rename(name, new_name)
        for provider in self.providers.values():
            provider.touched += 1
            provider.inventories = renamed_inventories(provider.inventories, name, new_name)
            if name in provider.used:
                provider.used[new_name] = provider.used.pop(name)
        self.claims = renamed_claims(self.claims, name, new_name)
        return lambda: self._rename_class(new_name, name)


def _put(names: dict[str, None], name: str) -> Undo:
    names[name] = None
    return lambda: names.pop(name)


def _take(names: dict[str, None], name: str) -> Undo:
    del names[name]
    return lambda: names.setdefault(name)


def aggregate(cell: str) -> AggregateId:
    """The aggregate of a cell's ledger."""
    return AggregateId("ledger", cell)


def evolve(state: Ledger | None, event: Event, _meta: Metadata) -> Ledger:
    """Fold one event, in place."""
    state = state or Ledger()
    assert isinstance(event, LedgerChanged)
    for change in event.changes:
        state.apply(change)
    return state


KIND = Kind("ledger", (LedgerChanged,), evolve)
