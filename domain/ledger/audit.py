"""Whether the books balance."""

from domain.ledger.state import Ledger


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
