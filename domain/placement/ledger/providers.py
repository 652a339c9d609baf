"""Resource providers: they come, change their name and place in the tree, join aggregates, and go."""

from collections.abc import Iterable

from msgspec import UNSET, UnsetType

from domain.placement.ledger.changes import (
    AggregatesSet,
    LedgerChange,
    ProviderCreated,
    ProviderDeleted,
    ProviderUpdated,
)
from domain.placement.ledger.refusals import (
    CONCURRENT_UPDATE,
    DUPLICATE_NAME,
    GENERATION_CHANGED,
    PROVIDER_IN_USE,
    PROVIDER_IS_PARENT,
    bad,
    conflict,
    find,
)
from domain.placement.ledger.state import Ledger

NO_PARENT = "parent provider UUID does not exist."
SELF_PARENT = (
    "parent provider UUID cannot be same as UUID. Please set parent provider UUID to None if there is no parent."
)


def create(ledger: Ledger, provider_id: str, name: str, parent_id: str | None) -> tuple[LedgerChange, ...]:
    reason = None
    if not name:
        reason = "name is required"
    elif parent_id == provider_id:
        reason = SELF_PARENT
    elif parent_id is not None and parent_id not in ledger.providers:
        reason = NO_PARENT
    if reason:
        raise bad(
            f'Unable to create resource provider "{name}", {provider_id}: '
            f"Object action create failed because: {reason}"
        )
    duplicate = None
    if provider_id in ledger.providers:
        duplicate = f"uuid: {provider_id}"
    elif name in ledger.ids_by_name:
        duplicate = f"name: {name}"
    if duplicate:
        raise conflict(f"Conflicting resource provider {duplicate} already exists.", DUPLICATE_NAME)
    return (ProviderCreated(provider_id=provider_id, name=name, parent_id=parent_id),)


def update(
    ledger: Ledger, provider_id: str, name: str, parent_id: str | UnsetType | None, *, may_move: bool
) -> tuple[LedgerChange, ...]:
    """Another name or parent. Without ``may_move``, only a provider without a parent may be given one."""
    provider = find(ledger, provider_id)
    if parent_id is UNSET:
        parent_id = provider.parent_id
    refusal = _misplaced(ledger, provider_id, provider.parent_id, parent_id, may_move)
    if refusal:
        action = "create" if refusal == NO_PARENT else "update"
        raise bad(f"Unable to save resource provider {provider_id}: Object action {action} failed because: {refusal}")
    if ledger.ids_by_name.get(name, provider_id) != provider_id:
        raise conflict(f"Conflicting resource provider {name} already exists.", DUPLICATE_NAME)
    if (name, parent_id) == (provider.name, provider.parent_id):
        return ()
    return (ProviderUpdated(provider_id=provider_id, name=name, parent_id=parent_id),)


def _misplaced(
    ledger: Ledger, provider_id: str, present: str | None, wanted: str | None, may_move: bool
) -> str | None:
    if wanted is None:
        if present is not None and not may_move:
            return "un-parenting a provider is not currently allowed."
        return None
    if wanted not in ledger.providers:
        return NO_PARENT
    if present not in (None, wanted) and not may_move:
        return "re-parenting a provider is not currently allowed."
    if any(member.id == wanted for member in ledger.tree(provider_id)):
        return "creating loop in the provider tree is not allowed."
    return None


def delete(ledger: Ledger, provider_id: str) -> tuple[LedgerChange, ...]:
    """Remove a provider that has neither children nor claims."""
    provider = find(ledger, provider_id, after=" for delete")
    if provider.children:
        raise conflict(
            f"Unable to delete parent resource provider {provider_id}: It has child resource providers.",
            PROVIDER_IS_PARENT,
        )
    if provider.consumers:
        raise conflict(
            f"Unable to delete resource provider {provider_id}: Resource provider has allocations.", PROVIDER_IN_USE
        )
    return (ProviderDeleted(provider_id=provider_id),)


def set_aggregates(
    ledger: Ledger, provider_id: str, aggregates: Iterable[str], generation: int | None
) -> tuple[LedgerChange, ...]:
    """The provider is in exactly these aggregates. Without a ``generation`` (before microversion 1.19) it is neither
    looked at nor counted up."""
    provider = find(ledger, provider_id)
    if generation not in (None, provider.generation):
        raise conflict(GENERATION_CHANGED, CONCURRENT_UPDATE)
    counted = generation is not None
    wanted = tuple(dict.fromkeys(aggregates))
    if not counted and set(wanted) == set(provider.aggregates):
        return ()
    return (AggregatesSet(provider_id=provider_id, aggregates=wanted, counted=counted),)
