"""The search: lazy, emptiest trees first, one candidate of each before a second of any; it stops at the limit.

The rules are those of https://docs.openstack.org/placement/latest/user/provider-tree.html.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from domain.placement.candidates.budget import CANDIDATE_STEPS, Budget, Exhausted
from domain.placement.candidates.combining import Combining
from domain.placement.candidates.matching import GroupMatch, NothingMatches, anchors, sharing
from domain.placement.candidates.options import Option, Options, SingleOptions, TreeOptions
from domain.placement.candidates.request import Candidate, Request
from domain.placement.ledger.columns import Rows
from domain.placement.ledger.refusals import bad
from domain.placement.ledger.state import Ledger

TOO_MANY_COMBINATIONS = (
    "The request has too many combinations of providers to look through. Ask for fewer groups, or narrow them down "
    "by traits, aggregates or in_tree."
)

Order = Callable[[NDArray[np.intp]], Iterable[int]]
"""Puts the rows of roots in the order in which their trees are looked at; only as far as it is asked."""


def search(ledger: Ledger, request: Request) -> list[Candidate]:
    """The candidates, ``limit`` at most; fewer, where looking for more would take too long. Raises Refused (400) for
    a class or trait that there is not, and where no candidate is found in time."""
    found = candidates(ledger, request, lambda rows: _emptiest_first(ledger, request, rows))
    return [candidate for _, candidate in islice(found, request.limit)]


def candidates(ledger: Ledger, request: Request, order: Order) -> Iterator[tuple[str, Candidate]]:
    """Every candidate with the root of the tree that it is for, one after the other as they are asked for, until the
    search has tried as much as it may. Raises what ``search`` raises."""
    budget, found_any = Budget(), False
    try:
        allowed = anchors(ledger, request)
        options = {suffix: _options(ledger, request, suffix, allowed, budget) for suffix in request.groups}
        for found in _candidates(ledger, request, options, allowed, order, budget):
            found_any = True
            yield found
    except NothingMatches:
        return
    except Exhausted:
        if not found_any:
            raise bad(TOO_MANY_COMBINATIONS) from None


def _options(ledger: Ledger, request: Request, suffix: str, allowed: Rows | None, budget: Budget) -> Options:
    """The options of one group. Raises NothingMatches if there are none: then no group after it is looked at."""
    alone = bool(suffix) or not (ledger.nested or sharing(ledger))
    match = GroupMatch(ledger, request.groups[suffix])
    options = SingleOptions(ledger, match) if alone else TreeOptions(ledger, match, budget)
    rows = options.anchors() if allowed is None else options.anchors() & allowed
    if not any(True for anchor in np.flatnonzero(rows) for _ in options.at(int(anchor))):
        raise NothingMatches
    return options


def _candidates(
    ledger: Ledger,
    request: Request,
    options: dict[str, Options],
    allowed: Rows | None,
    order: Order,
    budget: Budget,
) -> Iterator[tuple[str, Candidate]]:
    rows = ledger.columns.live() if allowed is None else allowed
    for found in options.values():
        rows = rows & found.anchors()
    if not rows.any():
        return
    roots = order(np.flatnonzero(rows))
    if list(request.groups) == [""] and isinstance(options[""], SingleOptions):
        yield from _plain(ledger, request, roots)
        return
    combining = Combining(ledger, request, budget)
    seen: set[tuple[Option, ...]] = set()
    for anchor, chosen in _in_turn(
        (anchor, combining.at({suffix: found.at(anchor) for suffix, found in options.items()})) for anchor in roots
    ):
        budget.spend(CANDIDATE_STEPS)
        candidate = combining.candidate(chosen)
        # Different anchors can lead to the same candidate, when everything in it is shared.
        if candidate is not None and chosen not in seen:
            seen.add(chosen)
            yield ledger.columns.id_at(anchor), candidate


def _plain(ledger: Ledger, request: Request, roots: Iterable[int]) -> Iterator[tuple[str, Candidate]]:
    """One group, and each provider is a world of its own."""
    resources = request.groups[""].resources
    for row in roots:
        provider_id = ledger.columns.id_at(row)
        yield provider_id, Candidate({provider_id: resources}, {"": frozenset((provider_id,))})


def _emptiest_first(ledger: Ledger, request: Request, rows: NDArray[np.intp]) -> Iterable[int]:
    """The roots in the order of what is free of the wanted resources, each as a share of its capacity; the caller's
    limit bounds how many are put in order."""
    free = np.zeros(len(rows))
    for name in {name for group in request.groups.values() for name in group.resources}:
        capacity = ledger.columns.capacity(name)[rows]
        free += ledger.columns.free(name)[rows] / np.maximum(capacity, 1)
    if request.limit and request.limit < len(rows) and len(request.groups) == 1 and not ledger.nested:
        head = np.argpartition(-free, request.limit - 1)[: request.limit]
        rest = np.ones(len(rows), dtype=np.bool_)
        rest[head] = False
        head = head[np.argsort(-free[head], kind="stable")]
        # In practice the head is all that is asked for.
        return chain(rows[head].tolist(), map(int, rows[rest]))
    order: list[int] = rows[np.argsort(-free, kind="stable")].tolist()
    return order


Source = tuple[int, Iterator[tuple[Option, ...]]]
"""An anchor and what it leads to."""


def _in_turn(sources: Iterable[Source]) -> Iterator[tuple[int, tuple[Option, ...]]]:
    """One of each source, as long as there are new ones; then one more of each, and so on."""
    waiting: deque[Source] = deque()
    for anchor, source in sources:
        for first in islice(source, 1):
            waiting.append((anchor, source))
            yield anchor, first
    while waiting:
        anchor, source = waiting.popleft()
        for following in islice(source, 1):
            waiting.append((anchor, source))
            yield anchor, following
