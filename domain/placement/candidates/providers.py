"""The list of providers that meet some filters, each by itself."""

from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from domain.errors import Refused
from domain.placement.candidates.matching import NothingMatches, check_traits
from domain.placement.ledger.columns import Rows
from domain.placement.ledger.refusals import bad
from domain.placement.ledger.state import Ledger, Provider
from domain.placement.ledger.vocabulary import class_missing, is_class


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of each provider."""

    name: str | None = None
    provider_id: str | None = None
    in_tree: str | None = None
    resources: dict[str, int] = {}
    required: tuple[frozenset[str], ...] = ()
    forbidden: frozenset[str] = frozenset()
    member_of: tuple[frozenset[str], ...] = ()
    not_member_of: frozenset[str] = frozenset()


def matching(ledger: Ledger, filters: Filters) -> list[Provider]:
    """The providers, in the order of their creation. Raises Refused (400) for a class or trait that there is not,
    unless nothing is found before it is looked at."""
    try:
        rows = _rows(ledger, filters)
    except NothingMatches:
        return []
    row_of = ledger.columns.row_of
    return [one for one in _candidates(ledger, filters) if rows is None or rows[row_of[one.id]]]


def _candidates(ledger: Ledger, filters: Filters) -> Iterator[Provider]:
    found: Iterator[Provider] = iter(ledger.providers.values())
    if filters.provider_id:
        provider = ledger.providers.get(filters.provider_id)
        found = iter([provider] if provider else [])
    elif filters.name:
        provider_id = ledger.ids_by_name.get(filters.name)
        found = iter([ledger.providers[provider_id]] if provider_id else [])
    root_id = ledger.providers[filters.in_tree].root_id if filters.in_tree else None
    return (
        provider
        for provider in found
        if filters.name in (None, "", provider.name) and root_id in (None, provider.root_id)
    )


def _rows(ledger: Ledger, filters: Filters) -> Rows | None:
    """The rows that meet what the columns know; None if nothing of it is asked."""
    columns = ledger.columns
    if filters.in_tree and filters.in_tree not in ledger.providers:
        raise NothingMatches
    conditions: list[Rows] = []
    if filters.required:
        _check_traits(ledger, frozenset().union(*filters.required))
        conditions.append(_some([columns.having_any_trait(names) for names in filters.required]))
    if filters.forbidden:
        _check_traits(ledger, filters.forbidden)
        conditions.append(~columns.having_any_trait(filters.forbidden))
    if filters.member_of:
        conditions.append(_some([columns.in_any_aggregate(aggregates) for aggregates in filters.member_of]))
    if filters.not_member_of:
        conditions.append(~columns.in_any_aggregate(filters.not_member_of))
    for name, amount in filters.resources.items():
        if not is_class(ledger, name):
            raise bad(f"Invalid resource class in resources parameter: {class_missing(name)}")
        conditions.append(columns.fits(name, amount))
    return np.logical_and.reduce(conditions) if conditions else None


def _some(conditions: list[Rows]) -> Rows:
    rows: Rows = np.logical_and.reduce(conditions)
    if not rows.any():
        raise NothingMatches
    return rows


def _check_traits(ledger: Ledger, names: Iterable[str]) -> None:
    try:
        check_traits(ledger, names)
    except Refused as refusal:
        raise bad(f'Invalid trait(s) in "required" parameter: {refusal.message}') from None
