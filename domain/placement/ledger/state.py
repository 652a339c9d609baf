"""The ledger's state, changed in place: each change returns how to take it back."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import msgspec

from domain.log.batch import Journal, Undo, apply_all, journaled
from domain.log.kind import Kind, unfoldable
from domain.log.record import AggregateId, Event, Metadata
from domain.placement.ledger.changes import (
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
from domain.placement.ledger.columns import Columns
from domain.placement.ledger.inventory import Inventory
from domain.placement.ledger.renaming import renamed_claims, renamed_inventories


class Usage(NamedTuple):
    """What some consumers claim together."""

    consumers: int
    amounts: dict[str, int]
    """By resource class; none of them zero."""


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
        self.usage_of: dict[str, dict[tuple[str, str | None], Usage]] = {}
        """What is claimed, by project, and there by user and type of consumer."""
        self.traits: dict[str, None] = {}
        """The custom ones; the standard ones are not state."""
        self.resource_classes: dict[str, None] = {}
        """The custom ones."""
        self.groups: dict[str, dict[str, dict[str, int]]] = {}
        """Server groups: by id, by host, the members with claims there, and how many."""
        self.columns = Columns()
        self._makers: dict[type, Callable[[Any, Journal], object]] = {
            Claimed: lambda change, journal: self._put_claim(
                journal, change.consumer_id, change, (*change.allocations,), change.uncounted
            ),
            Released: lambda change, journal: self._put_claim(journal, change.consumer_id, None, change.counted, ()),
            ProviderCreated: self._create_provider,
            ProviderUpdated: self._update_provider,
            ProviderDeleted: self._delete_provider,
            InventoriesSet: self._set_inventories,
            TraitsSet: self._set_traits,
            AggregatesSet: self._set_aggregates,
            TraitCreated: lambda change, journal: journal.put(self.traits, change.name, None),
            TraitDeleted: lambda change, journal: journal.drop(self.traits, change.name),
            ResourceClassCreated: lambda change, journal: journal.put(self.resource_classes, change.name, None),
            ResourceClassDeleted: lambda change, journal: journal.drop(self.resource_classes, change.name),
            ResourceClassRenamed: lambda change, journal: self._rename_class(journal, change.name, change.new_name),
        }

    def apply(self, change: LedgerChange) -> Undo:
        return journaled(partial(self._makers[type(change)], change))

    def tree(self, provider_id: str) -> Iterator[Provider]:
        """A provider and everything under it, parents before children."""
        provider = self.providers[provider_id]
        yield provider
        for child in provider.children:
            yield from self.tree(child)

    def _put_claim(
        self,
        journal: Journal,
        consumer_id: str,
        claim: Claimed | None,
        counted: tuple[str, ...],
        uncounted: tuple[str, ...],
    ) -> None:
        before = self.claims.get(consumer_id)
        if before:
            self._end_claim(journal, before)
        if claim:
            self._begin_claim(journal, claim)
        for provider_id in counted:
            if provider_id not in uncounted:
                provider = self.providers[provider_id]
                journal.assign(provider, "generation", provider.generation + 1)

    def _end_claim(self, journal: Journal, claim: Claimed) -> None:
        consumer_id, project_id = claim.consumer_id, claim.project_id
        journal.drop(self.claims, consumer_id)
        journal.drop(self.consumers_of[project_id], consumer_id)
        if not self.consumers_of[project_id]:
            journal.drop(self.consumers_of, project_id)
        for provider_id in claim.allocations:
            journal.drop(self.providers[provider_id].consumers, consumer_id)
        self._gather(journal, claim, -1)
        self._count(journal, claim, -1)
        self._charge(journal, claim, -1)

    def _begin_claim(self, journal: Journal, claim: Claimed) -> None:
        journal.put(self.claims, claim.consumer_id, claim)
        if claim.project_id not in self.consumers_of:
            journal.put(self.consumers_of, claim.project_id, {})
        journal.put(self.consumers_of[claim.project_id], claim.consumer_id, None)
        for provider_id in claim.allocations:
            journal.put(self.providers[provider_id].consumers, claim.consumer_id, None)
        self._gather(journal, claim, 1)
        self._count(journal, claim, 1)
        self._charge(journal, claim, 1)

    def _gather(self, journal: Journal, claim: Claimed, sign: int) -> None:
        """Count a claim to its server group; hosts and groups without members are forgotten."""
        if claim.member is None:
            return
        group_id, server_id, host_id = claim.member.group_id, claim.member.server_id, next(iter(claim.allocations))
        hosts = self.groups.get(group_id)
        if hosts is None:
            hosts = {}
            journal.put(self.groups, group_id, hosts)
        if host_id not in hosts:
            journal.put(hosts, host_id, {})
        claims = hosts[host_id].get(server_id, 0) + sign
        if claims:
            journal.put(hosts[host_id], server_id, claims)
            return
        journal.drop(hosts[host_id], server_id)
        if not hosts[host_id]:
            journal.drop(hosts, host_id)
        if not hosts:
            journal.drop(self.groups, group_id)

    def _charge(self, journal: Journal, claim: Claimed, sign: int) -> None:
        """Count a claim to its project; what nobody claims any more is forgotten."""
        if claim.project_id not in self.usage_of:
            journal.put(self.usage_of, claim.project_id, {})
        of_project, key = self.usage_of[claim.project_id], (claim.user_id, claim.consumer_type)
        before = of_project.get(key) or Usage(0, {})
        consumers, amounts = before.consumers + sign, dict(before.amounts)
        for claimed in claim.allocations.values():
            for resource_class, amount in claimed.items():
                amounts[resource_class] = amounts.get(resource_class, 0) + sign * amount
        if consumers:
            journal.put(of_project, key, Usage(consumers, {name: sum_ for name, sum_ in amounts.items() if sum_}))
        else:
            journal.drop(of_project, key)
            if not of_project:
                journal.drop(self.usage_of, claim.project_id)

    def _count(self, journal: Journal, claim: Claimed, sign: int) -> None:
        for provider_id, amounts in claim.allocations.items():
            provider = self.providers[provider_id]
            _touch(journal, provider)
            used = provider.used
            for resource_class, amount in amounts.items():
                journal.put(used, resource_class, used.get(resource_class, 0) + sign * amount)
            self.columns.use(journal, provider_id, amounts, sign)

    def _create_provider(self, change: ProviderCreated, journal: Journal) -> None:
        if change.provider_id in self.providers or change.name in self.ids_by_name:
            raise ValueError(f"there is a provider {change.provider_id} or {change.name} already")
        provider = Provider(id=change.provider_id, name=change.name, parent_id=change.parent_id)
        parent = self.providers[provider.parent_id] if provider.parent_id else None
        provider.root_id = parent.root_id if parent else provider.id
        journal.put(self.providers, provider.id, provider)
        journal.put(self.ids_by_name, provider.name, provider.id)
        self.columns.add(journal, provider.id, provider.root_id)
        if parent:
            journal.join(parent.children, provider.id)
            journal.assign(self, "nested", self.nested + 1)

    def _delete_provider(self, change: ProviderDeleted, journal: Journal) -> None:
        provider = journal.drop(self.providers, change.provider_id)
        if provider.children or provider.consumers:
            raise ValueError(f"provider {provider.id} has children or claims")
        journal.drop(self.ids_by_name, provider.name)
        self.columns.set_traits(journal, provider.id, provider.traits, ())
        self.columns.set_aggregates(journal, provider.id, provider.aggregates, ())
        self.columns.remove(journal, provider.id)
        if provider.parent_id:
            self._leave_parent(journal, provider)

    def _leave_parent(self, journal: Journal, provider: Provider) -> None:
        assert provider.parent_id
        journal.leave(self.providers[provider.parent_id].children, provider.id)
        journal.assign(self, "nested", self.nested - 1)

    def _update_provider(self, change: ProviderUpdated, journal: Journal) -> None:
        provider = self.providers[change.provider_id]
        journal.drop(self.ids_by_name, provider.name)
        journal.assign(provider, "name", change.name)
        journal.put(self.ids_by_name, change.name, provider.id)
        if change.parent_id != provider.parent_id:
            self._move(journal, provider, change.parent_id)

    def _move(self, journal: Journal, provider: Provider, parent_id: str | None) -> None:
        if provider.parent_id:
            self._leave_parent(journal, provider)
        journal.assign(provider, "parent_id", parent_id)
        root_id = provider.id
        if parent_id:
            parent = self.providers[parent_id]
            journal.join(parent.children, provider.id)
            journal.assign(self, "nested", self.nested + 1)
            root_id = parent.root_id
        for member in self.tree(provider.id):
            journal.assign(member, "root_id", root_id)
            _touch(journal, member)
            self.columns.set_root(journal, member.id, root_id)

    def _set_inventories(self, change: InventoriesSet, journal: Journal) -> None:
        provider = self.providers[change.provider_id]
        journal.assign(provider, "generation", provider.generation + 1)
        _touch(journal, provider)
        journal.assign(provider, "inventories", change.inventories)
        self.columns.set_inventories(journal, provider.id, change.inventories)

    def _set_traits(self, change: TraitsSet, journal: Journal) -> None:
        provider = self.providers[change.provider_id]
        journal.assign(provider, "generation", provider.generation + 1)
        _touch(journal, provider)
        self.columns.set_traits(journal, provider.id, provider.traits, change.traits)
        journal.assign(provider, "traits", change.traits)

    def _set_aggregates(self, change: AggregatesSet, journal: Journal) -> None:
        provider = self.providers[change.provider_id]
        journal.assign(provider, "generation", provider.generation + change.counted)
        self.columns.set_aggregates(journal, provider.id, provider.aggregates, change.aggregates)
        journal.assign(provider, "aggregates", change.aggregates)

    def _rename_class(self, journal: Journal, name: str, new_name: str) -> None:
        if name not in self.resource_classes or new_name in self.resource_classes:
            return  # nobody decides so; what is there under the new name must not be lost by it
        classes = {(new_name if known == name else known): None for known in self.resource_classes}
        journal.assign(self, "resource_classes", classes)
        self.columns.rename(journal, name, new_name)
        for provider in self.providers.values():
            _touch(journal, provider)
            journal.assign(provider, "inventories", renamed_inventories(provider.inventories, name, new_name))
            if name in provider.used:
                journal.put(provider.used, new_name, journal.drop(provider.used, name))
        journal.assign(self, "claims", renamed_claims(self.claims, name, new_name))
        for usages in self.usage_of.values():
            for key, usage in usages.items():
                amounts = {new_name if known == name else known: amount for known, amount in usage.amounts.items()}
                journal.put(usages, key, Usage(usage.consumers, amounts))


def _touch(journal: Journal, provider: Provider) -> None:
    """What is shown of it changes now, and changes once more if this is taken back."""
    journal.note(lambda: _count_touch(provider))
    _count_touch(provider)


def _count_touch(provider: Provider) -> None:
    provider.touched += 1


def aggregate(cell: str) -> AggregateId:
    return AggregateId("ledger", cell)


def evolve(state: Ledger | None, event: Event, _meta: Metadata) -> Ledger:
    """Fold one event, in place."""
    state = state or Ledger()
    if not isinstance(event, LedgerChanged):
        raise unfoldable(event)
    apply_all(state, event.changes)
    return state


KIND = Kind("ledger", (LedgerChanged,), evolve)
