"""What our own hosts and servers do to the ledger: a host offers its resources, a server gives back its claim."""

import msgspec

from domain.errors import Refused
from domain.placement.ledger.changes import Claimed, InventoriesSet, LedgerChange, ProviderCreated, Released
from domain.placement.ledger.inventory import Inventory
from domain.placement.ledger.refusals import check_figures
from domain.placement.ledger.state import Ledger


def offer(ledger: Ledger, provider_id: str, name: str, inventories: dict[str, Inventory]) -> tuple[LedgerChange, ...]:
    """A host has these resources; nothing to do if that is known. A class that it no longer offers stays as long as
    it is claimed. Raises Refused if another provider has its name, and for figures that no ledger can hold."""
    check_figures(inventories, f"The resources of host {name} cannot be taken in")
    provider = ledger.providers.get(provider_id)
    if provider is None:
        if name in ledger.ids_by_name:
            raise Refused("placement.duplicate_name", f"Conflicting resource provider name: {name} already exists.")
        created = ProviderCreated(provider_id=provider_id, name=name)
        return created, InventoriesSet(provider_id=provider_id, inventories=inventories)
    claimed = {
        resource_class: inventory
        for resource_class, inventory in provider.inventories.items()
        if provider.used.get(resource_class) and resource_class not in inventories
    }
    if provider.inventories == claimed | inventories:
        return ()
    return (InventoriesSet(provider_id=provider_id, inventories=claimed | inventories),)


def release_assignment(ledger: Ledger, consumer_id: str, epoch: int, request_id: str | None) -> tuple[Released, ...]:
    """Give back what a server has for that assignment, or an older one: what it has for a newer one it keeps."""
    claim = ledger.claims.get(consumer_id)
    return () if claim is None or claim.epoch > epoch else release(ledger, consumer_id, request_id)


def leave_group(ledger: Ledger, consumer_id: str, request_id: str | None) -> tuple[Claimed, ...]:
    """What a consumer has counts for no server group any more; nothing to do if it does not."""
    claim = ledger.claims.get(consumer_id)
    if claim is None or claim.member is None:
        return ()
    return (msgspec.structs.replace(claim, member=None, uncounted=tuple(claim.allocations), request_id=request_id),)


def release(ledger: Ledger, consumer_id: str, request_id: str | None) -> tuple[Released, ...]:
    """Give back all that a consumer has; nothing to do if it has nothing."""
    if consumer_id not in ledger.claims:
        return ()
    return (Released(consumer_id=consumer_id, request_id=request_id),)
