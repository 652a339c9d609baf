"""Why there is no candidate: how many providers each condition removes, one after the other, and who came nearest."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from domain.placement.candidates.request import Group, Request
from domain.placement.ledger.columns import Rows
from domain.placement.ledger.inventory import Amounts
from domain.placement.ledger.state import Ledger


class Miss(NamedTuple):
    """A provider that only lacks room, and how much of what."""

    name: str
    lacking: dict[str, int]

    def __str__(self) -> str:
        lacks = " and ".join(f"{amount} {name}" for name, amount in self.lacking.items())
        return f"{self.name} came nearest: it lacks {lacks}."


class Explanation(NamedTuple):
    """How the providers were narrowed down for one group of a request."""

    providers: int
    removed: dict[str, int]
    """By condition, in the order in which they were looked at; one that removed none is left out."""
    nearest: Miss | None

    def __str__(self) -> str:
        story = ", ".join(f"{name} removed {count}" for name, count in self.removed.items()) or "none was there"
        return f"Of {self.providers} providers, {story}.{f' {self.nearest}' if self.nearest else ''}"


def explain(ledger: Ledger, request: Request) -> dict[str, Explanation]:
    """Of each group by its suffix, looked at as if one provider had to meet all of it. The ledger must know every
    trait and class that is asked for."""
    return {suffix: _of_group(ledger, group) for suffix, group in request.groups.items()}


def _of_group(ledger: Ledger, group: Group) -> Explanation:
    remaining = ledger.columns.live()
    providers = int(remaining.sum())
    removed: dict[str, int] = {}
    suitable = remaining
    for name, kept in _conditions(ledger, group):
        before = int(remaining.sum())
        remaining = remaining & kept
        if lost := before - int(remaining.sum()):
            removed[name] = lost
        if name not in group.resources:
            suitable = remaining
    ids = (ledger.columns.id_at(row) for row in np.flatnonzero(suitable).tolist())
    return Explanation(providers, removed, None if remaining.any() else nearest(ledger, ids, group.resources))


def _conditions(ledger: Ledger, group: Group) -> Iterator[tuple[str, Rows]]:
    columns = ledger.columns
    if group.in_tree is not None:
        provider = ledger.providers.get(group.in_tree)
        root = columns.row_of[provider.root_id] if provider else -1
        yield f"in_tree {group.in_tree}", columns.roots() == root
    for aggregates in group.member_of:
        yield f"member_of {' or '.join(sorted(aggregates))}", columns.in_any_aggregate(aggregates)
    for aggregate in sorted(group.not_member_of):
        yield f"not member_of {aggregate}", ~columns.in_any_aggregate([aggregate])
    for names in group.required:
        yield f"required {' or '.join(sorted(names))}", columns.having_any_trait(names)
    for trait in sorted(group.forbidden):
        yield f"forbidden {trait}", ~columns.having_any_trait([trait])
    for resource_class, amount in group.resources.items():
        yield resource_class, columns.fits(resource_class, amount)


def nearest(ledger: Ledger, provider_ids: Iterable[str], resources: Amounts) -> Miss | None:
    """The provider that lacks least, as a share of what is wanted; None if none lacks anything."""
    best: tuple[float, Miss] | None = None
    for provider_id in provider_ids:
        provider = ledger.providers[provider_id]
        lacking = {}
        for name, amount in resources.items():
            inventory = provider.inventories.get(name)
            free = inventory.capacity - provider.used.get(name, 0) if inventory else 0
            if free < amount:
                lacking[name] = amount - max(free, 0)
        share = sum(lack / resources[name] for name, lack in lacking.items())
        if lacking and (best is None or share < best[0]):
            best = share, Miss(provider.name, lacking)
    return best[1] if best else None
