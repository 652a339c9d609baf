"""Placement's stable error codes, and the refusals that several decisions share.

https://docs.openstack.org/api-ref/placement/#error-codes
"""

from collections.abc import Mapping

from domain.errors import Refused
from domain.placement.ledger.inventory import Inventory
from domain.placement.ledger.state import Ledger, Provider

UNDEFINED = "placement.undefined_code"
INVENTORY_IN_USE = "placement.inventory.inuse"
CONCURRENT_UPDATE = "placement.concurrent_update"
DUPLICATE_NAME = "placement.duplicate_name"
PROVIDER_IN_USE = "placement.resource_provider.inuse"
PROVIDER_IS_PARENT = "placement.resource_provider.cannot_delete_parent"
PROVIDER_NOT_FOUND = "placement.resource_provider.not_found"
DUPLICATE_QUERY_KEY = "placement.query.duplicate_key"
BAD_QUERY_VALUE = "placement.query.bad_value"
MISSING_QUERY_VALUE = "placement.query.missing_value"

GENERATION_CHANGED = "Resource provider's generation already changed. Please update the generation and try again."


def bad(message: str, code: str = UNDEFINED) -> Refused:
    """What was asked makes no sense (400)."""
    return Refused(code, message, status=400)


def missing(message: str) -> Refused:
    """What was asked for is not there (404)."""
    return Refused(UNDEFINED, message, status=404)


def conflict(message: str, code: str = UNDEFINED) -> Refused:
    """A rule or somebody else's change forbids it (409)."""
    return Refused(code, message, status=409)


def find(ledger: Ledger, provider_id: str, *, before: str = "", after: str = "") -> Provider:
    """The provider. Raises Refused (404), with words before and after the reason."""
    provider = ledger.providers.get(provider_id)
    if provider is None:
        raise missing(f"{before}No resource provider with uuid {provider_id} found{after}")
    return provider


def in_use(resource_classes: list[str], provider_id: str) -> str:
    """The reason for which inventories cannot go."""
    return f"Inventory for '{', '.join(resource_classes)}' on resource provider '{provider_id}' in use."


def check_figures(inventories: Mapping[str, Inventory], words: str) -> None:
    """Raise Refused (400), with ``words`` before the reason, for figures that the ledger could not reckon with."""
    for resource_class, inventory in inventories.items():
        reason = inventory.unholdable()
        if reason:
            raise bad(f"{words}: Invalid inventory for '{resource_class}': {reason}.")
