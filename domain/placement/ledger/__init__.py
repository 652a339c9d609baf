"""The ledger: a cell's resource providers, what they have, and who claims what. Placement as one aggregate.

Its words are Placement's: a provider has inventories by resource class; a consumer (a server) has allocations.
A claim takes all its allocations in one change, or none. It is held in memory and changed in place.

What may happen is decided in one module a noun (providers, inventories, vocabulary, allocations, reshape), each
with Placement's refusals.
"""

from domain.placement.ledger.audit import imbalances
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
from domain.placement.ledger.claims import leave_group, offer, release, release_assignment
from domain.placement.ledger.inventory import DISK_GB, MEMORY_MB, VCPU, Amounts, Inventory
from domain.placement.ledger.state import KIND, Ledger, Provider, Usage, aggregate, evolve

__all__ = [
    "DISK_GB",
    "KIND",
    "MEMORY_MB",
    "VCPU",
    "AggregatesSet",
    "Amounts",
    "Claimed",
    "InventoriesSet",
    "Inventory",
    "Ledger",
    "LedgerChange",
    "LedgerChanged",
    "Provider",
    "ProviderCreated",
    "ProviderDeleted",
    "ProviderUpdated",
    "Released",
    "ResourceClassCreated",
    "ResourceClassDeleted",
    "ResourceClassRenamed",
    "TraitCreated",
    "TraitDeleted",
    "TraitsSet",
    "Usage",
    "aggregate",
    "evolve",
    "imbalances",
    "leave_group",
    "offer",
    "release",
    "release_assignment",
]
