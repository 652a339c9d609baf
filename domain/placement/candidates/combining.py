"""One option for each group, put together: depth first, and a branch ends as soon as it cannot succeed."""

from collections.abc import Iterable, Iterator, Mapping

from domain.placement.candidates.budget import Budget
from domain.placement.candidates.options import Option
from domain.placement.candidates.request import Candidate, Request
from domain.placement.ledger.state import Ledger

Taken = dict[tuple[int, str], int]


class Combining:
    """Combines the options that one anchor has."""

    def __init__(self, ledger: Ledger, request: Request, budget: Budget) -> None:
        self._ledger = ledger
        self._request = request
        self._budget = budget
        self._suffixes = list(request.groups)
        self._isolate = request.group_policy == "isolate"

    def at(self, options: Mapping[str, Iterable[Option]]) -> Iterator[tuple[Option, ...]]:
        """Every combination that the group policy and the capacities allow, in the order of the suffixes."""
        if len(options) == 1:
            # Matched class by class, a group by itself always fits.
            for option in options[self._suffixes[0]]:
                yield (option,)
            return
        listed = {suffix: list(found) for suffix, found in options.items()}
        if not all(listed.values()) or not self._separable(listed):
            return
        # The group with the fewest options first: fewer branches to give up.
        order = sorted(self._suffixes, key=lambda suffix: len(listed[suffix]))
        for chosen in self._extend(listed, order, {}, {}):
            yield tuple(chosen[suffix] for suffix in self._suffixes)

    def _extend(
        self, listed: Mapping[str, list[Option]], order: list[str], chosen: dict[str, Option], taken: Taken
    ) -> Iterator[dict[str, Option]]:
        if len(chosen) == len(order):
            yield chosen
            return
        suffix = order[len(chosen)]
        for option in listed[suffix]:
            self._budget.spend()
            if self._isolate and suffix and self._occupied(option, chosen):
                continue
            together = self._with(taken, option)
            if together is not None:
                yield from self._extend(listed, order, {**chosen, suffix: option}, together)

    def _occupied(self, option: Option, chosen: Mapping[str, Option]) -> bool:
        return any(suffix and not option.rows.isdisjoint(other.rows) for suffix, other in chosen.items())

    def _with(self, taken: Taken, option: Option) -> Taken | None:
        """What is taken together with the option; None if a provider has not so much."""
        together = dict(taken)
        for row, name, amount in option.resources:
            total = together.get((row, name), 0) + amount
            if total != amount and not self._room(row, name, total):
                return None
            together[row, name] = total
        return together

    def _room(self, row: int, resource_class: str, amount: int) -> bool:
        provider = self._ledger.providers[self._id(row)]
        inventory = provider.inventories[resource_class]
        return provider.used.get(resource_class, 0) + amount <= inventory.capacity and amount <= inventory.max_unit

    def _separable(self, listed: Mapping[str, list[Option]]) -> bool:
        """Under ``isolate``, whether the groups can have a provider each at all: a bipartite matching."""
        if not self._isolate:
            return True
        holder: dict[int, str] = {}

        def settle(suffix: str, tried: set[int]) -> bool:
            for option in listed[suffix]:
                (row,) = option.rows
                if row not in tried:
                    tried.add(row)
                    if row not in holder or settle(holder[row], tried):
                        holder[row] = suffix
                        return True
            return False

        return all(settle(suffix, set()) for suffix in self._suffixes if suffix)

    def candidate(self, chosen: tuple[Option, ...]) -> Candidate | None:
        """The combination in words; None if its providers do not lie as they must."""
        by_suffix = dict(zip(self._suffixes, chosen, strict=True))
        if not all(self._same_subtree(by_suffix, suffixes) for suffixes in self._request.same_subtrees):
            return None
        allocations: dict[str, dict[str, int]] = {}
        for option in chosen:
            for row, name, amount in option.resources:
                amounts = allocations.setdefault(self._id(row), {})
                amounts[name] = amounts.get(name, 0) + amount
        if not self._request.nested and not self._apart(allocations):
            return None
        return Candidate(
            allocations,
            {suffix: frozenset(map(self._id, option.rows)) for suffix, option in by_suffix.items()},
        )

    def _same_subtree(self, by_suffix: Mapping[str, Option], suffixes: Iterable[str]) -> bool:
        ids = {self._id(row) for suffix in suffixes if suffix in by_suffix for row in by_suffix[suffix].rows}
        if len(ids) <= 1:
            return True
        lines = [self._line(provider_id) for provider_id in ids]
        return bool(ids.intersection(*lines))

    def _line(self, provider_id: str) -> set[str]:
        line = set()
        above: str | None = provider_id
        while above is not None:
            line.add(above)
            above = self._ledger.providers[above].parent_id
        return line

    def _apart(self, allocations: Mapping[str, object]) -> bool:
        roots = {self._ledger.providers[provider_id].root_id for provider_id in allocations}
        return len(roots) == len(allocations)

    def _id(self, row: int) -> str:
        return self._ledger.columns.id_at(row)
