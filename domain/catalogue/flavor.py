"""Flavors: the sizes of servers. All of them are one aggregate, so that ids and names are unique."""

import msgspec

from domain.errors import Invalid, Refused, not_found
from domain.guest import ImageSource
from domain.log.kind import Kind, unfoldable
from domain.log.record import AggregateId, Event, Metadata

CATALOGUE = AggregateId("flavor", "all")


class Flavor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A flavor; Nova's fields. A server keeps its own copy, so that a later change never resizes it."""

    id: str
    name: str
    vcpus: int
    ram_mb: int
    disk_gb: int
    """Root disk; 0 means the size of the image."""
    ephemeral_gb: int = 0
    swap_mb: int = 0
    rxtx_factor: float = 1.0
    is_public: bool = True
    disabled: bool = False
    description: str | None = None
    extra_specs: dict[str, str] = {}


class FlavorCreated(Event, tag="flavor.created", frozen=True, kw_only=True):
    """The operator offers a new size."""

    flavor: Flavor


class FlavorDeleted(Event, tag="flavor.deleted", frozen=True, kw_only=True):
    """The size is no longer offered; servers that have it keep it."""

    flavor_id: str


class FlavorExtraSpecsSet(Event, tag="flavor.extra_specs_set", frozen=True, kw_only=True):
    """The flavor's extra specs are now exactly these."""

    flavor_id: str
    extra_specs: dict[str, str]


class Flavors(msgspec.Struct, frozen=True):
    """All flavors by id."""

    by_id: dict[str, Flavor] = {}

    def get(self, flavor_id: str) -> Flavor:
        """The flavor of that id; raises Refused (404)."""
        try:
            return self.by_id[flavor_id]
        except KeyError:
            raise not_found("Flavor", flavor_id) from None


def create(flavors: Flavors, flavor: Flavor) -> FlavorCreated:
    """Offer a flavor whose id and name are new."""
    if flavor.id in flavors.by_id:
        raise Refused("flavor.exists", f"Flavor with ID {flavor.id} already exists.")
    if any(known.name == flavor.name for known in flavors.by_id.values()):
        raise Refused("flavor.exists", f"Flavor with name {flavor.name} already exists.")
    return FlavorCreated(flavor=flavor)


def delete(flavors: Flavors, flavor_id: str) -> FlavorDeleted:
    flavors.get(flavor_id)
    return FlavorDeleted(flavor_id=flavor_id)


def set_extra_specs(flavors: Flavors, flavor_id: str, extra_specs: dict[str, str]) -> FlavorExtraSpecsSet:
    flavors.get(flavor_id)
    return FlavorExtraSpecsSet(flavor_id=flavor_id, extra_specs=extra_specs)


def check_image(flavor: Flavor, image: ImageSource | None, min_ram_mb: int) -> None:
    """Raise Invalid, in Nova's words, for an image that needs more memory or disk than the flavor has."""
    if min_ram_mb > flavor.ram_mb:
        raise Invalid("Flavor's memory is too small for requested image.")
    if image and flavor.disk_gb and image.min_disk_gb > flavor.disk_gb:
        raise Invalid(
            f"Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is "
            f"{flavor.disk_gb << 30} bytes, minimum size is {image.min_disk_gb << 30} bytes."
        )


def evolve(state: Flavors | None, event: Event, _meta: Metadata) -> Flavors:
    by_id = dict(state.by_id) if state else {}
    match event:
        case FlavorCreated():
            by_id[event.flavor.id] = event.flavor
        case FlavorDeleted():
            del by_id[event.flavor_id]
        case FlavorExtraSpecsSet():
            by_id[event.flavor_id] = msgspec.structs.replace(by_id[event.flavor_id], extra_specs=event.extra_specs)
        case _:
            raise unfoldable(event)
    return Flavors(by_id)


KIND = Kind("flavor", (FlavorCreated, FlavorDeleted, FlavorExtraSpecsSet), evolve)
