"""Traits: which there are, and which a provider has."""

import re
from typing import Any

from adapters.rest.placement import schemas
from adapters.rest.placement.existing import check_provider, provider_of
from adapters.rest.placement.operation import Call, Operations, Reply
from domain.placement.ledger import Ledger, LedgerChange
from domain.placement.ledger import vocabulary as decisions
from domain.placement.ledger.refusals import bad, missing

operations = Operations()
POLICY = "placement:traits"
PROVIDER_POLICY = "placement:resource_providers:traits"
PATH = "/resource_providers/{uuid}/traits"
GENERATION = "resource_provider_generation"

_CUSTOM = re.compile(schemas.CUSTOM_NAME)
LONGEST = 255


@operations("GET", "/traits", f"{POLICY}:list", first=6)
async def list_traits(call: Call) -> Reply:
    """Traits by their names or how these begin; all, those that any provider has, or those that none has."""
    query = call.query
    schemas.TRAIT_LIST(call.minor).query(query)
    names, prefix = _name_filter(query["name"]) if "name" in query else (None, "")
    associated = query.get("associated")
    if associated is not None and associated.lower() not in ("true", "false"):
        raise bad('The query parameter "associated" only accepts "true" or "false"')
    async with call.placement.recorded() as ledger:
        shown = [
            name
            for name in (*decisions.STANDARD_TRAITS, *ledger.traits)
            if (names is None or name in names)
            and name.startswith(prefix)
            and (associated is None or bool(ledger.columns.with_trait(name)) == (associated.lower() == "true"))
        ]
    return Reply({"traits": shown})


def _name_filter(value: str) -> tuple[set[str] | None, str]:
    kind, colon, rest = value.partition(":")
    if not colon:
        raise bad(
            "Badly formatted name parameter. Expected name query string parameter in form: "
            f'?name=[in|startswith]:[name1,name2|prefix]. Got: "{value}"'
        )
    if kind == "in":
        return set(rest.split(",")), ""
    return None, rest if kind == "startswith" else ""


@operations("GET", "/traits/{name}", f"{POLICY}:show", first=6, gives=None)
async def show_trait(call: Call) -> Reply:
    """Whether there is one of that name."""
    name = call.params["name"]
    if not decisions.is_trait(call.placement.state, name):
        await call.placement.refreshed()
    async with call.placement.recorded() as ledger:
        if not decisions.is_trait(ledger, name):
            raise missing(decisions.trait_missing(name))
    return Reply(status=204)


@operations("PUT", "/traits/{name}", f"{POLICY}:update", first=6, takes=None)
async def put_trait(call: Call) -> Reply:
    """Make sure that the custom trait exists."""
    name = call.params["name"]
    if not _CUSTOM.search(name) or len(name) > LONGEST:
        raise bad(
            "The trait is invalid. A valid trait must be no longer than 255 characters, start with the prefix "
            '"CUSTOM_" and use following characters: "A"-"Z", "0"-"9" and "_"'
        )
    created = await call.placement.write(call.context, lambda ledger: decisions.create_trait(ledger, name))
    return Reply(status=201 if created else 204, location=f"/traits/{name}")


@operations("DELETE", "/traits/{name}", f"{POLICY}:delete", first=6)
async def delete_trait(call: Call) -> Reply:
    await call.placement.write(call.context, lambda ledger: decisions.delete_trait(ledger, call.params["name"]))
    return Reply(status=204, dated=False)


@operations("GET", PATH, f"{PROVIDER_POLICY}:list", first=6)
async def list_provider_traits(call: Call) -> Reply:
    async with provider_of(call, f"No resource provider with uuid {call.params['uuid']} found: ") as (
        _,
        provider,
    ):
        return Reply(_document(list(provider.traits), provider.generation))


def _document(traits: list[str], generation: int) -> dict[str, Any]:
    return {"traits": traits, GENERATION: generation}


@operations("PUT", PATH, f"{PROVIDER_POLICY}:update", first=6)
async def put_provider_traits(call: Call) -> Reply:
    """A provider has exactly these."""
    body = await call.body(schemas.PROVIDER_TRAITS)
    await check_provider(call)
    traits, generation = list(dict.fromkeys(body["traits"])), body[GENERATION]
    changes = await call.placement.write(
        call.context, lambda ledger: decisions.set_traits(ledger, call.params["uuid"], traits, generation)
    )
    return Reply(_document(traits, generation + bool(changes)))


@operations("DELETE", PATH, f"{PROVIDER_POLICY}:delete", first=6)
async def delete_provider_traits(call: Call) -> Reply:
    def decide(ledger: Ledger) -> tuple[LedgerChange, ...]:
        return decisions.set_traits(ledger, call.params["uuid"], (), None)

    await call.placement.write(call.context, decide)
    return Reply(status=204, dated=False)
