"""The ledger: a cell's resource providers, what they have, and who claims what. Placement as one aggregate.

Its words are Placement's: a provider has inventories by resource class; a consumer (a server) has allocations.
A claim takes all its allocations in one change, or none. It is held in memory and changed in place.
"""

from collections.abc import Mapping

import msgspec

from domain.batch import Change, Undo
from domain.columns import Columns
from domain.errors import NoCapacity, Refused, not_found
from domain.kind import Kind
from domain.record import AggregateId, Event, Metadata

VCPU, MEMORY_MB, DISK_GB = "VCPU", "MEMORY_MB", "DISK_GB"

Amounts = Mapping[str, int]
"""By resource class."""


class Inventory(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a provider has of one resource class; Placement's fields."""

    total: int
    reserved: int = 0
    allocation_ratio: float = 1.0
    min_unit: int = 1
    max_unit: int = 2147483647
    step_size: int = 1

    @property
    def capacity(self) -> int:
        """What may be claimed in all."""
        return int((self.total - self.reserved) * self.allocation_ratio)


class ProviderCreated(Change, tag="provider_created", frozen=True, kw_only=True):
    """A resource provider exists."""

    provider_id: str
    name: str


class InventoriesSet(Change, tag="inventories_set", frozen=True, kw_only=True):
    """The provider's inventories are now exactly these, by resource class."""

    provider_id: str
    inventories: dict[str, Inventory]


class Claimed(Change, tag="claimed", frozen=True, kw_only=True):
    """The consumer's allocations are now exactly these: by provider, by resource class.

    ``epoch`` is the consumer's assignment that they are for.
    """

    consumer_id: str
    epoch: int
    project_id: str
    user_id: str
    allocations: dict[str, dict[str, int]]


class Released(Change, tag="released", frozen=True, kw_only=True):
    """The consumer has no allocations any more."""

    consumer_id: str


LedgerChange = ProviderCreated | InventoriesSet | Claimed | Released


class LedgerChanged(Event, tag="ledger.changed", frozen=True, kw_only=True):
    """Everything that one writer changed at once, in order."""

    changes: tuple[LedgerChange, ...]


class Provider(msgspec.Struct, kw_only=True):
    """A resource provider. ``generation`` counts the changes that Placement counts."""

    id: str
    name: str
    inventories: dict[str, Inventory] = {}
    used: dict[str, int] = {}
    generation: int = 0


class Ledger:
    """Providers by id, claims by consumer, and the same in columns for the search."""

    def __init__(self) -> None:
        self.providers: dict[str, Provider] = {}
        self.claims: dict[str, Claimed] = {}
        self.columns = Columns()

    def apply(self, change: LedgerChange) -> Undo:
        """Make one change."""
        match change:
            case Claimed():
                return self._put_claim(change.consumer_id, change)
            case Released():
                return self._put_claim(change.consumer_id, None)
            case ProviderCreated():
                self.providers[change.provider_id] = Provider(id=change.provider_id, name=change.name)
                self.columns.add(change.provider_id)
                return lambda: self._remove_provider(change.provider_id)
            case InventoriesSet():
                before = self.providers[change.provider_id].inventories
                self._set_inventories(change.provider_id, change.inventories)
                return lambda: self._set_inventories(change.provider_id, before)

    def _put_claim(self, consumer_id: str, claim: Claimed | None) -> Undo:
        before = self.claims.pop(consumer_id, None)
        if before:
            self._count(before, -1)
        if claim:
            self.claims[consumer_id] = claim
            self._count(claim, 1)
        return lambda: self._put_claim(consumer_id, before)

    def _count(self, claim: Claimed, sign: int) -> None:
        for provider_id, amounts in claim.allocations.items():
            provider = self.providers[provider_id]
            provider.generation += max(0, sign)
            for resource_class, amount in amounts.items():
                provider.used[resource_class] = provider.used.get(resource_class, 0) + sign * amount
            self.columns.use(provider_id, amounts, sign)

    def _set_inventories(self, provider_id: str, inventories: dict[str, Inventory]) -> None:
        provider = self.providers[provider_id]
        provider.inventories = inventories
        provider.generation += 1
        self.columns.set_capacity(
            provider_id,
            {name: (inventory.capacity, inventory.max_unit) for name, inventory in inventories.items()},
        )

    def _remove_provider(self, provider_id: str) -> None:
        del self.providers[provider_id]
        self.columns.remove(provider_id)


def aggregate(cell: str) -> AggregateId:
    """The aggregate of a cell's ledger."""
    return AggregateId("ledger", cell)


def offer(ledger: Ledger, provider_id: str, name: str, inventories: dict[str, Inventory]) -> tuple[LedgerChange, ...]:
    """A host has these resources; nothing to do if that is known."""
    provider = ledger.providers.get(provider_id)
    created: tuple[LedgerChange, ...] = ()
    if provider is None:
        created = (ProviderCreated(provider_id=provider_id, name=name),)
    elif provider.inventories == inventories:
        return ()
    return (*created, InventoriesSet(provider_id=provider_id, inventories=inventories))


def check(ledger: Ledger, provider_id: str, amounts: Amounts) -> None:
    """Raise NoCapacity unless the provider can take these amounts beside what it has given; Placement's rules."""
    provider = ledger.providers.get(provider_id)
    if provider is None:
        raise not_found("Resource provider", provider_id)
    for resource_class, amount in amounts.items():
        inventory = provider.inventories.get(resource_class)
        if inventory is None:
            raise NoCapacity(f"Resource provider {provider_id} has no inventory of {resource_class}.")
        used = provider.used.get(resource_class, 0)
        if used + amount > inventory.capacity:
            raise NoCapacity(
                f"Unable to allocate {amount} {resource_class} on resource provider {provider_id}: "
                f"{used} of {inventory.capacity} are taken."
            )
        if not inventory.min_unit <= amount <= inventory.max_unit or amount % inventory.step_size:
            raise Refused(
                "ledger.unit",
                f"{amount} {resource_class} violates min_unit {inventory.min_unit}, max_unit "
                f"{inventory.max_unit} or step_size {inventory.step_size} of resource provider {provider_id}.",
            )


def release(ledger: Ledger, consumer_id: str, request_id: str | None) -> tuple[Released, ...]:
    """Give back all that a consumer has; nothing to do if it has nothing."""
    if consumer_id not in ledger.claims:
        return ()
    return (Released(consumer_id=consumer_id, request_id=request_id),)


def imbalances(ledger: Ledger) -> list[str]:
    """Where the sums by provider and by consumer differ, or a capacity is exceeded, in words; normally empty."""
    sums: dict[tuple[str, str], int] = {}
    for claim in ledger.claims.values():
        for provider_id, amounts in claim.allocations.items():
            for resource_class, amount in amounts.items():
                key = provider_id, resource_class
                sums[key] = sums.get(key, 0) + amount
    found = []
    for provider in ledger.providers.values():
        for resource_class in provider.used.keys() | provider.inventories.keys():
            used = provider.used.get(resource_class, 0)
            claimed = sums.pop((provider.id, resource_class), 0)
            if used != claimed:
                found.append(f"{provider.name}: {used} {resource_class} used, but {claimed} claimed")
            inventory = provider.inventories.get(resource_class)
            if used > (inventory.capacity if inventory else 0):
                found.append(f"{provider.name}: {used} {resource_class} used beyond its capacity")
    found.extend(f"unknown provider {provider_id}: {amount} {name}" for (provider_id, name), amount in sums.items())
    return found


def evolve(state: Ledger | None, event: Event, _meta: Metadata) -> Ledger:
    """Fold one event, in place."""
    state = state or Ledger()
    assert isinstance(event, LedgerChanged)
    for change in event.changes:
        state.apply(change)
    return state


KIND = Kind("ledger", (LedgerChanged,), evolve)
