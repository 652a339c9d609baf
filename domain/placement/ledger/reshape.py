"""Reshaping: inventories of several providers and the claims on them change together, as when a resource moves
from a host to a device below it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from domain.placement.ledger.allocations import NewAllocations, check_generation, check_providers, decide, freed
from domain.placement.ledger.changes import InventoriesSet, LedgerChange
from domain.placement.ledger.inventory import Inventory
from domain.placement.ledger.refusals import (
    CONCURRENT_UPDATE,
    INVENTORY_IN_USE,
    PROVIDER_NOT_FOUND,
    bad,
    check_figures,
    conflict,
    in_use,
)
from domain.placement.ledger.state import Ledger
from domain.placement.ledger.vocabulary import class_missing, in_order, is_class


class Reshaped(NamedTuple):
    """What a provider is to have, if it is still at ``generation``."""

    generation: int
    inventories: dict[str, Inventory]


def reshape(
    ledger: Ledger, providers: Mapping[str, Reshaped], wanted: Sequence[NewAllocations]
) -> tuple[LedgerChange, ...]:
    """Old and new inventories together make room for the claims; then the new ones alone must bear them."""
    for provider_id, reshaped in providers.items():
        _check_provider(ledger, provider_id, reshaped)
    for one in wanted:
        check_generation(ledger, one)
    for one in wanted:
        check_providers(ledger, one)
    for provider_id, reshaped in providers.items():
        check_figures(reshaped.inventories, f"malformed reshaper data for provider {provider_id}")
        for resource_class in reshaped.inventories:
            if not is_class(ledger, resource_class):
                raise bad(f"malformed reshaper data: {class_missing(resource_class)}")
    between = {
        provider_id: ledger.providers[provider_id].inventories | reshaped.inventories
        for provider_id, reshaped in providers.items()
    }
    claims = decide(ledger, wanted, "malformed reshaper data: ", between)
    _check_unclaimed(ledger, providers, wanted)
    first = [
        InventoriesSet(provider_id=provider_id, inventories=between[provider_id])
        for provider_id, reshaped in providers.items()
        if reshaped.inventories
    ]
    last = [
        InventoriesSet(provider_id=provider_id, inventories=reshaped.inventories)
        for provider_id, reshaped in providers.items()
    ]
    return (*first, *claims, *last)


def _check_provider(ledger: Ledger, provider_id: str, reshaped: Reshaped) -> None:
    provider = ledger.providers.get(provider_id)
    if provider is None:
        raise bad(
            f"Resource provider {provider_id} in inventories not found: "
            f"No resource provider with uuid {provider_id} found",
            PROVIDER_NOT_FOUND,
        )
    if provider.generation != reshaped.generation:
        raise conflict(
            f"resource provider generation conflict for provider {provider_id}: "
            f"actual: {provider.generation}, given: {reshaped.generation}",
            CONCURRENT_UPDATE,
        )


def _check_unclaimed(ledger: Ledger, providers: Mapping[str, Reshaped], wanted: Sequence[NewAllocations]) -> None:
    given_back = freed(ledger, wanted)
    for provider_id, reshaped in providers.items():
        provider = ledger.providers[provider_id]
        claimed = [
            name
            for name in provider.inventories
            if name not in reshaped.inventories
            and (
                provider.used.get(name, 0) > given_back.get((provider_id, name), 0)
                or any(name in one.allocations.get(provider_id, {}) for one in wanted)
            )
        ]
        if claimed:
            raise conflict(f"update conflict: {in_use(in_order(claimed), provider_id)}", INVENTORY_IN_USE)
