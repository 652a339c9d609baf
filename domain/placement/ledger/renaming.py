"""A resource class gets a new name: before microversion 1.7 that was allowed."""

from msgspec.structs import replace

from domain.placement.ledger.changes import Claimed
from domain.placement.ledger.inventory import Inventory


def renamed_inventories(inventories: dict[str, Inventory], name: str, new_name: str) -> dict[str, Inventory]:
    """The inventories, with one class under its new name."""
    if name not in inventories:
        return inventories
    return {_renamed(known, name, new_name): inventory for known, inventory in inventories.items()}


def renamed_claims(claims: dict[str, Claimed], name: str, new_name: str) -> dict[str, Claimed]:
    """The claims, with one class under its new name."""
    return {
        consumer_id: replace(
            claim,
            allocations={
                provider_id: {_renamed(known, name, new_name): amount for known, amount in amounts.items()}
                for provider_id, amounts in claim.allocations.items()
            },
        )
        if any(name in amounts for amounts in claim.allocations.values())
        else claim
        for consumer_id, claim in claims.items()
    }


def _renamed(known: str, name: str, new_name: str) -> str:
    return new_name if known == name else known
