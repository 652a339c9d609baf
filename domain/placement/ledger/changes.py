"""Everything that can happen to a ledger. One event holds what one writer changed at once."""

from domain.affinity import Member
from domain.log.batch import Change
from domain.log.record import Event
from domain.placement.ledger.inventory import Inventory


class ProviderCreated(Change, tag="provider_created", frozen=True, kw_only=True):
    """A resource provider exists, as a child of ``parent_id`` if that is given."""

    provider_id: str
    name: str
    parent_id: str | None = None


class ProviderUpdated(Change, tag="provider_updated", frozen=True, kw_only=True):
    """The provider's name and parent are now these; its whole subtree moves with it."""

    provider_id: str
    name: str
    parent_id: str | None = None


class ProviderDeleted(Change, tag="provider_deleted", frozen=True, kw_only=True):
    """The provider, which has neither children nor claims, is no more."""

    provider_id: str


class InventoriesSet(Change, tag="inventories_set", frozen=True, kw_only=True):
    """The provider's inventories are now exactly these, by resource class."""

    provider_id: str
    inventories: dict[str, Inventory]


class TraitsSet(Change, tag="traits_set", frozen=True, kw_only=True):
    """The provider's traits are now exactly these."""

    provider_id: str
    traits: tuple[str, ...]


class AggregatesSet(Change, tag="aggregates_set", frozen=True, kw_only=True):
    """The provider's aggregates are now exactly these. Before microversion 1.19 this was not ``counted`` in its
    generation."""

    provider_id: str
    aggregates: tuple[str, ...]
    counted: bool = True


class TraitCreated(Change, tag="trait_created", frozen=True, kw_only=True):
    """A custom trait exists."""

    name: str


class TraitDeleted(Change, tag="trait_deleted", frozen=True, kw_only=True):
    """A custom trait that no provider has is no more."""

    name: str


class ResourceClassCreated(Change, tag="resource_class_created", frozen=True, kw_only=True):
    """A custom resource class exists."""

    name: str


class ResourceClassRenamed(Change, tag="resource_class_renamed", frozen=True, kw_only=True):
    """A custom resource class has a new name, in every inventory and claim."""

    name: str
    new_name: str


class ResourceClassDeleted(Change, tag="resource_class_deleted", frozen=True, kw_only=True):
    """A custom resource class without inventory is no more."""

    name: str


class Claimed(Change, tag="claimed", frozen=True, kw_only=True):
    """The consumer's allocations are now exactly these: by provider, by resource class.

    ``epoch`` is the server's assignment that they are for; 0 for a consumer that is no server of ours.
    ``generation`` is Placement's: how often the consumer's allocations were set.
    """

    consumer_id: str
    epoch: int
    project_id: str
    user_id: str
    allocations: dict[str, dict[str, int]]
    generation: int = 1
    consumer_type: str | None = None
    uncounted: tuple[str, ...] = ()
    """Providers whose generation another part of the same request has counted up already."""
    member: Member | None = None
    """Whose place in a server group it is: the first provider is the host where that server counts."""


class Released(Change, tag="released", frozen=True, kw_only=True):
    """The consumer has no allocations any more."""

    consumer_id: str
    counted: tuple[str, ...] = ()
    """Providers whose generation this counts up: Placement counts a claim that is replaced by nothing, but not
    one that is deleted."""


LedgerChange = (
    ProviderCreated
    | ProviderUpdated
    | ProviderDeleted
    | InventoriesSet
    | TraitsSet
    | AggregatesSet
    | TraitCreated
    | TraitDeleted
    | ResourceClassCreated
    | ResourceClassRenamed
    | ResourceClassDeleted
    | Claimed
    | Released
)


class LedgerChanged(Event, tag="ledger.changed", frozen=True, kw_only=True):
    """Everything that one writer changed at once, in order."""

    changes: tuple[LedgerChange, ...]
