"""The ledger as bytes and back, so that a process need not read the whole log to know it."""

import msgspec

from domain.errors import Invalid
from domain.placement.ledger import (
    AggregatesSet,
    Claimed,
    InventoriesSet,
    Inventory,
    Ledger,
    ProviderCreated,
    ResourceClassCreated,
    TraitCreated,
    TraitsSet,
)


class _Provider(msgspec.Struct, array_like=True):
    id: str
    name: str
    parent_id: str | None
    generation: int
    inventories: dict[str, Inventory]
    traits: tuple[str, ...]
    aggregates: tuple[str, ...]


VERSION = 1
"""Of the form below; raised when it changes. A program reads its own version only, for it can always read the log."""


class _Snapshot(msgspec.Struct):
    providers: list[_Provider]
    """Parents before their children."""
    claims: list[Claimed]
    traits: list[str] = []
    resource_classes: list[str] = []
    version: int = VERSION


_decoder = msgspec.json.Decoder(_Snapshot)


def dump(ledger: Ledger) -> bytes:
    """Everything in the ledger."""
    providers = [
        _Provider(
            provider.id,
            provider.name,
            provider.parent_id,
            provider.generation,
            provider.inventories,
            provider.traits,
            provider.aggregates,
        )
        for root in ledger.providers.values()
        if root.parent_id is None
        for provider in ledger.tree(root.id)
    ]
    claims = list(ledger.claims.values())
    return msgspec.json.encode(_Snapshot(providers, claims, list(ledger.traits), list(ledger.resource_classes)))


def restore(body: bytes) -> Ledger:
    """The ledger that was dumped. Raises Invalid, and whatever else a damaged one leads to."""
    snapshot = _decoder.decode(body)
    if snapshot.version != VERSION:
        raise Invalid(f"The ledger's snapshot is of version {snapshot.version}; this program reads {VERSION}.")
    ledger = Ledger()
    for name in snapshot.traits:
        ledger.apply(TraitCreated(name=name))
    for name in snapshot.resource_classes:
        ledger.apply(ResourceClassCreated(name=name))
    for provider in snapshot.providers:
        provider_id = provider.id
        ledger.apply(ProviderCreated(provider_id=provider_id, name=provider.name, parent_id=provider.parent_id))
        if provider.inventories:
            ledger.apply(InventoriesSet(provider_id=provider_id, inventories=provider.inventories))
        if provider.traits:
            ledger.apply(TraitsSet(provider_id=provider_id, traits=provider.traits))
        if provider.aggregates:
            ledger.apply(AggregatesSet(provider_id=provider_id, aggregates=provider.aggregates))
    for claim in snapshot.claims:
        ledger.apply(claim)
    for provider in snapshot.providers:
        ledger.providers[provider.id].generation = provider.generation
    return ledger
