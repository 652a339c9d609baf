"""Volume types: what an operator calls kinds of volumes. There is one from the beginning."""

from uuid import NAMESPACE_DNS, uuid5

import msgspec
from msgspec.structs import replace

from domain.errors import Invalid, Refused
from domain.log.kind import Kind, unfoldable
from domain.log.record import AggregateId, Event, Metadata

DEFAULT_NAME = "__DEFAULT__"
MULTIATTACH = "multiattach"
"""The extra spec of types whose volumes may be at several servers: ``<is> True``."""


class VolumeType(msgspec.Struct, frozen=True, kw_only=True):
    """A type of volumes."""

    id: str
    name: str
    description: str | None = None
    is_public: bool = True
    extra_specs: dict[str, str] = {}
    projects: tuple[str, ...] = ()
    """Who may use it, if it is not public."""

    @property
    def multiattach(self) -> bool:
        return self.extra_specs.get(MULTIATTACH, "").lower() == "<is> true"

    def usable_by(self, project_id: str | None) -> bool:
        return self.is_public or project_id in self.projects


DEFAULT = VolumeType(
    id=str(uuid5(NAMESPACE_DNS, "default.volume-type.lightcurve")),
    name=DEFAULT_NAME,
    description="Default Volume Type",
)


class VolumeTypeCreated(Event, tag="volume_type.created", frozen=True, kw_only=True):
    """There is another one."""

    volume_type: VolumeType


class VolumeTypeUpdated(Event, tag="volume_type.updated", frozen=True, kw_only=True):
    """It is now this."""

    volume_type: VolumeType


class VolumeTypeDeleted(Event, tag="volume_type.deleted", frozen=True, kw_only=True):
    """Nobody may use it any more."""

    volume_type_id: str


class VolumeTypes(msgspec.Struct, frozen=True):
    """All types by id."""

    by_id: dict[str, VolumeType] = msgspec.field(default_factory=lambda: {DEFAULT.id: DEFAULT})

    def get(self, named: str) -> VolumeType | None:
        """The type of that id, or else of that name."""
        return self.by_id.get(named) or next((each for each in self.by_id.values() if each.name == named), None)


CATALOGUE = AggregateId("volume_type", "catalogue")


def existing(types: VolumeTypes | None, type_id: str) -> VolumeType:
    """The type of that id; raises Refused (404)."""
    found = (types or VolumeTypes()).by_id.get(type_id)
    if found is None:
        raise Refused("volume_type.not_found", f"Volume type {type_id} could not be found.", status=404)
    return found


def create(types: VolumeTypes | None, made: VolumeType) -> VolumeTypeCreated:
    """Raises Refused (409) for an id or a name that there is."""
    types = types or VolumeTypes()
    if made.id in types.by_id or _named(types, made.name):
        raise Refused("volume_type.exists", f"Volume Type {made.name} already exists.")
    return VolumeTypeCreated(volume_type=made)


def update(types: VolumeTypes | None, changed: VolumeType) -> VolumeTypeUpdated | None:
    """Have it so; None if it is. Raises Refused (404, 409), and Invalid where the default type would be nobody's."""
    types = types or VolumeTypes()
    known = existing(types, changed.id)
    other = _named(types, changed.name)
    if other and other.id != changed.id:
        raise Refused("volume_type.exists", f"Volume Type {changed.name} already exists.")
    if changed.id == DEFAULT.id and (changed.name != DEFAULT_NAME or not changed.is_public):
        raise Invalid(f"Volume type {DEFAULT_NAME} keeps its name, and is everybody's.")
    return None if changed == known else VolumeTypeUpdated(volume_type=changed)


def set_access(
    types: VolumeTypes | None, type_id: str, project_id: str, *, allowed: bool
) -> VolumeTypeUpdated | None:
    """Say whether a project may use a type that is not public. Raises Refused (404, 409)."""
    known = existing(types, type_id)
    if known.is_public:
        message = "Type access modification is not applicable to public volume type."
        raise Refused("volume_type.public", message, status=400)
    has = project_id in known.projects
    if allowed and has:
        message = f"Volume type access for {type_id} / {project_id} combination already exists."
        raise Refused("volume_type.access", message)
    if not allowed and not has:
        message = f"Volume type access not found for {type_id} / {project_id} combination."
        raise Refused("volume_type.access", message, status=404)
    others = tuple(each for each in known.projects if each != project_id)
    return update(types, replace(known, projects=(*others, project_id) if allowed else others))


def delete(types: VolumeTypes | None, type_id: str) -> VolumeTypeDeleted:
    """Raises Refused (404), and Invalid for the default type."""
    existing(types, type_id)
    if type_id == DEFAULT.id:
        raise Invalid(f"The default volume type {DEFAULT_NAME} cannot be deleted.")
    return VolumeTypeDeleted(volume_type_id=type_id)


def _named(types: VolumeTypes, name: str) -> VolumeType | None:
    return next((each for each in types.by_id.values() if each.name == name), None)


def evolve(state: VolumeTypes | None, event: Event, _meta: Metadata) -> VolumeTypes:
    by_id = dict((state or VolumeTypes()).by_id)
    match event:
        case VolumeTypeCreated() | VolumeTypeUpdated():
            by_id[event.volume_type.id] = event.volume_type
        case VolumeTypeDeleted():
            del by_id[event.volume_type_id]
        case _:
            raise unfoldable(event)
    return VolumeTypes(by_id)


KIND = Kind("volume_type", (VolumeTypeCreated, VolumeTypeUpdated, VolumeTypeDeleted), evolve)
