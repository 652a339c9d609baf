"""Traits and resource classes: the standard ones, which the libraries know, and the custom ones of this ledger."""

from collections.abc import Iterable

import os_resource_classes
import os_traits

from domain.placement.ledger.changes import (
    LedgerChange,
    ResourceClassCreated,
    ResourceClassDeleted,
    ResourceClassRenamed,
    TraitCreated,
    TraitDeleted,
    TraitsSet,
)
from domain.placement.ledger.refusals import CONCURRENT_UPDATE, GENERATION_CHANGED, bad, conflict, find, missing
from domain.placement.ledger.state import Ledger

STANDARD_CLASSES: tuple[str, ...] = tuple(os_resource_classes.STANDARDS)
STANDARD_TRAITS: tuple[str, ...] = tuple(os_traits.get_traits())
SHARES_VIA_AGGREGATE: str = os_traits.MISC_SHARES_VIA_AGGREGATE

_ORDER = {name: number for number, name in enumerate(STANDARD_CLASSES)}
_TRAITS = frozenset(STANDARD_TRAITS)


def is_class(ledger: Ledger, name: str) -> bool:
    return name in _ORDER or name in ledger.resource_classes


def is_trait(ledger: Ledger, name: str) -> bool:
    return name in _TRAITS or name in ledger.traits


def class_missing(name: str) -> str:
    """The words for a resource class that there is not."""
    return f"No such resource class {name}."


def trait_missing(name: str) -> str:
    """The words for a trait that there is not."""
    return f"No such trait(s): {name}."


def in_order(names: Iterable[str]) -> list[str]:
    """Resource classes in Placement's order: the standard ones first."""
    return sorted(names, key=lambda name: (_ORDER.get(name, len(_ORDER)), name))


def create_trait(ledger: Ledger, name: str) -> tuple[LedgerChange, ...]:
    """See to it that a custom trait exists."""
    return () if is_trait(ledger, name) else (TraitCreated(name=name),)


def delete_trait(ledger: Ledger, name: str) -> tuple[LedgerChange, ...]:
    """Remove a custom trait that nobody has."""
    if not is_trait(ledger, name):
        raise missing(trait_missing(name))
    if name not in ledger.traits:
        raise bad(f"Cannot delete standard trait {name}.")
    if ledger.columns.with_trait(name):
        raise conflict(f"The trait {name} is in use by a resource provider.")
    return (TraitDeleted(name=name),)


def set_traits(
    ledger: Ledger, provider_id: str, traits: Iterable[str], generation: int | None
) -> tuple[LedgerChange, ...]:
    """The provider has exactly these traits; without a ``generation``, whatever happened meanwhile."""
    provider = find(ledger, provider_id)
    if generation not in (None, provider.generation):
        raise conflict(GENERATION_CHANGED, CONCURRENT_UPDATE)
    wanted = tuple(dict.fromkeys(traits))
    unknown = [name for name in wanted if not is_trait(ledger, name)]
    if unknown:
        raise bad(f"No such trait {', '.join(unknown)}")
    if set(wanted) == set(provider.traits):
        return ()
    return (TraitsSet(provider_id=provider_id, traits=wanted),)


def create_class(ledger: Ledger, name: str) -> tuple[LedgerChange, ...]:
    """A new custom resource class."""
    if is_class(ledger, name):
        raise conflict(f"Conflicting resource class already exists: {name}")
    return (ResourceClassCreated(name=name),)


def ensure_class(ledger: Ledger, name: str) -> tuple[LedgerChange, ...]:
    """See to it that a custom resource class exists."""
    return () if is_class(ledger, name) else (ResourceClassCreated(name=name),)


def rename_class(ledger: Ledger, name: str, new_name: str) -> tuple[LedgerChange, ...]:
    """Give a custom resource class another name."""
    if not is_class(ledger, name):
        raise missing(class_missing(name))
    if name not in ledger.resource_classes:
        raise bad(f"Cannot update standard resource class {name}")
    if new_name == name:
        return ()
    if is_class(ledger, new_name):
        raise conflict(f"Resource class already exists: {new_name}")
    return (ResourceClassRenamed(name=name, new_name=new_name),)


def delete_class(ledger: Ledger, name: str) -> tuple[LedgerChange, ...]:
    """Remove a custom resource class that nobody has an inventory of."""
    if not is_class(ledger, name):
        raise missing(class_missing(name))
    if name not in ledger.resource_classes:
        raise bad(f"Error in delete resource class: Cannot delete standard resource class {name}.")
    if ledger.columns.offers(name):
        raise conflict(
            f"Error in delete resource class: Cannot delete resource class {name}. Class is in use in inventory."
        )
    return (ResourceClassDeleted(name=name),)
