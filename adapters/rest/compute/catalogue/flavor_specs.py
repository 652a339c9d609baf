"""The extra specs of flavors."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from adapters.rest.compute.catalogue.flavors import execute, find
from adapters.rest.kit import since
from adapters.rest.kit.limits import read_body
from adapters.rest.kit.operation import Access, Call, Operations
from adapters.rest.kit.validation import MALFORMED, UNREADABLE, Body, Integer, Text255
from domain.catalogue import flavor as flavors
from domain.catalogue import flavor_specs as rules
from domain.catalogue.flavor import Flavors
from domain.errors import Invalid, Refused

operations = Operations()

AT = "/flavors/{flavor_id}/os-extra_specs"
RULE = "os_compute_api:os-flavor-extra-specs"

SpecKey = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9\-_:. ]{1,255}\Z")]
SpecValue = Text255 | Integer | float


class CreateBody(Body):
    """``{"extra_specs": …}``."""

    extra_specs: Annotated[dict[SpecKey, SpecValue], Meta(min_length=1)]


@operations("GET", AT, Access.READER, f"{RULE}:index")
async def index(call: Call) -> Any:
    return {"extra_specs": find(call).extra_specs}


@operations("POST", AT, Access.ADMIN, f"{RULE}:create", body=CreateBody)
async def create(call: Call) -> Any:
    """Add extra specs, or replace them."""
    added = {key: str(value) for key, value in call.body.extra_specs.items()}
    await _merge(call, added)
    return {"extra_specs": added}


@operations("GET", f"{AT}/{{key}}", Access.READER, f"{RULE}:show")
async def show(call: Call) -> Any:
    specs = find(call).extra_specs
    key = call.params["key"]
    if key not in specs:
        raise _no_spec(call)
    return {key: specs[key]}


@operations("PUT", f"{AT}/{{key}}", Access.ADMIN, f"{RULE}:update", streamed=True)
async def update(call: Call) -> Any:
    try:
        body = msgspec.json.decode(await read_body(call.scope, call.receive), type=dict[SpecKey, SpecValue])
    except UNREADABLE:
        raise Invalid(MALFORMED) from None
    if set(body) != {call.params["key"]}:
        raise Invalid("Request body and URI mismatch")
    changed = {key: str(value) for key, value in body.items()}
    await _merge(call, changed)
    return changed


@operations("DELETE", f"{AT}/{{key}}", Access.ADMIN, f"{RULE}:delete")
async def delete(call: Call) -> None:
    flavor_id, key = call.params["flavor_id"], call.params["key"]

    def decide(known: Flavors) -> flavors.FlavorExtraSpecsSet:
        specs = known.get(flavor_id).extra_specs
        if key not in specs:
            raise _no_spec(call)
        rest = {name: value for name, value in specs.items() if name != key}
        return flavors.set_extra_specs(known, flavor_id, rest)

    await execute(call, decide)


async def _merge(call: Call, added: dict[str, str]) -> None:
    if call.minor >= since.EXTRA_SPECS_VALIDATED:
        rules.validate(added)
    flavor_id = call.params["flavor_id"]
    await execute(
        call,
        lambda known: flavors.set_extra_specs(known, flavor_id, known.get(flavor_id).extra_specs | added),
    )


def _no_spec(call: Call) -> Refused:
    flavor_id, key = call.params["flavor_id"], call.params["key"]
    return Refused("spec.not_found", f"Flavor {flavor_id} has no extra specs with key {key}.", status=404)
