"""The rules of the ledger, request by request: what one request changes is judged by what it leads to, as it was
decided. Within a reshape nothing has to fit in between."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, ClassVar

from msgspec.structs import replace

from domain.errors import LightcurveError
from domain.placement import ledger
from domain.placement.ledger import Claimed, InventoriesSet, Ledger, LedgerChange, Released, providers, vocabulary
from domain.placement.ledger import changes as made
from domain.placement.ledger.refusals import check_figures, conflict, find

Amounts = dict[tuple[str, str], int]
Decide = Callable[[Ledger, Any], tuple[LedgerChange, ...]]


def _of_a_provider(state: Ledger, change: made.InventoriesSet | made.AggregatesSet) -> tuple[LedgerChange, ...]:
    """What is said of a provider that is there. Raises Refused."""
    find(state, change.provider_id)
    return (replace(change, request_id=None),)


DECIDE: dict[type[LedgerChange], Decide] = {
    made.ProviderCreated: lambda state, it: providers.create(state, it.provider_id, it.name, it.parent_id),
    made.ProviderUpdated: lambda state, it: providers.update(
        state, it.provider_id, it.name, it.parent_id, may_move=True
    ),
    made.ProviderDeleted: lambda state, it: providers.delete(state, it.provider_id),
    made.InventoriesSet: _of_a_provider,
    made.AggregatesSet: _of_a_provider,
    made.TraitsSet: lambda state, it: vocabulary.set_traits(state, it.provider_id, it.traits, None),
    made.TraitCreated: lambda state, it: vocabulary.create_trait(state, it.name),
    made.TraitDeleted: lambda state, it: vocabulary.delete_trait(state, it.name),
    made.ResourceClassCreated: lambda state, it: vocabulary.ensure_class(state, it.name),
    made.ResourceClassRenamed: lambda state, it: vocabulary.rename_class(state, it.name, it.new_name),
    made.ResourceClassDeleted: lambda state, it: vocabulary.delete_class(state, it.name),
}
"""What is decided of each change by itself, beside claims."""


class LedgerRun:
    """The changes of one event."""

    KIND: ClassVar[str] = ledger.KIND.name

    def __init__(self, state: Ledger, differences: list[str]) -> None:
        """``state`` is changed, and ``differences`` get what differs."""
        self._state = state
        self._differences = differences

    def take(self, changes: Iterable[LedgerChange]) -> None:
        """Make them."""
        for _, group in groupby(changes, lambda change: change.request_id):
            self._request(list(group))

    def _request(self, changes: Sequence[LedgerChange]) -> None:
        before = self._used(changes)
        for change in changes:
            self._differences += _told(change, partial(self._alone, change))
            self._state.apply(change)
        for change in changes:
            self._differences += _told(change, partial(self._afterwards, change, before))

    def _used(self, changes: Iterable[LedgerChange]) -> Amounts:
        """What is used of what these changes claim."""
        return {
            (provider_id, name): self._state.providers[provider_id].used.get(name, 0)
            for change in changes
            if isinstance(change, Claimed)
            for provider_id, amounts in change.allocations.items()
            if provider_id in self._state.providers
            for name in amounts
        }

    def _alone(self, change: LedgerChange) -> bool:
        """Whether anything would be recorded for it. Raises Refused."""
        decide = DECIDE.get(type(change))
        if decide:
            asked = replace(change, request_id=None)
            return asked in decide(self._state, change)
        return not isinstance(change, Released) or change.consumer_id in self._state.claims

    def _afterwards(self, change: LedgerChange, before: Amounts) -> bool:
        """Whether what it says can be, once the whole request is done. Raises Refused."""
        if isinstance(change, InventoriesSet):
            check_figures(change.inventories, "The inventories cannot be taken in")
            provider = self._state.providers.get(change.provider_id)
            if provider and (claimed := [name for name in provider.used if provider.used[name]
                                         and name not in provider.inventories]):  # fmt: skip
                raise conflict(f"{', '.join(claimed)} of provider {provider.id} is claimed, and is there no more.")
        if isinstance(change, Claimed):
            for provider_id, amounts in change.allocations.items():
                for name, amount in amounts.items():
                    self._check_room(provider_id, name, amount, before.get((provider_id, name), 0))
        return True

    def _check_room(self, provider_id: str, name: str, amount: int, before: int) -> None:
        """As Placement does: who is over his capacity already may take what makes that no worse."""
        provider = find(self._state, provider_id)
        inventory = provider.inventories.get(name)
        used = provider.used.get(name, 0)
        if inventory is None:
            raise conflict(f"Provider {provider_id} has no {name}.")
        if not inventory.admits(amount):
            raise conflict(f"{amount} {name} of provider {provider_id} violates its inventory's constraints.")
        if used > inventory.capacity and (not before or used > before):
            raise conflict(f"{used} {name} of provider {provider_id} exceeds its capacity of {inventory.capacity}.")


def _told(change: LedgerChange, rule: Callable[[], bool]) -> list[str]:
    name = change.__struct_config__.tag
    try:
        return [] if rule() else [f"{name}: nothing, there was nothing to record"]
    except LightcurveError as error:
        return [f"{name} refused: {error.message}"]
