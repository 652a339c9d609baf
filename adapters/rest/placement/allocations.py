"""Allocations: who claims what."""

from typing import Any
from uuid import UUID

from adapters.rest.placement import schemas
from adapters.rest.placement.existing import provider_of
from adapters.rest.placement.operation import Call, Operations, Reply
from adapters.rest.placement.schema import is_uuid_like
from domain.placement.ledger import Ledger
from domain.placement.ledger import allocations as decisions
from domain.placement.ledger.allocations import NewAllocations
from domain.placement.ledger.refusals import bad

operations = Operations()
POLICY = "placement:allocations"
UNKNOWN_TYPE = "unknown"
"""What a consumer's type is called that has none."""


@operations("GET", "/allocations/{consumer_uuid}", f"{POLICY}:list")
async def list_allocations(call: Call) -> Reply:
    """The allocations of a consumer: none for one that is not known."""
    async with call.placement.recorded() as ledger:
        return Reply(_of_consumer(ledger, call.params["consumer_uuid"], call.minor))


def _of_consumer(ledger: Ledger, consumer_id: str, minor: int) -> dict[str, Any]:
    claim = ledger.claims.get(consumer_id)
    if claim is None:
        return {"allocations": {}}
    shown: dict[str, Any] = {
        "allocations": {
            provider_id: {"resources": amounts, "generation": ledger.providers[provider_id].generation}
            for provider_id, amounts in claim.allocations.items()
        }
    }
    if minor >= 12:
        shown |= {"project_id": claim.project_id, "user_id": claim.user_id}
    if minor >= 28:
        shown["consumer_generation"] = claim.generation
    if minor >= 38:
        shown["consumer_type"] = claim.consumer_type or UNKNOWN_TYPE
    return shown


@operations("GET", "/resource_providers/{uuid}/allocations", "placement:resource_providers:allocations:list")
async def list_provider_allocations(call: Call) -> Reply:
    """The allocations on a provider, by consumer."""
    before = f"Resource provider '{call.params['uuid']}' not found: "
    async with provider_of(call, before) as (ledger, provider):
        shown = {}
        for consumer_id in provider.consumers:
            claim = ledger.claims[consumer_id]
            document: dict[str, Any] = {"resources": claim.allocations[provider.id]}
            if call.minor >= 28:
                document["consumer_generation"] = claim.generation
            shown[consumer_id] = document
        return Reply({"allocations": shown, "resource_provider_generation": provider.generation})


def new_allocations(consumer_id: str, body: dict[str, Any], minor: int) -> NewAllocations:
    """What a validated body wants for a consumer."""
    allocations = body["allocations"]
    if isinstance(allocations, list):
        by_provider = {one["resource_provider"]["uuid"]: one["resources"] for one in allocations}
    else:
        by_provider = {provider_id: one["resources"] for provider_id, one in allocations.items()}
    return NewAllocations(
        consumer_id=consumer_id,
        allocations=by_provider,
        project_id=body.get("project_id"),
        user_id=body.get("user_id"),
        generation=body.get("consumer_generation"),
        guarded=minor >= 28,
        consumer_type=body.get("consumer_type"),
    )


@operations("PUT", "/allocations/{consumer_uuid}", f"{POLICY}:update")
async def put_allocations(call: Call) -> Reply:
    """A consumer has exactly these."""
    given = call.params["consumer_uuid"]
    if not is_uuid_like(given):
        raise bad(f"Malformed consumer_uuid: {given}")
    consumer_id = str(UUID(given))
    claim = new_allocations(consumer_id, await call.body(schemas.ALLOCATION), call.minor)
    words = f"Unable to allocate inventory for consumer {consumer_id}: "
    await call.placement.write(call.context, lambda ledger: decisions.replace(ledger, (claim,), words))
    return Reply(status=204, dated=False)


@operations("POST", "/allocations", f"{POLICY}:manage", first=13)
async def post_allocations(call: Call) -> Reply:
    """Several consumers have exactly these, all or none of them."""
    body = await call.body(schemas.ALLOCATIONS)
    claims = [new_allocations(consumer_id, one, call.minor) for consumer_id, one in body.items()]
    words = "Unable to allocate inventory "
    await call.placement.write(call.context, lambda ledger: decisions.replace(ledger, claims, words))
    return Reply(status=204, dated=False)


@operations("DELETE", "/allocations/{consumer_uuid}", f"{POLICY}:delete")
async def delete_allocations(call: Call) -> Reply:
    await call.placement.write(call.context, lambda ledger: decisions.delete(ledger, call.params["consumer_uuid"]))
    return Reply(status=204, dated=False)
