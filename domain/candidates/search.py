"""The search: lazy, emptiest trees first, one candidate of each before a second of any; it stops at the limit.

The rules are those of https://docs.openstack.org/placement/latest/user/provider-tree.html.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from domain.candidates.combining import Combining
from domain.candidates.matching import GroupMatch, NothingMatches, anchors, sharing
from domain.candidates.options import Option, Options, SingleOptions, TreeOptions
from domain.candidates.request import Candidate, Request
from domain.ledger.columns import Rows
from domain.ledger.state import Ledger


def search(ledger: Ledger, request: Request) -> list[Candidate]:
    """The candidates, ``limit`` at most. Raises Refused (400) for a class or trait that there is not."""
    try:
        allowed = anchors(ledger, request)
        options = {suffix: _options(ledger, request, suffix) for suffix in request.groups}
        return list(islice(_candidates(ledger, request, options, allowed), request.limit))
    except NothingMatches:
        return []


def _options(ledger: Ledger, request: Request, suffix: str) -> Options:
    alone = bool(suffix) or not (ledger.nested or sharing(ledger))
    match = GroupMatch(ledger, request.groups[suffix])
    return SingleOptions(ledger, match) if alone else TreeOptions(ledger, match)


def _candidates(
    ledger: Ledger, request: Request, options: dict[str, Options], allowed: Rows | None
) -> Iterator[Candidate]:
    rows = ledger.columns.live() if allowed is None else allowed
    for found in options.values():
        rows = rows & found.anchors()
    order = _emptiest_first(ledger, request, np.flatnonzero(rows))
    if list(request.groups) == [""] and isinstance(options[""], SingleOptions):
        yield from _plain(ledger, request, order)
        return
    combining = Combining(ledger, request)
    seen: set[tuple[object, ...]] = set()
    for chosen in _in_turn(combining.at({suffix: found.at(anchor) for suffix, found in options.items()})
                           for anchor in order.tolist()):  # fmt: skip
        candidate = combining.candidate(chosen)
        if candidate is None:
            continue
        key = _key(chosen)
        if key not in seen:
            # Different anchors can lead to the same candidate, when everything in it is shared.
            seen.add(key)
            yield candidate


def _plain(ledger: Ledger, request: Request, order: NDArray[np.int64]) -> Iterator[Candidate]:
    """One group, and each provider is a world of its own."""
    resources = request.groups[""].resources
    provider_at = ledger.columns.provider_at
    for row in order.tolist():
        provider_id = provider_at[row]
        assert provider_id is not None
        yield Candidate({provider_id: resources}, {"": frozenset((provider_id,))})


def _emptiest_first(ledger: Ledger, request: Request, rows: NDArray[np.intp]) -> NDArray[np.int64]:
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
        return np.concatenate([rows[head], rows[rest]])
    return rows[np.argsort(-free, kind="stable")]


def _in_turn(sources: Iterable[Iterator[tuple[Option, ...]]]) -> Iterator[tuple[Option, ...]]:
    """One of each source, as long as there are new ones; then one more of each, and so on."""
    waiting: deque[Iterator[tuple[Option, ...]]] = deque()
    for source in sources:
        for first in islice(source, 1):
            waiting.append(source)
            yield first
    while waiting:
        source = waiting.popleft()
        for following in islice(source, 1):
            waiting.append(source)
            yield following


def _key(chosen: tuple[Option, ...]) -> tuple[object, ...]:
    return tuple((option.resources, option.rows) for option in chosen)
