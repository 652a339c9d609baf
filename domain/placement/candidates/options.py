"""What each tree can contribute to each group: the choices that the search combines."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from domain.placement.candidates.budget import Budget
from domain.placement.candidates.matching import GroupMatch, NothingMatches, shared_with, sharing
from domain.placement.ledger.columns import Rows
from domain.placement.ledger.state import Ledger


class Option(NamedTuple):
    """One way to meet one group: (row, class, amount) for each resource, and the rows that meet it."""

    resources: tuple[tuple[int, str, int], ...]
    rows: frozenset[int]


class Options(Protocol):
    """The options of one group, by the row of the tree's root that anchors them."""

    def anchors(self) -> Rows:
        """The rows of the roots that have options."""
        ...

    def at(self, anchor: int) -> Iterator[Option]:
        """The options of one anchor."""
        ...


class Choices:
    """Some rows, by the anchors whose trees they serve: their own, and those they share with."""

    def __init__(self, ledger: Ledger, rows: Rows) -> None:
        self._ledger = ledger
        self._rows = rows
        self._shared: dict[int, list[int]] = {}

    def share(self, row: int, anchor: int) -> None:
        """The row serves another anchor than its own root, too."""
        self._shared.setdefault(anchor, []).append(row)

    def anchors(self) -> Rows:
        """The rows of the roots that are served."""
        if not self._ledger.nested and not self._shared:
            return self._rows
        anchors = np.zeros(len(self._rows), dtype=np.bool_)
        anchors[self._ledger.columns.roots()[self._rows]] = True
        anchors[list(self._shared)] = True
        return anchors

    def at(self, anchor: int) -> list[int]:
        """The rows that serve an anchor."""
        columns, shared = self._ledger.columns, self._shared.get(anchor, [])
        if not self._ledger.nested:
            return [anchor, *shared] if self._rows[anchor] else shared
        rows = [columns.row_of[member.id] for member in self._ledger.tree(columns.id_at(anchor))]
        return [*(row for row in rows if self._rows[row]), *shared]


class SingleOptions:
    """Each option is one provider with everything."""

    def __init__(self, ledger: Ledger, match: GroupMatch) -> None:
        self._group = match.group
        rows = match.singles(ledger)
        self._choices = Choices(ledger, rows)
        roots = ledger.columns.roots()
        for row in sharing(ledger):
            if rows[row]:
                for anchor in shared_with(ledger, row) - {int(roots[row])}:
                    self._choices.share(row, anchor)

    def anchors(self) -> Rows:
        return self._choices.anchors()

    def at(self, anchor: int) -> Iterator[Option]:
        """One option a provider."""
        for row in self._choices.at(anchor):
            resources = tuple((row, name, amount) for name, amount in self._group.resources.items())
            yield Option(resources, frozenset((row,)))


class TreeOptions:
    """Each class may come from another provider of the tree, or from one that shares with it."""

    def __init__(self, ledger: Ledger, match: GroupMatch, budget: Budget) -> None:
        self._ledger = ledger
        self._group = match.group
        self._budget = budget
        self._choices = {name: _choices(ledger, match, stocked) for name, stocked in match.stocked.items()}
        self._anchors: Rows = ledger.columns.live()
        for choices in self._choices.values():
            self._anchors &= choices.anchors()
        if not self._anchors.any():
            raise NothingMatches

    def anchors(self) -> Rows:
        """The roots at which every class can be had."""
        return self._anchors

    def at(self, anchor: int) -> Iterator[Option]:
        """Every combination whose providers have the wanted traits between them, and none a forbidden one."""
        amounts = self._group.resources
        allowed = [[row for row in choices.at(anchor) if self._clean(row)] for choices in self._choices.values()]
        for rows in itertools.product(*allowed):
            self._budget.spend()
            if self._has_required(rows):
                taken = zip(rows, amounts.items(), strict=True)
                yield Option(tuple((row, name, amount) for row, (name, amount) in taken), frozenset(rows))

    def _clean(self, row: int) -> bool:
        return not self._group.forbidden or self._group.forbidden.isdisjoint(self._traits(row))

    def _has_required(self, rows: tuple[int, ...]) -> bool:
        if not self._group.required:
            return True
        traits = {trait for row in rows for trait in self._traits(row)}
        return all(not names.isdisjoint(traits) for names in self._group.required)

    def _traits(self, row: int) -> tuple[str, ...]:
        return self._ledger.providers[self._ledger.columns.id_at(row)].traits


def _choices(ledger: Ledger, match: GroupMatch, stocked: Rows) -> Choices:
    """The rows with room for a class that are, or whose anchor is, in the wanted aggregates: an aggregate on the root
    spans the whole tree."""
    roots = ledger.columns.roots()
    members, not_members = match.members, match.not_members
    own = stocked
    if members is not None:
        own = own & (members | members[roots])
    if not_members is not None:
        own = own & ~(not_members | not_members[roots])
    choices = Choices(ledger, own)
    if match.group.in_tree is not None:
        return choices
    for row in sharing(ledger):
        if not stocked[row] or (members is not None and not members[row]):
            continue
        for anchor in shared_with(ledger, row) - {int(roots[row])}:
            if not_members is None or not (not_members[row] or not_members[anchor]):
                choices.share(row, anchor)
    return choices
