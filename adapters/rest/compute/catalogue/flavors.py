"""Flavors. https://docs.openstack.org/api-ref/compute/#flavors"""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from adapters.rest.compute import links
from adapters.rest.kit import since
from adapters.rest.kit.errors import not_implemented
from adapters.rest.kit.operation import Access, Call, Operations, empty
from adapters.rest.kit.paging import cut
from adapters.rest.kit.validation import (
    MAX_INTEGER,
    Body,
    Digits,
    Flag,
    Integer,
    Name,
    Text64K,
    Versions,
    boolean,
    integer,
)
from adapters.rest.kit.words import words
from domain.catalogue import flavor as flavors
from domain.catalogue.flavor import Flavor, Flavors
from domain.errors import Invalid, Refused
from domain.log.record import Event

operations = Operations()

QUERY = words("limit marker is_public minRam minDisk sort_key sort_dir")

SORT_KEYS: dict[str, Callable[[Flavor], Any]] = {
    "flavorid": lambda flavor: flavor.id,
    "id": lambda flavor: flavor.id,
    "name": lambda flavor: flavor.name,
    "memory_mb": lambda flavor: flavor.ram_mb,
    "vcpus": lambda flavor: flavor.vcpus,
    "root_gb": lambda flavor: flavor.disk_gb,
    "ephemeral_gb": lambda flavor: flavor.ephemeral_gb,
    "swap": lambda flavor: flavor.swap_mb,
    "is_public": lambda flavor: flavor.is_public,
    "rxtx_factor": lambda flavor: flavor.rxtx_factor,
    "disabled": lambda flavor: flavor.disabled,
    "description": lambda flavor: flavor.description or "",
}

MINIMA: dict[str, Callable[[Flavor], int]] = {
    "minRam": lambda flavor: flavor.ram_mb,
    "minDisk": lambda flavor: flavor.disk_gb,
}
"""Query parameters that ask for at least so much."""

MAX_DIGITS = 10
Positive = Annotated[int, Meta(ge=1, le=MAX_INTEGER)] | Digits
NotNegative = Annotated[int, Meta(ge=0, le=MAX_INTEGER)] | Digits
Factor = float | Annotated[str, Meta(max_length=20, pattern=r"^[0-9]+(\.[0-9]+)?\Z")]


class NewFlavor(Body):
    name: Name
    ram: Positive
    vcpus: Positive
    disk: NotNegative
    id: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^(?! )[a-zA-Z0-9. _-]+(?<! )\Z")] | (
        Integer | float | UnsetType | None
    ) = UNSET
    ephemeral: NotNegative | UnsetType = msgspec.field(default=UNSET, name="OS-FLV-EXT-DATA:ephemeral")
    swap: NotNegative | UnsetType = UNSET
    rxtx_factor: Annotated[Factor | UnsetType, Versions(1, 101)] = UNSET
    is_public: Flag | UnsetType = msgspec.field(default=UNSET, name="os-flavor-access:is_public")
    description: Annotated[Text64K | UnsetType | None, Versions(55)] = UNSET


class CreateBody(Body):
    """``{"flavor": …}``."""

    flavor: NewFlavor


class FlavorUpdate(Body):
    description: Text64K | None


class UpdateBody(Body):
    """``{"flavor": …}``."""

    flavor: FlavorUpdate


def catalogue(call: Call) -> Flavors:
    return call.services.registry.of(flavors.KIND, flavors.CATALOGUE.id) or Flavors()


def known_to(call: Call, flavor_id: str) -> Flavor | None:
    """The flavor, if the caller may know of it and so use it. Private ones are an administrator's."""
    flavor = catalogue(call).by_id.get(flavor_id)
    return flavor if flavor and (flavor.is_public or call.is_admin) else None


def find(call: Call) -> Flavor:
    """The flavor in the path; raises Refused (404)."""
    flavor_id = call.params["flavor_id"]
    return known_to(call, flavor_id) or Flavors().get(flavor_id)


async def execute(call: Call, decide: Callable[[Flavors], Event]) -> Flavors:
    """Change the catalogue and wait until it shows."""
    state, accepted = await call.services.registry.execute(
        call.context, flavors.CATALOGUE, lambda known: decide(known or Flavors())
    )
    await call.settle(accepted)
    assert isinstance(state, Flavors)
    return state


def document(call: Call, flavor: Flavor) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": flavor.id,
        "name": flavor.name,
        "ram": flavor.ram_mb,
        "disk": flavor.disk_gb,
        "swap": flavor.swap_mb or (0 if call.minor >= since.STRICT else ""),
        "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral_gb,
        "vcpus": flavor.vcpus,
        "os-flavor-access:is_public": flavor.is_public,
        "links": links.item(call, "flavors", flavor.id),
    }
    if call.minor < since.NO_FLAVOR_RELICS:
        shown["OS-FLV-DISABLED:disabled"] = flavor.disabled
        shown["rxtx_factor"] = flavor.rxtx_factor
    if call.minor >= since.FLAVOR_DESCRIPTION:
        shown["description"] = flavor.description
    if call.minor >= since.FLAVOR_EXTRA_SPECS:
        shown["extra_specs"] = flavor.extra_specs
    return shown


@operations("GET", "/flavors", Access.READER, "os_compute_api:flavors", query=QUERY)
async def index(call: Call) -> Any:
    page, more = _page(call)
    documents: list[dict[str, Any]] = []
    for flavor in page:
        shown = {"id": flavor.id, "name": flavor.name, "links": links.item(call, "flavors", flavor.id)}
        documents.append(
            shown | ({"description": flavor.description} if call.minor >= since.FLAVOR_DESCRIPTION else {})
        )
    return _listing(call, "/flavors", documents, more=more)


@operations("GET", "/flavors/detail", Access.READER, "os_compute_api:flavors", query=QUERY)
async def detail(call: Call) -> Any:
    page, more = _page(call)
    return _listing(call, "/flavors/detail", [document(call, flavor) for flavor in page], more=more)


def _listing(call: Call, path: str, documents: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"flavors": documents}
    if more:
        answer["flavors_links"] = links.following(call, path, documents[-1]["id"])
    return answer


def _page(call: Call) -> tuple[list[Flavor], bool]:
    query = call.query
    found = [flavor for flavor in catalogue(call).by_id.values() if not flavor.disabled and _shown(call, flavor)]
    for parameter, figure in MINIMA.items():
        text = query.get(parameter)
        if text is not None:
            if not (text.isdecimal() and len(text) <= MAX_DIGITS):
                raise Invalid(f"Invalid input for query parameters {parameter}. Value: {text}.")
            found = [flavor for flavor in found if figure(flavor) >= int(text)]
    sort_key, sort_dir = query.get("sort_key", "flavorid"), query.get("sort_dir", "asc")
    if sort_key not in SORT_KEYS or sort_dir not in ("asc", "desc"):
        raise Invalid(f"Invalid input for query parameters sort_key. Value: {sort_key} {sort_dir}.")
    found.sort(key=lambda flavor: (SORT_KEYS[sort_key](flavor), flavor.id), reverse=sort_dir == "desc")
    return cut(found, query, lambda flavor: flavor.id)


def _shown(call: Call, flavor: Flavor) -> bool:
    """Public ones to everybody; an administrator asks for public, private (is_public=False) or all (None)."""
    if not call.is_admin:
        return flavor.is_public
    asked = call.query.get("is_public")
    if asked is None:
        return flavor.is_public
    if asked.lower() == "none":
        return True
    return flavor.is_public == boolean("is_public", asked)


@operations("GET", "/flavors/{flavor_id}", Access.READER, "os_compute_api:flavors")
async def show(call: Call) -> Any:
    return {"flavor": document(call, find(call))}


@operations("POST", "/flavors", Access.ADMIN, "os_compute_api:os-flavor-manage:create", body=CreateBody)
async def create(call: Call) -> Any:
    asked: NewFlavor = call.body.flavor
    factor = float(asked.rxtx_factor) if asked.rxtx_factor is not UNSET else 1.0
    if factor <= 0:
        raise Invalid(f"Invalid input for field/attribute rxtx_factor. Value: {factor}. It must be above 0.")
    automatic = asked.id in (UNSET, None, "auto")
    flavor = Flavor(
        id=call.services.stamp.ids.uuid() if automatic else str(asked.id),
        name=asked.name,
        vcpus=integer("vcpus", asked.vcpus, least=1),
        ram_mb=integer("ram", asked.ram, least=1),
        disk_gb=integer("disk", asked.disk, least=0),
        ephemeral_gb=integer("OS-FLV-EXT-DATA:ephemeral", asked.ephemeral, least=0)
        if asked.ephemeral is not UNSET
        else 0,
        swap_mb=integer("swap", asked.swap, least=0) if asked.swap is not UNSET else 0,
        rxtx_factor=factor,
        is_public=boolean("os-flavor-access:is_public", asked.is_public) if asked.is_public is not UNSET else True,
        description=asked.description if asked.description is not UNSET else None,
    )
    await execute(call, lambda known: flavors.create(known, flavor))
    return {"flavor": document(call, flavor)}


@operations(
    "PUT",
    "/flavors/{flavor_id}",
    Access.ADMIN,
    "os_compute_api:os-flavor-manage:update",
    body=UpdateBody,
    first=since.FLAVOR_DESCRIPTION,
)
async def update(call: Call) -> Any:
    """Only a description could change, and it cannot yet."""
    flavor = find(call)
    if call.body.flavor.description != flavor.description:
        raise not_implemented("Changing the description of a flavor")
    return {"flavor": document(call, flavor)}


@operations("DELETE", "/flavors/{flavor_id}", Access.ADMIN, "os_compute_api:os-flavor-manage:delete", status=202)
async def delete(call: Call) -> Any:
    await execute(call, lambda known: flavors.delete(known, call.params["flavor_id"]))
    return empty(202)


@operations("GET", "/flavors/{flavor_id}/os-flavor-access", Access.ADMIN, "os_compute_api:os-flavor-access")
async def access(call: Call) -> Any:
    """Who may use a private flavor: nobody but administrators, yet."""
    if find(call).is_public:
        raise Refused("flavor.public", "Access list not available for public flavors.", status=404)
    return {"flavor_access": []}
