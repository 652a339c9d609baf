"""Whether the books balance."""

from collections import Counter

from domain.placement.ledger.state import Ledger


def imbalances(ledger: Ledger) -> list[str]:
    """Where the sums by provider, by project and by consumer differ, or a capacity is exceeded, in words; normally
    empty."""
    sums: dict[tuple[str, str], int] = {}
    of_projects: Counter[tuple[str, str]] = Counter()
    for claim in ledger.claims.values():
        for provider_id, amounts in claim.allocations.items():
            for resource_class, amount in amounts.items():
                key = provider_id, resource_class
                sums[key] = sums.get(key, 0) + amount
                of_projects[claim.project_id, resource_class] += amount
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
    for project_id, usages in ledger.usage_of.items():
        for usage in usages.values():
            for name, amount in usage.amounts.items():
                of_projects[project_id, name] -= amount
    found.extend(
        f"project {project_id}: its usage of {name} is wrong by {-amount}"
        for (project_id, name), amount in of_projects.items()
        if amount
    )
    return found
