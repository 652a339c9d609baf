"""Which providers meet which group: masks over the ledger's rows."""

from collections.abc import Iterable

import numpy as np

from domain.placement.candidates.request import Group, Request
from domain.placement.ledger.columns import Rows
from domain.placement.ledger.refusals import bad
from domain.placement.ledger.state import Ledger
from domain.placement.ledger.vocabulary import SHARES_VIA_AGGREGATE, class_missing, is_class, is_trait, trait_missing


class NothingMatches(Exception):
    """There is no candidate; nothing needs to be looked at any further."""


def check_traits(ledger: Ledger, names: Iterable[str]) -> None:
    """Raise Refused (400) for a trait that there is not."""
    for name in sorted(names):
        if not is_trait(ledger, name):
            raise bad(trait_missing(name))


def anchors(ledger: Ledger, request: Request) -> Rows | None:
    """The roots that may anchor a candidate; None if any may. Raises NothingMatches."""
    required, forbidden = request.root_required, request.root_forbidden
    if not (required or forbidden):
        return None
    check_traits(ledger, required)
    check_traits(ledger, forbidden)
    columns = ledger.columns
    rows = columns.live()
    rows &= columns.roots() == np.arange(len(columns))
    for name in required:
        rows &= columns.having_any_trait([name])
    rows &= ~columns.having_any_trait(forbidden)
    return _some(rows)


class GroupMatch:
    """The rows that meet each condition of a group. Raises NothingMatches as soon as none does, Refused for a class
    or trait that there is not."""

    def __init__(self, ledger: Ledger, group: Group) -> None:
        columns = ledger.columns
        self.group = group
        for name in group.resources:
            if not is_class(ledger, name):
                raise bad(f"Invalid resource class in resources parameter: {class_missing(name)}")
        self.members: Rows | None = None
        """The rows in the wanted aggregates."""
        if group.member_of:
            self.members = columns.live()
            for aggregates in group.member_of:
                self.members &= columns.in_any_aggregate(aggregates)
            _some(self.members)
        for names in group.required:
            check_traits(ledger, names)
        check_traits(ledger, group.forbidden)
        self.not_members = columns.in_any_aggregate(group.not_member_of) if group.not_member_of else None
        self.stocked: dict[str, Rows] = {}
        """By class, the rows with room in the wanted tree, whatever else they are."""
        tree: Rows | None = None
        if group.in_tree is not None:
            provider = ledger.providers.get(group.in_tree)
            if provider is None:
                raise NothingMatches
            tree = columns.roots() == columns.row_of[provider.root_id]
        for name, amount in group.resources.items():
            rows = columns.fits(name, amount)
            if tree is not None:
                rows &= tree
            self.stocked[name] = _some(rows)

    def singles(self, ledger: Ledger) -> Rows:
        """The rows that meet all of the group by themselves. Without resources, a trait or an aggregate must be
        asked for. Raises NothingMatches."""
        columns, group = ledger.columns, self.group
        if not (group.resources or group.required or group.member_of):
            raise NothingMatches
        rows = columns.live()
        for stocked in self.stocked.values():
            rows &= stocked
        for names in group.required:
            rows &= columns.having_any_trait(names)
        if self.members is not None:
            rows &= self.members
        if self.not_members is not None:
            rows &= ~self.not_members
        if group.forbidden:
            rows &= ~columns.having_any_trait(group.forbidden)
        return _some(rows)


def sharing(ledger: Ledger) -> set[int]:
    """The rows that share their inventory with the trees in their aggregates."""
    return ledger.columns.with_trait(SHARES_VIA_AGGREGATE)


def shared_with(ledger: Ledger, row: int) -> set[int]:
    """The roots with whose trees a sharing row shares; its own among them, if it is in any aggregate."""
    columns = ledger.columns
    roots = columns.roots()
    members = {
        member
        for aggregate in ledger.providers[columns.id_at(row)].aggregates
        for member in columns.in_aggregate(aggregate)
    }
    return {int(roots[member]) for member in members}


def _some(rows: Rows) -> Rows:
    if not rows.any():
        raise NothingMatches
    return rows
