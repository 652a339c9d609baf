"""What providers have: set, changed and removed, one class or all."""

from collections.abc import Mapping

from domain.errors import Refused
from domain.placement.ledger.changes import InventoriesSet, LedgerChange
from domain.placement.ledger.inventory import Inventory
from domain.placement.ledger.refusals import (
    CONCURRENT_UPDATE,
    INVENTORY_IN_USE,
    bad,
    check_figures,
    conflict,
    find,
    in_use,
    missing,
)
from domain.placement.ledger.state import Ledger, Provider
from domain.placement.ledger.vocabulary import class_missing, in_order, is_class

GENERATION_CONFLICT = "resource provider generation conflict"


def _check_numbers(
    provider_id: str, inventories: Mapping[str, Inventory], words: str, *, may_be_reserved: bool
) -> None:
    """``may_be_reserved`` (from microversion 1.26) is whether all of an inventory may be reserved."""
    check_figures(inventories, f"{words} {provider_id}")
    for resource_class, inventory in inventories.items():
        if inventory.capacity < 0 or (inventory.capacity == 0 and not may_be_reserved):
            relation = "greater than" if may_be_reserved else "greater than or equal to"
            raise bad(
                f"{words} {provider_id}: Invalid inventory for '{resource_class}' on resource provider "
                f"'{provider_id}'. The reserved value is {relation} total."
            )


def _check_generation(provider: Provider, generation: int) -> None:
    if generation != provider.generation:
        raise conflict(GENERATION_CONFLICT, CONCURRENT_UPDATE)


def _set(provider: Provider, inventories: dict[str, Inventory]) -> tuple[LedgerChange, ...]:
    return (InventoriesSet(provider_id=provider.id, inventories=inventories),)


def claimed_classes(provider: Provider, kept: Mapping[str, Inventory]) -> list[str]:
    """The provider's classes that are claimed and would not be kept."""
    return in_order(name for name in provider.inventories if name not in kept and provider.used.get(name))


def create(
    ledger: Ledger, provider_id: str, resource_class: str, inventory: Inventory, *, may_be_reserved: bool
) -> tuple[LedgerChange, ...]:
    provider = find(ledger, provider_id)
    words = "Unable to create inventory for resource provider"
    _check_numbers(provider_id, {resource_class: inventory}, words, may_be_reserved=may_be_reserved)
    if not is_class(ledger, resource_class):
        raise bad(f"{words} {provider_id}: {class_missing(resource_class)}")
    if resource_class in provider.inventories:
        raise conflict(
            f"Update conflict: there is an inventory of class {resource_class} already.", CONCURRENT_UPDATE
        )
    return _set(provider, provider.inventories | {resource_class: inventory})


def update(
    ledger: Ledger,
    provider_id: str,
    resource_class: str,
    inventory: Inventory,
    generation: int,
    *,
    may_be_reserved: bool,
) -> tuple[LedgerChange, ...]:
    """Another inventory of a class that the provider has."""
    provider = find(ledger, provider_id)
    _check_generation(provider, generation)
    words = "Unable to update inventory for resource provider"
    _check_numbers(provider_id, {resource_class: inventory}, words, may_be_reserved=may_be_reserved)
    if not is_class(ledger, resource_class):
        raise missing(class_missing(resource_class))
    if resource_class not in provider.inventories:
        raise bad(
            f"No inventory record with resource class for resource provider {provider_id}: "
            f"No inventory of class {resource_class} found."
        )
    return _set(provider, provider.inventories | {resource_class: inventory})


def replace(
    ledger: Ledger,
    provider_id: str,
    inventories: dict[str, Inventory],
    generation: int,
    *,
    may_be_reserved: bool,
) -> tuple[LedgerChange, ...]:
    """Exactly these inventories."""
    provider = find(ledger, provider_id)
    _check_generation(provider, generation)
    words = "Unable to update inventory for resource provider"
    _check_numbers(provider_id, inventories, words, may_be_reserved=may_be_reserved)
    for resource_class in inventories:
        if not is_class(ledger, resource_class):
            raise bad(
                f"Unknown resource class in inventory for resource provider {provider_id}: "
                f"{class_missing(resource_class)}"
            )
    _check_unclaimed(provider, inventories, "update conflict: {}")
    return _set(provider, inventories)


def delete(ledger: Ledger, provider_id: str, resource_class: str) -> tuple[LedgerChange, ...]:
    provider = find(ledger, provider_id)
    words = f"No inventory of class {resource_class} found for delete"
    if not is_class(ledger, resource_class):
        raise missing(f"{words}: {class_missing(resource_class)}")
    if provider.used.get(resource_class):
        raise conflict(
            f"Unable to delete inventory of class {resource_class}: {in_use([resource_class], provider_id)}",
            CONCURRENT_UPDATE,
        )
    if resource_class not in provider.inventories:
        raise missing(f"{words}: {words}")
    return _set(provider, {name: kept for name, kept in provider.inventories.items() if name != resource_class})


def delete_all(ledger: Ledger, provider_id: str) -> tuple[LedgerChange, ...]:
    provider = find(ledger, provider_id)
    _check_unclaimed(provider, {}, "{}")
    return _set(provider, {})


def _check_unclaimed(provider: Provider, kept: Mapping[str, Inventory], words: str) -> None:
    claimed = claimed_classes(provider, kept)
    if claimed:
        raise _in_use(provider.id, claimed, words)


def _in_use(provider_id: str, claimed: list[str], words: str) -> Refused:
    return conflict(words.format(in_use(claimed, provider_id)), INVENTORY_IN_USE)
