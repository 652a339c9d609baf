"""Volume types. https://docs.openstack.org/api-ref/block-storage/v3/#volume-types-types"""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.paging import cut
from adapters.rest.kit.validation import Body, Flag, Key, Name, Text255, boolean
from adapters.rest.kit.words import words
from adapters.rest.volume import links
from adapters.rest.volume import microversion as since
from adapters.rest.volume.access import types
from adapters.rest.volume.documents import type_document
from adapters.rest.volume.listing import has_all
from domain.errors import Invalid, Refused
from domain.log.record import Event
from domain.neighbours import volume_type
from domain.neighbours.volume import state as storage
from domain.neighbours.volume_type import DEFAULT, VolumeType, VolumeTypes

operations = Operations()

RULE = "volume_extension:type"
MAX_SPECS = 128
QUERY = words("is_public name extra_specs limit marker sort sort_key sort_dir all_tenants")
SORT_KEYS = ("id", "name", "is_public", "description", "created_at", "updated_at")
Specs = Annotated[dict[Key, Text255], Meta(max_length=MAX_SPECS)]


class NewType(Body):
    name: Name
    description: Text255 | None = None
    is_public: Flag | UnsetType = msgspec.field(default=UNSET, name="os-volume-type-access:is_public")
    extra_specs: Specs | None = None


class CreateBody(Body):
    """``{"volume_type": …}``."""

    volume_type: NewType


class TypeUpdate(Body):
    name: Name | UnsetType | None = UNSET
    description: Text255 | UnsetType | None = UNSET
    is_public: Flag | UnsetType | None = UNSET


class UpdateBody(Body):
    """``{"volume_type": …}``."""

    volume_type: TypeUpdate


class SpecsBody(Body):
    """``{"extra_specs": …}``."""

    extra_specs: Specs


def find(call: Call) -> VolumeType:
    """The type in the path, if the caller may use it; ``default`` is the default one. Raises Refused (404)."""
    wanted = call.params["type_id"]
    found = types(call).by_id.get(DEFAULT.id if wanted == "default" else wanted)
    if found is None or not (call.is_admin or found.usable_by(call.context.project_id)):
        raise Refused("volume_type.not_found", f"Volume type {wanted} could not be found.", status=404)
    return found


async def execute(call: Call, decide: Callable[[VolumeTypes | None], Event | None]) -> None:
    _, accepted = await call.services.registry.execute(call.context, volume_type.CATALOGUE, decide)
    await call.settle(accepted)


@operations("GET", "/types", Access.READER, f"{RULE}:get_all", query=QUERY, query_strict_from=0)
async def index(call: Call) -> Any:
    found = [each for each in types(call).by_id.values() if _listed(call, each)]
    if "name" in call.query:
        found = [each for each in found if each.name == call.query["name"]]
    if "extra_specs" in call.query:
        if call.minor < since.EXTRA_SPECS_FILTER:
            raise Invalid("Invalid filters extra_specs are found in query options.")
        found = [each for each in found if has_all(each.extra_specs, call.query["extra_specs"])]
    _sort(call, found)
    page, more = cut(found, call.query, lambda each: each.id)
    answer: dict[str, Any] = {"volume_types": [type_document(call, each) for each in page]}
    if more:
        answer["volume_type_links"] = links.following(call, "/types", page[-1].id)
    return answer


def _listed(call: Call, found: VolumeType) -> bool:
    asked = call.query.get("is_public")
    if not call.is_admin:
        return found.usable_by(call.context.project_id)
    return asked in (None, "", "None", "none") or found.is_public == boolean("is_public", asked or "")


def _sort(call: Call, found: list[VolumeType]) -> None:
    key, _, direction = call.query.get("sort", "").partition(":")
    key = key or call.query.get("sort_key", "")
    direction = direction or call.query.get("sort_dir", "desc")
    if key and (key not in SORT_KEYS or direction not in ("asc", "desc")):
        raise Invalid(f"Invalid input received: Invalid sort key or direction: {key}:{direction}")
    found.reverse()
    if key and not key.endswith("_at"):
        found.sort(key=lambda each: str(getattr(each, key) or ""), reverse=direction == "desc")
    elif key and direction == "asc":
        found.reverse()


@operations("POST", "/types", Access.ADMIN, f"{RULE}:create", body=CreateBody)
async def create(call: Call) -> Any:
    asked: NewType = call.body.volume_type
    made = VolumeType(
        id=call.services.stamp.ids.uuid(),
        name=asked.name,
        description=asked.description,
        is_public=asked.is_public is UNSET or boolean("os-volume-type-access:is_public", asked.is_public),
        extra_specs=asked.extra_specs or {},
    )
    await execute(call, lambda known: volume_type.create(known, made))
    return {"volume_type": type_document(call, made)}


@operations("GET", "/types/{type_id}", Access.READER, f"{RULE}:get")
async def show(call: Call) -> Any:
    return {"volume_type": type_document(call, find(call))}


@operations("PUT", "/types/{type_id}", Access.ADMIN, f"{RULE}:update", body=UpdateBody)
async def update(call: Call) -> Any:
    asked: TypeUpdate = call.body.volume_type
    fields: dict[str, Any] = {}
    if asked.name is not UNSET and asked.name is not None:
        fields["name"] = asked.name
    if asked.description is not UNSET:
        fields["description"] = asked.description
    if asked.is_public is not UNSET and asked.is_public is not None:
        fields["is_public"] = boolean("is_public", asked.is_public)
    if not fields:
        raise Invalid("Specify volume type name, description, is_public or a combination thereof.")
    return {"volume_type": type_document(call, await _replace(call, **fields))}


async def _replace(call: Call, **fields: Any) -> VolumeType:
    type_id = find(call).id
    await execute(
        call, lambda known: volume_type.update(known, replace(volume_type.existing(known, type_id), **fields))
    )
    return volume_type.existing(types(call), type_id)


@operations("DELETE", "/types/{type_id}", Access.ADMIN, f"{RULE}:delete", status=202)
async def delete(call: Call) -> None:
    """Delete a type of which no volume is."""
    found = find(call)
    if any(known.has_of_type(found.id) for _, known in call.services.registry.states(storage.KIND.name)):
        message = f"Target volume type is still in use. Volume type {found.id} has volumes."
        raise Refused("volume_type.in_use", message, status=400)
    await execute(call, lambda known: volume_type.delete(known, found.id))


@operations("GET", "/types/{type_id}/extra_specs", Access.READER, "volume_extension:types_extra_specs:index")
async def specs(call: Call) -> Any:
    return {"extra_specs": find(call).extra_specs}


@operations("POST", "/types/{type_id}/extra_specs", Access.ADMIN, "volume_extension:types_extra_specs:create",
            body=SpecsBody)  # fmt: skip
async def add_specs(call: Call) -> Any:
    await _set_specs(call, find(call).extra_specs | call.body.extra_specs)
    return {"extra_specs": call.body.extra_specs}


@operations("GET", "/types/{type_id}/extra_specs/{key}", Access.READER, "volume_extension:types_extra_specs:show")
async def show_spec(call: Call) -> Any:
    return {call.params["key"]: _spec(call)}


@operations("DELETE", "/types/{type_id}/extra_specs/{key}", Access.ADMIN,
            "volume_extension:types_extra_specs:delete", status=202)  # fmt: skip
async def delete_spec(call: Call) -> None:
    _spec(call)
    await _set_specs(call, {k: v for k, v in find(call).extra_specs.items() if k != call.params["key"]})


def _spec(call: Call) -> str:
    found = find(call)
    key = call.params["key"]
    if key not in found.extra_specs:
        message = f"Volume Type {found.id} has no extra specs with key {key}."
        raise Refused("extra_spec.not_found", message, status=404)
    return found.extra_specs[key]


async def _set_specs(call: Call, extra_specs: dict[str, str]) -> None:
    if len(extra_specs) > MAX_SPECS:
        raise Refused("extra_specs.too_many", f"The limit of {MAX_SPECS} extra specs is exceeded.", status=413)
    await _replace(call, extra_specs=extra_specs)
