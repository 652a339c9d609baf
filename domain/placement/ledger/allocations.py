"""Claims of any consumer: who asks for what, whether there is room, and what becomes of generations."""

from collections.abc import Mapping, Sequence

import msgspec

from domain.errors import Refused
from domain.placement.ledger.changes import Claimed, LedgerChange, Released
from domain.placement.ledger.inventory import Inventory
from domain.placement.ledger.refusals import CONCURRENT_UPDATE, bad, conflict, missing
from domain.placement.ledger.state import Ledger
from domain.placement.ledger.vocabulary import class_missing, in_order, is_class

INCOMPLETE_ID = "00000000-0000-0000-0000-000000000000"
"""Project and user of a consumer that named none, as was possible before microversion 1.8."""

Inventories = Mapping[str, Mapping[str, Inventory]]
"""By provider, by resource class."""


class NewAllocations(msgspec.Struct, frozen=True, kw_only=True):
    """The allocations that a consumer is to have in place of those it has; none at all ends it."""

    consumer_id: str
    allocations: dict[str, dict[str, int]]
    project_id: str | None = None
    user_id: str | None = None
    generation: int | None = None
    """The consumer's present generation, None if it must be new; looked at if ``guarded``."""
    guarded: bool = False
    consumer_type: str | None = None
    """None keeps what it has."""


def replace(ledger: Ledger, wanted: Sequence[NewAllocations], words: str) -> tuple[LedgerChange, ...]:
    """Give all these consumers what they want, or none of them anything.

    ``words`` go before the reason in a refusal for a resource class that there is not.
    """
    for one in wanted:
        check_generation(ledger, one)
    for one in wanted:
        check_providers(ledger, one)
    return decide(ledger, wanted, words)


def check_generation(ledger: Ledger, wanted: NewAllocations) -> None:
    """Raise Refused if the consumer is not as its owner believes."""
    standing = ledger.claims.get(wanted.consumer_id)
    generation = standing.generation if standing else None
    if wanted.guarded and generation != wanted.generation:
        expected = "null" if generation is None else generation
        raise conflict(
            f"consumer generation conflict - expected {expected} but got {wanted.generation}", CONCURRENT_UPDATE
        )


def check_providers(ledger: Ledger, wanted: NewAllocations) -> None:
    """Raise Refused if a provider is not there."""
    for provider_id in wanted.allocations:
        if provider_id not in ledger.providers:
            raise bad(f"Allocation for resource provider '{provider_id}' that does not exist.")


def decide(
    ledger: Ledger, wanted: Sequence[NewAllocations], words: str, inventories: Inventories | None = None
) -> tuple[LedgerChange, ...]:
    """The changes, if there is room; ``inventories`` are those that hold instead of the ledger's."""
    for one in wanted:
        for amounts in one.allocations.values():
            for resource_class in amounts:
                if not is_class(ledger, resource_class):
                    raise bad(f"{words}{class_missing(resource_class)}")
    _check_room(ledger, wanted, inventories or {})
    changes: list[LedgerChange] = []
    counted: dict[str, None] = {}
    for one in wanted:
        standing = ledger.claims.get(one.consumer_id)
        if one.allocations:
            changes.append(_claimed(one, standing, tuple(p for p in one.allocations if p in counted)))
            counted.update(dict.fromkeys(one.allocations))
        elif standing:
            changes.append(
                Released(
                    consumer_id=one.consumer_id, counted=tuple(p for p in standing.allocations if p not in counted)
                )
            )
            counted.update(dict.fromkeys(standing.allocations))
    return tuple(changes)


def _claimed(wanted: NewAllocations, standing: Claimed | None, uncounted: tuple[str, ...]) -> Claimed:
    return Claimed(
        consumer_id=wanted.consumer_id,
        epoch=standing.epoch if standing else 0,
        project_id=wanted.project_id or INCOMPLETE_ID,
        user_id=wanted.user_id or INCOMPLETE_ID,
        allocations=wanted.allocations,
        generation=standing.generation + 1 if standing else 1,
        consumer_type=wanted.consumer_type or (standing.consumer_type if standing else None),
        uncounted=uncounted,
        member=standing.member if standing else None,
    )


def freed(ledger: Ledger, wanted: Sequence[NewAllocations]) -> dict[tuple[str, str], int]:
    """What these consumers have now, by provider and class."""
    amounts: dict[tuple[str, str], int] = {}
    for one in wanted:
        standing = ledger.claims.get(one.consumer_id)
        for provider_id, held in standing.allocations.items() if standing else ():
            for resource_class, amount in held.items():
                key = provider_id, resource_class
                amounts[key] = amounts.get(key, 0) + amount
    return amounts


def _check_room(ledger: Ledger, wanted: Sequence[NewAllocations], inventories: Inventories) -> None:
    """Raise Refused if an amount has no room or an impossible size. A provider that is over its capacity already
    takes what makes that no worse."""
    _check_stocked(ledger, wanted, inventories)
    given_back = freed(ledger, wanted)
    taken: dict[tuple[str, str], int] = {}
    for one in wanted:
        for provider_id, amounts in one.allocations.items():
            provider = ledger.providers[provider_id]
            stock = inventories.get(provider_id, provider.inventories)
            for resource_class, amount in amounts.items():
                inventory = stock.get(resource_class)
                if inventory is None:
                    raise _no_inventory(resource_class, provider_id)
                if not inventory.admits(amount):
                    raise _unable(resource_class, provider_id, "violate inventory constraints")
                key = provider_id, resource_class
                taken[key] = taken.get(key, 0) + amount
                before = provider.used.get(resource_class, 0)
                after = before - given_back.get(key, 0) + taken[key]
                if after > inventory.capacity and (not before or after > before):
                    raise _unable(resource_class, provider_id, "exceed the capacity")


def _check_stocked(ledger: Ledger, wanted: Sequence[NewAllocations], inventories: Inventories) -> None:
    """Raise Refused if a provider has nothing of any class that the request touches, what it ends included."""
    classes = {name for one in wanted for amounts in _touched(ledger, one).values() for name in amounts}
    empty = [
        provider_id
        for provider_id in dict.fromkeys(provider_id for one in wanted for provider_id in one.allocations)
        if classes.isdisjoint(inventories.get(provider_id, ledger.providers[provider_id].inventories))
    ]
    if empty:
        raise _no_inventory(", ".join(in_order(classes)), ", ".join(empty))


def _touched(ledger: Ledger, wanted: NewAllocations) -> dict[str, dict[str, int]]:
    standing = ledger.claims.get(wanted.consumer_id)
    return wanted.allocations or (standing.allocations if standing else {})


def _no_inventory(resource_class: str, provider_id: str) -> Refused:
    return conflict(
        f"Unable to allocate inventory: Inventory for '{resource_class}' on resource provider "
        f"'{provider_id}' invalid."
    )


def _unable(resource_class: str, provider_id: str, harm: str) -> Refused:
    return conflict(
        f"Unable to allocate inventory: Unable to create allocation for '{resource_class}' on resource provider "
        f"'{provider_id}'. The requested amount would {harm}."
    )


def delete(ledger: Ledger, consumer_id: str) -> tuple[LedgerChange, ...]:
    if consumer_id not in ledger.claims:
        raise missing(f"No allocations for consumer '{consumer_id}'")
    return (Released(consumer_id=consumer_id),)
