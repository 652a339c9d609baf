"""Inventories of a provider."""

from typing import Any

import msgspec

from adapters.rest.placement import schemas
from adapters.rest.placement.existing import check_provider, provider_of
from adapters.rest.placement.operation import Call, Operations, Reply
from domain.placement.ledger import Inventory, Ledger, LedgerChange, Provider
from domain.placement.ledger import inventories as decisions
from domain.placement.ledger.refusals import missing

operations = Operations()
POLICY = "placement:resource_providers:inventories"
PATH = "/resource_providers/{uuid}/inventories"
GENERATION = "resource_provider_generation"
RESERVED_FROM = 26
"""The microversion from which all of an inventory may be reserved."""


def inventory(raw: dict[str, Any]) -> Inventory:
    """From a validated body."""
    known = {name: raw[name] for name in Inventory.__struct_fields__ if name in raw}
    return msgspec.convert(known, Inventory, strict=False)


def document(shown: Inventory) -> dict[str, Any]:
    return {name: getattr(shown, name) for name in Inventory.__struct_fields__}


def _with_generation(shown: Inventory, generation: int) -> dict[str, Any]:
    """A generation of 0 is not told: so it has always been."""
    return document(shown) | ({GENERATION: generation} if generation else {})


def _all(inventories: dict[str, Inventory], generation: int) -> dict[str, Any]:
    return {
        GENERATION: generation,
        "inventories": {name: document(shown) for name, shown in inventories.items()},
    }


def _after(ledger: Ledger, call: Call) -> int:
    provider: Provider = ledger.providers[call.params["uuid"]]
    return provider.generation + 1


@operations("GET", PATH, f"{POLICY}:list")
async def list_inventories(call: Call) -> Reply:
    async with provider_of(call, f"No resource provider with uuid {call.params['uuid']} found : ") as (
        _,
        provider,
    ):
        return Reply(_all(provider.inventories, provider.generation))


@operations("POST", PATH, f"{POLICY}:create")
async def create_inventory(call: Call) -> Reply:
    await check_provider(call)
    body = await call.body(schemas.INVENTORY_CREATE)
    resource_class, wanted = body["resource_class"], inventory(body)
    generation = 0

    def decide(ledger: Ledger) -> tuple[LedgerChange, ...]:
        nonlocal generation
        changes = decisions.create(
            ledger, call.params["uuid"], resource_class, wanted, may_be_reserved=call.minor >= RESERVED_FROM
        )
        generation = _after(ledger, call)
        return changes

    await call.placement.write(call.context, decide)
    location = f"/resource_providers/{call.params['uuid']}/inventories/{resource_class}"
    return Reply(_with_generation(wanted, generation), status=201, location=location)


@operations("PUT", PATH, f"{POLICY}:update")
async def set_inventories(call: Call) -> Reply:
    """The provider has exactly these inventories."""
    await check_provider(call)
    body = await call.body(schemas.INVENTORIES)
    wanted = {name: inventory(raw) for name, raw in body["inventories"].items()}
    await call.placement.write(
        call.context,
        lambda ledger: decisions.replace(
            ledger,
            call.params["uuid"],
            wanted,
            body[GENERATION],
            may_be_reserved=call.minor >= RESERVED_FROM,
        ),
    )
    return Reply(_all(wanted, body[GENERATION] + 1))


@operations("DELETE", PATH, f"{POLICY}:delete", first=5, status_elsewhere=405)
async def delete_inventories(call: Call) -> Reply:
    await call.placement.write(call.context, lambda ledger: decisions.delete_all(ledger, call.params["uuid"]))
    return Reply(status=204, dated=False)


@operations("GET", PATH + "/{resource_class}", f"{POLICY}:show")
async def show_inventory(call: Call) -> Reply:
    name = call.params["resource_class"]
    async with provider_of(call, f"No resource provider with uuid {call.params['uuid']} found : ") as (
        _,
        provider,
    ):
        if name not in provider.inventories:
            raise missing(f"No inventory of class {name} for {provider.id}")
        return Reply(_with_generation(provider.inventories[name], provider.generation))


@operations("PUT", PATH + "/{resource_class}", f"{POLICY}:update")
async def update_inventory(call: Call) -> Reply:
    """Replace the inventory of a class that the provider has."""
    await check_provider(call)
    body = await call.body(schemas.INVENTORY_UPDATE)
    wanted = inventory(body)
    await call.placement.write(
        call.context,
        lambda ledger: decisions.update(
            ledger,
            call.params["uuid"],
            call.params["resource_class"],
            wanted,
            body[GENERATION],
            may_be_reserved=call.minor >= RESERVED_FROM,
        ),
    )
    return Reply(_with_generation(wanted, body[GENERATION] + 1))


@operations("DELETE", PATH + "/{resource_class}", f"{POLICY}:delete")
async def delete_inventory(call: Call) -> Reply:
    await call.placement.write(
        call.context, lambda ledger: decisions.delete(ledger, call.params["uuid"], call.params["resource_class"])
    )
    return Reply(status=204, dated=False)
