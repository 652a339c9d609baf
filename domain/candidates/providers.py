"""The list of providers that meet some filters, each by itself."""

from collections.abc import Iterator

import msgspec
import numpy as np

from domain.candidates.matching import check_traits
from domain.errors import Refused
from domain.ledger.columns import Rows
from domain.ledger.refusals import bad
from domain.ledger.state import Ledger, Provider
from domain.ledger.vocabulary import class_missing, is_class


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


def matching(ledger: Ledger, filters: Filters) -> Iterator[Provider]:
    """The providers, in the order of their creation. Raises Refused (400) for a class or trait that there is not."""
    rows = _rows(ledger, filters)
    row_of = ledger.columns.row_of
    for provider in _candidates(ledger, filters):
        if rows is None or rows[row_of[provider.id]]:
            yield provider


def _candidates(ledger: Ledger, filters: Filters) -> Iterator[Provider]:
    found: Iterator[Provider] = iter(ledger.providers.values())
    if filters.provider_id:
        provider = ledger.providers.get(filters.provider_id)
        found = iter([provider] if provider else [])
    elif filters.name:
        provider_id = ledger.ids_by_name.get(filters.name)
        found = iter([ledger.providers[provider_id]] if provider_id else [])
    elif filters.in_tree:
        member = ledger.providers.get(filters.in_tree)
        found = ledger.tree(member.root_id) if member else iter([])
    return (provider for provider in found if _is(ledger, provider, filters))


def _is(ledger: Ledger, provider: Provider, filters: Filters) -> bool:
    if filters.name and provider.name != filters.name:
        return False
    if filters.in_tree:
        member = ledger.providers.get(filters.in_tree)
        return member is not None and provider.root_id == member.root_id
    return True


def _rows(ledger: Ledger, filters: Filters) -> Rows | None:
    """The rows that meet what the columns know; None if nothing of it is asked."""
    columns = ledger.columns
    try:
        for names in (*filters.required, filters.forbidden):
            check_traits(ledger, names)
    except Refused as refusal:
        raise bad(f'Invalid trait(s) in "required" parameter: {refusal.message}') from None
    conditions: list[Rows] = [columns.having_any_trait(names) for names in filters.required]
    conditions += [columns.in_any_aggregate(aggregates) for aggregates in filters.member_of]
    if filters.forbidden:
        conditions.append(~columns.having_any_trait(filters.forbidden))
    if filters.not_member_of:
        conditions.append(~columns.in_any_aggregate(filters.not_member_of))
    for name, amount in filters.resources.items():
        if not is_class(ledger, name):
            raise bad(f"Invalid resource class in resources parameter: {class_missing(name)}")
        conditions.append(columns.fits(name, amount))
    return np.logical_and.reduce(conditions) if conditions else None
